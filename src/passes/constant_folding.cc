// SPDX-License-Identifier: Apache-2.0
#include "passes/constant_folding.h"

#include <algorithm>

#include "backends/ref/ref.h"
#include "passes/constants.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

constexpr int64_t kAlwaysFoldBytes = 64 << 10;
constexpr int64_t kMaxGrowth = 4;

// The results, unless they are too large or the node cannot be computed.
std::optional<std::vector<Tensor>> Compute(const Rewriter& r, const Node& node) {
  std::vector<const Tensor*> inputs;
  int64_t input_bytes = 0;
  for (ValueId id : node.inputs) {
    inputs.push_back(ConstantOf(r.network(), id));
    if (id != kNoValue && !inputs.back()) return std::nullopt;
    if (inputs.back()) input_bytes += static_cast<int64_t>(inputs.back()->num_bytes());
  }
  if (node.op == Op::kReshape) {
    std::optional<std::vector<int64_t>> shape = StaticShape(r.shape(node.outputs[0]));
    if (!shape) return std::nullopt;
    return std::vector<Tensor>{inputs[0]->Reshaped(*shape)};
  }
  std::vector<Tensor> results;
  std::vector<Tensor*> outputs;
  int64_t result_bytes = 0;
  std::vector<std::vector<int64_t>> shapes;
  for (ValueId id : node.outputs) {
    std::optional<std::vector<int64_t>> shape = StaticShape(r.shape(id));
    if (!shape) return std::nullopt;
    int64_t bytes = static_cast<int64_t>(DTypeSize(r.dtype(id)));
    for (int64_t d : *shape) bytes *= d;
    result_bytes += bytes;
    shapes.push_back(*std::move(shape));
  }
  if (result_bytes > std::max(kAlwaysFoldBytes, kMaxGrowth * input_bytes)) return std::nullopt;
  results.reserve(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    results.emplace_back(r.dtype(node.outputs[i]), shapes[i]);
    outputs.push_back(&results.back());
  }
  // A node that fails (an index out of range) keeps its error for run time.
  if (!ref::RunNode(node.op, node.attrs, inputs, outputs).ok()) return std::nullopt;
  return results;
}

// Attributes may hold symbols even where the result's shape is constant (a dims op, a slice that begins at n - 1).
bool HasSymbols(const Node& node) {
  for (const auto& [name, attr] : node.attrs.items()) {
    const Shape* dims = std::get_if<Shape>(&attr);
    if (dims && std::any_of(dims->begin(), dims->end(), [](const Dim& d) { return !d.is_const(); })) return true;
  }
  return false;
}

bool IsFakeQuant(const Node& node) { return node.op == Op::kFakeQuant; }

template <bool fake_quants>
Result<bool> FoldNode(Rewriter& r, int index) {
  const Node& node = r.node(index);
  if (IsFakeQuant(node) != fake_quants || HasSymbols(node)) return false;
  std::optional<std::vector<Tensor>> results = Compute(r, node);
  if (!results) return false;
  const std::vector<ValueId> outputs = node.outputs;
  bool changed = false;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (r.NumUses(outputs[i]) == 0) continue;
    ValueId constant = r.AddConstant(r.value(outputs[i]).name, std::move((*results)[i]));
    changed |= r.Replace(outputs[i], constant);
  }
  return changed;
}

}  // namespace

Result<bool> FoldConstants(Network& network) { return RewriteAll(network, FoldNode<false>); }
Result<bool> FoldFakeQuant(Network& network) { return RewriteAll(network, FoldNode<true>); }

}  // namespace tfengine::passes
