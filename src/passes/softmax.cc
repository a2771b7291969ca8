// SPDX-License-Identifier: Apache-2.0
#include "passes/softmax.h"

#include "base/status_macros.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

// The input of a reduction of that kind over the last axis with keepdims, or kNoValue.
ValueId LastAxisReduced(const Rewriter& r, ValueId id, const char* kind) {
  const Node* node = r.Producer(id, Op::kReduce);
  if (!node || node->attrs.Str("kind") != kind || !node->attrs.Bool("keepdims")) return kNoValue;
  int64_t last = static_cast<int64_t>(r.shape(node->inputs[0]).size()) - 1;
  return node->attrs.Ints("axes") == std::vector<int64_t>{last} ? node->inputs[0] : kNoValue;
}

// x if `id` is x - max(x), else `id`.
ValueId WithoutMaximum(const Rewriter& r, ValueId id) {
  const Node* sub = r.Binary(id, BinaryKind::k_sub);
  if (!sub || LastAxisReduced(r, sub->inputs[1], "max") != sub->inputs[0]) return id;
  return sub->inputs[0];
}

// The divisor that a binary node applies to its first (or, for mul, either) operand.
bool MatchQuotient(const Rewriter& r, const Node& node, ValueId* numerator, ValueId* divisor) {
  BinaryKind kind = BinaryKindOf(node);
  if (kind == BinaryKind::k_div) {
    *numerator = node.inputs[0];
    *divisor = node.inputs[1];
    return true;
  }
  for (int side = 0; side < 2 && kind == BinaryKind::k_mul; ++side) {
    const Node* reciprocal = r.Unary(node.inputs[1 - side], UnaryKind::k_reciprocal);
    if (!reciprocal) continue;
    *numerator = node.inputs[side];
    *divisor = reciprocal->inputs[0];
    return true;
  }
  return false;
}

Result<bool> ReplaceBy(Rewriter& r, const Node& node, Op op, ValueId x) {
  if (r.dtype(x) != DType::kFloat32 || !r.Interchangeable(node.outputs[0], x)) return false;
  TFE_ASSIGN_OR_RETURN(ValueId result, r.Add(op, node.name, {x}));
  return r.Replace(node.outputs[0], result);
}

Result<bool> RecognizeNode(Rewriter& r, int index) {
  if (r.node(index).op != Op::kBinary || HasActivation(r.node(index))) return false;
  const Node& node = r.node(index);
  ValueId numerator, divisor;
  if (MatchQuotient(r, node, &numerator, &divisor)) {
    const Node* exp = r.Unary(numerator, UnaryKind::k_exp);
    if (!exp || LastAxisReduced(r, divisor, "sum") != numerator) return false;
    return ReplaceBy(r, Node(node), Op::kSoftmax, WithoutMaximum(r, exp->inputs[0]));
  }
  if (BinaryKindOf(node) != BinaryKind::k_sub) return false;
  const Node* log = r.Unary(node.inputs[1], UnaryKind::k_log);
  if (!log) return false;
  ValueId e = LastAxisReduced(r, log->inputs[0], "sum");
  const Node* exp = r.Unary(e, UnaryKind::k_exp);
  if (!exp || exp->inputs[0] != node.inputs[0]) return false;
  return ReplaceBy(r, Node(node), Op::kLogSoftmax, WithoutMaximum(r, node.inputs[0]));
}

}  // namespace

Result<bool> RecognizeSoftmax(Network& network) { return RewriteAll(network, RecognizeNode); }

}  // namespace tfengine::passes
