// SPDX-License-Identifier: Apache-2.0
#include "passes/reshape_sinking.h"

#include <algorithm>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/rewriter.h"
#include "passes/shapes.h"

namespace tfengine::passes {
namespace {

// `node` with other inputs, reshaped to the result of `node`.
Result<bool> Rebuild(Rewriter& r, const Node& node, std::vector<ValueId> inputs) {
  ValueId out = node.outputs[0];
  TFE_ASSIGN_OR_RETURN(ValueId inner, r.Add(node.op, node.name, std::move(inputs), node.attrs));
  TFE_ASSIGN_OR_RETURN(ValueId result, r.AddReshape(node.name, inner, Shape(r.shape(out))));
  return r.Replace(out, result);
}

// The trailing dims of `x` that hold the same elements as the last `count` dims of `reshaped`; empty if there are none.
Shape MatchingTail(const Shape& x, const Shape& reshaped, size_t count) {
  int64_t wanted = 1, have = 1;
  for (size_t i = reshaped.size() - count; i < reshaped.size(); ++i) {
    if (!reshaped[i].is_const()) return {};
    wanted *= reshaped[i].value;
  }
  for (size_t n = 1; n <= x.size() && have <= wanted; ++n) {
    const Dim& dim = x[x.size() - n];
    if (!dim.is_const()) return {};
    have *= dim.value;
    if (have == wanted) return Shape(x.end() - static_cast<int64_t>(n), x.end());
  }
  return {};
}

// The constant as it must be to act on `x` as it acts on `reshaped`; kNoValue if it cannot.
Result<ValueId> ConstantFor(Rewriter& r, ValueId c, const Shape& x, const Shape& reshaped) {
  Shape shape = r.shape(c);
  while (!shape.empty() && shape.front().is(1)) shape.erase(shape.begin());
  if (shape.empty()) return r.AddReshape(r.value(c).name, c, {});
  if (shape.size() > reshaped.size() || !std::equal(shape.rbegin(), shape.rend(), reshaped.rbegin())) return kNoValue;
  Shape tail = MatchingTail(x, reshaped, shape.size());
  if (tail.empty()) return kNoValue;
  return r.AddReshape(r.value(c).name, c, tail);
}

Result<bool> SinkBelowBinary(Rewriter& r, const Node& node) {
  const Shape out = r.shape(node.outputs[0]);
  for (int side = 0; side < 2; ++side) {
    const Node* reshape = r.Producer(node.inputs[side], Op::kReshape);
    if (!reshape || r.shape(node.inputs[side]) != out) continue;
    ValueId x = reshape->inputs[0], other = node.inputs[1 - side];
    std::vector<ValueId> inputs(2, x);
    if (ConstantOf(r.network(), other)) {
      TFE_ASSIGN_OR_RETURN(ValueId c, ConstantFor(r, other, Shape(r.shape(x)), out));
      if (c == kNoValue) continue;
      inputs[1 - side] = c;
    } else {
      const Node* second = r.Producer(other, Op::kReshape);
      if (!second || r.shape(other) != out || r.shape(second->inputs[0]) != r.shape(x)) continue;
      inputs[1 - side] = second->inputs[0];
    }
    return Rebuild(r, node, std::move(inputs));
  }
  return false;
}

// Ops that treat all but the last axis of their first input alike.
bool WorksOnRows(const Rewriter& r, const Node& node) {
  switch (node.op) {
    case Op::kSoftmax:
    case Op::kLogSoftmax: return true;
    case Op::kLayerNorm: return InputOr(node, 3) == kNoValue;
    case Op::kMatMul:
      return r.shape(node.inputs[1]).size() == 2 && InputOr(node, 3) == kNoValue && !node.attrs.Bool("transpose_a");
    default: return false;
  }
}

Result<bool> SinkBelow(Rewriter& r, int index) {
  const Node& node = r.node(index);
  if (node.op == Op::kBinary) return SinkBelowBinary(r, Node(node));
  bool elementwise = node.op == Op::kUnary || node.op == Op::kCast;
  if (!elementwise && !WorksOnRows(r, node)) return false;
  const Node* reshape = r.Producer(node.inputs[0], Op::kReshape);
  if (!reshape) return false;
  ValueId x = reshape->inputs[0];
  if (!elementwise) {
    const Shape &from = r.shape(x), &to = r.shape(node.inputs[0]);
    size_t least_rank = node.op == Op::kMatMul ? 2 : 1;
    if (from.size() < least_rank || to.empty() || from.back() != to.back()) return false;
  }
  std::vector<ValueId> inputs = node.inputs;
  inputs[0] = x;
  return Rebuild(r, Node(node), std::move(inputs));
}

}  // namespace

Result<bool> SinkReshapes(Network& network) { return RewriteAll(network, SinkBelow); }

}  // namespace tfengine::passes
