// SPDX-License-Identifier: Apache-2.0
#include "passes/pad_folding.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

bool NeverNegative(UnaryKind kind, double alpha) {
  switch (kind) {
    case UnaryKind::k_relu:
    case UnaryKind::k_relu6:
    case UnaryKind::k_sigmoid:
    case UnaryKind::k_hard_sigmoid:
    case UnaryKind::k_softplus:
    case UnaryKind::k_exp:
    case UnaryKind::k_square:
    case UnaryKind::k_abs:
    case UnaryKind::k_sqrt:
    case UnaryKind::k_erfc: return true;
    case UnaryKind::k_clip: return alpha >= 0;
    default: return false;
  }
}

bool NeverNegative(const Rewriter& r, ValueId id, int depth = 0) {
  const Node* node = r.Producer(id);
  if (!node || depth > 8) return false;
  UnaryKind kind = UnaryKind::k_none;
  if (ParseKind(node->attrs.Str("act", "none"), &kind) && kind != UnaryKind::k_none)
    return NeverNegative(kind, node->attrs.Float("alpha"));
  auto input = [&](ValueId x) { return NeverNegative(r, x, depth + 1); };
  switch (node->op) {
    case Op::kUnary: return NeverNegative(UnaryKindOf(*node), node->attrs.Float("alpha"));
    case Op::kSoftmax: return true;
    case Op::kPad:
    case Op::kPool:
    case Op::kReshape:
    case Op::kTranspose:
    case Op::kSlice: return node->attrs.Float("value") >= 0 && input(node->inputs[0]);
    case Op::kConcat: return std::all_of(node->inputs.begin(), node->inputs.end(), input);
    default: return false;
  }
}

// Whether a max pool over the padded x gives the same when the padding is not there.
bool PaddingNeverWins(const Rewriter& r, const Node& pool, ValueId x, double value, const Shape& pads) {
  std::vector<int64_t> ksize = pool.attrs.Ints("ksize");
  for (size_t i = 0; i < 4; ++i)
    if (!pads[i].is_const() || pads[i].value >= ksize[i / 2]) return false;
  for (size_t axis = 1; axis <= 2; ++axis)  // an empty image has windows of padding only
    if (r.shape(x)[axis].is(0)) return false;
  if (value <= -std::numeric_limits<float>::max()) return true;
  return value == 0 && NeverNegative(r, x);
}

Result<bool> FoldNode(Rewriter& r, int index) {
  const Node& node = r.node(index);
  bool conv = node.op == Op::kConv2d, pool = node.op == Op::kPool && node.attrs.Str("kind") == "max";
  if (!conv && !pool) return false;
  const Node* pad = r.Producer(node.inputs[0], Op::kPad);
  if (!pad || pad->attrs.Str("mode", "constant") != "constant") return false;
  ValueId x = pad->inputs[0];
  Shape lo = pad->attrs.Dims("lo"), hi = pad->attrs.Dims("hi");
  for (size_t axis : {0, 3})
    if (!lo[axis].is(0) || !hi[axis].is(0)) return false;
  for (size_t axis : {1, 2})  // negative paddings crop
    for (const Dim& d : {lo[axis], hi[axis]})
      if (!d.is_const() || d.value < 0) return false;
  double value = pad->attrs.Float("value");
  Shape own = node.attrs.Dims("pads");
  if (own.empty()) own.assign(4, Dim(0));
  DimTable& dims = r.dims();
  Shape pads{dims.Add(own[0], lo[1]), dims.Add(own[1], hi[1]), dims.Add(own[2], lo[2]), dims.Add(own[3], hi[2])};
  if (conv && value != 0) return false;
  if (pool && !PaddingNeverWins(r, node, x, value, pads)) return false;
  Node copy = node;
  copy.inputs[0] = x;
  copy.attrs.Set("pads", pads);
  TFE_ASSIGN_OR_RETURN(ValueId result, r.Add(copy.op, copy.name, copy.inputs, copy.attrs));
  return r.Replace(copy.outputs[0], result);
}

}  // namespace

Result<bool> FoldPads(Network& network) { return RewriteAll(network, FoldNode); }

}  // namespace tfengine::passes
