// SPDX-License-Identifier: Apache-2.0
#include "passes/transpose_sinking.h"

#include <algorithm>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/rewriter.h"
#include "passes/shapes.h"
#include "passes/simplify_shapes.h"

namespace tfengine::passes {
namespace {

using Perm = std::vector<int64_t>;

// The permutation that the operands of `node` share; empty if there is none.
Perm CommonPerm(const Rewriter& r, const Node& node) {
  for (ValueId id : node.inputs)
    if (const Node* transpose = r.Producer(id, Op::kTranspose)) return transpose->attrs.Ints("perm");
  return {};
}

// Whether `id` can be read in front of the transpose at no cost, and that value. Operands of lower rank are broadcast.
bool CanUntranspose(const Rewriter& r, ValueId id, const Perm& perm) {
  if (r.shape(id).size() > perm.size()) return false;
  if (const Node* transpose = r.Producer(id, Op::kTranspose)) return transpose->attrs.Ints("perm") == perm;
  return ConstantOf(r.network(), id) || KeepsOrder(Inverse(perm), WithRank(r.shape(id), perm.size()));
}

Result<ValueId> Untranspose(Rewriter& r, ValueId id, const Perm& perm) {
  if (const Node* transpose = r.Producer(id, Op::kTranspose)) return transpose->inputs[0];
  const std::string name = r.value(id).name;
  TFE_ASSIGN_OR_RETURN(ValueId x, r.AddReshape(name, id, WithRank(r.shape(id), perm.size())));
  return r.AddTranspose(name, x, Inverse(perm));
}

template <typename List>
List Permuted(const List& list, const Perm& perm) {
  List result(list.size());
  for (size_t i = 0; i < list.size(); ++i) result[perm[i]] = list[i];
  return result;
}

// The attributes of `node` for an operand in front of the transpose, and the permutation its result then needs.
bool Adapt(const Node& node, const Perm& perm, Attrs* attrs, Perm* result_perm) {
  *result_perm = perm;
  switch (node.op) {
    case Op::kUnary:
    case Op::kCast:
    case Op::kBinary:
    case Op::kSelect: return true;
    case Op::kSoftmax:
    case Op::kLogSoftmax: return perm.back() == static_cast<int64_t>(perm.size()) - 1;
    case Op::kConcat: attrs->Set("axis", Attr(perm[node.attrs.Int("axis")])); return true;
    case Op::kPad:
      for (const char* key : {"lo", "hi"}) attrs->Set(key, Permuted(node.attrs.Dims(key), perm));
      return true;
    case Op::kSlice:
      for (const char* key : {"begin", "size"}) attrs->Set(key, Permuted(node.attrs.Dims(key), perm));
      if (node.attrs.Has("strides")) attrs->Set("strides", Permuted(node.attrs.Ints("strides"), perm));
      return true;
    case Op::kReduce: {
      std::vector<int64_t> axes = node.attrs.Ints("axes"), source_axes;
      for (int64_t axis : axes) source_axes.push_back(perm[axis]);
      std::sort(source_axes.begin(), source_axes.end());
      attrs->Set("axes", source_axes);
      if (node.attrs.Bool("keepdims")) return true;
      // The axes that remain, numbered in their order in the source.
      result_perm->clear();
      for (size_t i = 0; i < perm.size(); ++i) {
        if (std::count(axes.begin(), axes.end(), static_cast<int64_t>(i)) > 0) continue;
        int64_t before = std::count_if(source_axes.begin(), source_axes.end(), [&](int64_t a) { return a < perm[i]; });
        result_perm->push_back(perm[i] - before);
      }
      return true;
    }
    default: return false;
  }
}

Result<bool> SinkBelow(Rewriter& r, int index) {
  const Node& original = r.node(index);
  Perm perm = CommonPerm(r, original), result_perm;
  Attrs attrs = original.attrs;
  if (perm.empty() || !Adapt(original, perm, &attrs, &result_perm)) return false;
  const Node node = original;
  for (ValueId id : node.inputs) {
    if (!CanUntranspose(r, id, perm)) return false;
  }
  std::vector<ValueId> inputs;
  for (ValueId id : node.inputs) {
    TFE_ASSIGN_OR_RETURN(ValueId input, Untranspose(r, id, perm));
    inputs.push_back(input);
  }
  TFE_ASSIGN_OR_RETURN(ValueId inner, r.Add(node.op, node.name, std::move(inputs), std::move(attrs)));
  TFE_ASSIGN_OR_RETURN(ValueId result, r.AddTranspose(node.name, inner, result_perm));
  return r.Replace(node.outputs[0], result);
}

int CountTransposes(const Network& network) {
  return static_cast<int>(std::count_if(network.nodes().begin(), network.nodes().end(), [&](const Node& node) {
    return node.op == Op::kTranspose && !ConstantOf(network, node.inputs[0]);
  }));
}

}  // namespace

Result<bool> SinkTransposes(Network& network) {
  if (CountTransposes(network) == 0) return false;
  Network trial = network;
  TFE_ASSIGN_OR_RETURN(bool sunk, RewriteAll(trial, SinkBelow));
  if (!sunk) return false;
  TFE_RETURN_IF_ERROR(SimplifyShapes(trial).status());
  if (CountTransposes(trial) >= CountTransposes(network)) return false;
  network = std::move(trial);
  return true;
}

}  // namespace tfengine::passes
