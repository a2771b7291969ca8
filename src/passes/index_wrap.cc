// SPDX-License-Identifier: Apache-2.0
#include "passes/index_wrap.h"

#include "passes/constants.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

bool IsSplat(const Rewriter& r, ValueId id, double value) {
  const auto splat = SplatOf(r.network(), id);
  return splat && *splat == value;
}

// i if `id` is select(i < 0, i + size, i), else kNoValue.
ValueId Wrapped(const Rewriter& r, ValueId id, int64_t size) {
  const Node* select = r.Producer(id, Op::kSelect);
  if (!select) return kNoValue;
  const ValueId i = select->inputs[2];
  const Node *less = r.Binary(select->inputs[0], BinaryKind::k_less), *add = r.Binary(select->inputs[1], BinaryKind::k_add);
  if (!less || !add || HasActivation(*add) || !r.Interchangeable(id, i)) return kNoValue;
  if (less->inputs[0] != i || !IsSplat(r, less->inputs[1], 0)) return kNoValue;
  const int side = add->inputs[0] == i ? 1 : 0;
  if (add->inputs[1 - side] != i || !IsSplat(r, add->inputs[side], static_cast<double>(size))) return kNoValue;
  return i;
}

Result<bool> FoldNode(Rewriter& r, int index) {
  const Node& node = r.node(index);
  if (node.op != Op::kGather || node.attrs.Bool("wrap")) return false;
  const Dim size = r.shape(node.inputs[0])[static_cast<size_t>(node.attrs.Int("axis"))];
  const ValueId i = size.is_const() ? Wrapped(r, node.inputs[1], size.value) : kNoValue;
  if (i == kNoValue) return false;
  r.SetInput(index, 1, i);
  r.SetAttr(index, "wrap", true);
  return true;
}

}  // namespace

Result<bool> FoldIndexWrap(Network& network) { return RewriteAll(network, FoldNode); }

}  // namespace tfengine::passes
