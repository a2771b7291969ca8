// SPDX-License-Identifier: Apache-2.0
#include "passes/simplify_math.h"

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/rewriter.h"
#include "passes/shapes.h"

namespace tfengine::passes {
namespace {

struct Identity {
  BinaryKind kind;
  double element;
  bool on_left;  // also when the constant is the first operand
};

// -0.0 + 0 is 0: adding 0 may change the sign of a zero, which nothing here depends on.
constexpr Identity kIdentities[] = {
    {BinaryKind::k_mul, 1, true},         {BinaryKind::k_div, 1, false}, {BinaryKind::k_add, 0, true},
    {BinaryKind::k_sub, 0, false},        {BinaryKind::k_pow, 1, false}, {BinaryKind::k_logical_and, 1, true},
    {BinaryKind::k_logical_or, 0, true},
};

// The splat value of a constant, or of a broadcast constant.
std::optional<double> SplatThroughBroadcast(const Rewriter& r, ValueId id) {
  if (const Node* broadcast = r.Producer(id, Op::kBroadcast)) id = broadcast->inputs[0];
  return SplatOf(r.network(), id);
}

// `out` := x, broadcast to the shape of `out` where that is larger.
Result<bool> ReplaceBroadcast(Rewriter& r, const Node& node, ValueId x) {
  ValueId out = node.outputs[0];
  if (r.shape(x) != r.shape(out)) {
    if (r.dtype(x) != r.dtype(out)) return false;
    TFE_ASSIGN_OR_RETURN(x, r.Add(Op::kBroadcast, node.name, {x}, {{"shape", Shape(r.shape(out))}}));
  }
  return r.Replace(out, x);
}

Result<bool> ReplaceByUnary(Rewriter& r, const Node& node, UnaryKind kind, ValueId x) {
  if (r.shape(x) != r.shape(node.outputs[0])) return false;
  TFE_ASSIGN_OR_RETURN(ValueId result, r.AddUnary(kind, node.name, x));
  return r.Replace(node.outputs[0], result);
}

Result<bool> ReplaceByBinary(Rewriter& r, const Node& node, BinaryKind kind, ValueId a, ValueId b) {
  if (!BroadcastGives({r.shape(a), r.shape(b)}, r.shape(node.outputs[0]))) return false;
  TFE_ASSIGN_OR_RETURN(ValueId result, r.AddBinary(kind, node.name, a, b));
  return r.Replace(node.outputs[0], result);
}

// (x op c1) op c2 → x op (c1 op c2); constant folding computes the new constant.
Result<bool> MergeConstants(Rewriter& r, const Node& node, BinaryKind kind) {
  auto split = [&](const Node& n, ValueId* x, ValueId* c) {
    for (int side = 0; side < 2; ++side) {
      *x = n.inputs[side];
      *c = n.inputs[1 - side];
      if (ConstantOf(r.network(), *c) && !ConstantOf(r.network(), *x)) return true;
    }
    return false;
  };
  ValueId inner_value, x, c1, c2;
  if (!split(node, &inner_value, &c2) || !IsFloat(r.dtype(c2))) return false;
  const Node* inner = r.Binary(inner_value, kind);
  if (!inner || !r.SingleUse(inner_value) || !split(*inner, &x, &c1)) return false;
  // The combination must not be larger than the larger of the two.
  auto gives = [&](ValueId c) { return BroadcastGives({r.shape(c1), r.shape(c2)}, r.shape(c)); };
  if (!gives(c1) && !gives(c2)) return false;
  if (!BroadcastGives({r.shape(x), r.shape(gives(c1) ? c1 : c2)}, r.shape(node.outputs[0]))) return false;
  TFE_ASSIGN_OR_RETURN(ValueId c, r.AddBinary(kind, node.name + "/c", c1, c2));
  TFE_ASSIGN_OR_RETURN(ValueId result, r.AddBinary(kind, node.name, x, c));
  return r.Replace(node.outputs[0], result);
}

Result<bool> SimplifyPow(Rewriter& r, const Node& node) {
  std::optional<double> power = SplatOf(r.network(), node.inputs[1]);
  if (!power || !IsFloat(r.dtype(node.inputs[0]))) return false;
  if (*power == 2) return ReplaceByUnary(r, node, UnaryKind::k_square, node.inputs[0]);
  if (*power == 0.5) return ReplaceByUnary(r, node, UnaryKind::k_sqrt, node.inputs[0]);
  if (*power == -0.5) return ReplaceByUnary(r, node, UnaryKind::k_rsqrt, node.inputs[0]);
  return false;
}

Result<bool> SimplifyBinary(Rewriter& r, const Node& node) {
  if (HasActivation(node)) return false;
  BinaryKind kind = BinaryKindOf(node);
  ValueId a = node.inputs[0], b = node.inputs[1];
  for (const Identity& identity : kIdentities) {
    if (identity.kind != kind) continue;
    if (SplatThroughBroadcast(r, b) == identity.element) return ReplaceBroadcast(r, node, a);
    if (identity.on_left && SplatThroughBroadcast(r, a) == identity.element) return ReplaceBroadcast(r, node, b);
  }
  const Node *neg_a = r.Unary(a, UnaryKind::k_neg), *neg_b = r.Unary(b, UnaryKind::k_neg);
  switch (kind) {
    case BinaryKind::k_add:
      if (neg_b) return ReplaceByBinary(r, node, BinaryKind::k_sub, a, neg_b->inputs[0]);
      if (neg_a) return ReplaceByBinary(r, node, BinaryKind::k_sub, b, neg_a->inputs[0]);
      return MergeConstants(r, node, kind);
    case BinaryKind::k_sub:
      if (neg_b) return ReplaceByBinary(r, node, BinaryKind::k_add, a, neg_b->inputs[0]);
      return false;
    case BinaryKind::k_mul: return MergeConstants(r, node, kind);
    case BinaryKind::k_pow: return SimplifyPow(r, node);
    case BinaryKind::k_div: {
      const Node* root = r.Unary(b, UnaryKind::k_sqrt);
      if (!root || !r.SingleUse(b)) return false;
      ValueId x = root->inputs[0];
      if (SplatOf(r.network(), a) == 1.0) return ReplaceByUnary(r, node, UnaryKind::k_rsqrt, x);
      if (!BroadcastGives({r.shape(a), r.shape(x)}, r.shape(node.outputs[0]))) return false;
      TFE_ASSIGN_OR_RETURN(ValueId rsqrt, r.AddUnary(UnaryKind::k_rsqrt, node.name + "/rsqrt", x));
      return ReplaceByBinary(r, node, BinaryKind::k_mul, a, rsqrt);
    }
    default: return false;
  }
}

Result<bool> SimplifyUnary(Rewriter& r, const Node& node) {
  const Node* inner = r.Producer(node.inputs[0], Op::kUnary);
  if (!inner) return false;
  UnaryKind kind = UnaryKindOf(node), inner_kind = UnaryKindOf(*inner);
  ValueId x = inner->inputs[0], out = node.outputs[0];
  auto is = [&](UnaryKind outer, UnaryKind in) { return kind == outer && inner_kind == in; };
  if (is(UnaryKind::k_neg, UnaryKind::k_neg) || is(UnaryKind::k_logical_not, UnaryKind::k_logical_not))
    return r.Replace(out, x);
  if (is(UnaryKind::k_relu, UnaryKind::k_relu)) return r.Replace(out, node.inputs[0]);
  if (is(UnaryKind::k_reciprocal, UnaryKind::k_sqrt) || is(UnaryKind::k_sqrt, UnaryKind::k_reciprocal))
    return ReplaceByUnary(r, node, UnaryKind::k_rsqrt, x);
  return false;
}

Result<bool> SimplifySelect(Rewriter& r, const Node& node) {
  ValueId a = node.inputs[1], b = node.inputs[2];
  if (a == b) return ReplaceBroadcast(r, node, a);
  std::optional<double> condition = SplatThroughBroadcast(r, node.inputs[0]);
  if (!condition) return false;
  return ReplaceBroadcast(r, node, *condition != 0 ? a : b);
}

Result<bool> SimplifyNode(Rewriter& r, int index) {
  switch (r.node(index).op) {  // the rules take copies: Add moves nodes
    case Op::kBinary: return SimplifyBinary(r, Node(r.node(index)));
    case Op::kUnary: return SimplifyUnary(r, Node(r.node(index)));
    case Op::kSelect: return SimplifySelect(r, Node(r.node(index)));
    default: return false;
  }
}

}  // namespace

Result<bool> SimplifyMath(Network& network) { return RewriteAll(network, SimplifyNode); }

}  // namespace tfengine::passes
