// SPDX-License-Identifier: Apache-2.0
#include "passes/fusion.h"

#include <algorithm>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/linear.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

constexpr UnaryKind kFusable[] = {
    UnaryKind::k_relu,     UnaryKind::k_relu6,     UnaryKind::k_clip,       UnaryKind::k_leaky_relu, UnaryKind::k_silu,
    UnaryKind::k_sigmoid,  UnaryKind::k_tanh,      UnaryKind::k_gelu_erf,   UnaryKind::k_gelu_tanh,  UnaryKind::k_elu,
    UnaryKind::k_hard_swish, UnaryKind::k_hard_sigmoid,
};

// `linear` with one more input in that slot, in place of `node`.
Result<bool> AddInput(Rewriter& r, const Node& node, const Node& linear, size_t slot, ValueId input) {
  std::vector<ValueId> inputs = linear.inputs;
  if (inputs.size() <= slot) inputs.resize(slot + 1, kNoValue);
  inputs[slot] = input;
  TFE_ASSIGN_OR_RETURN(ValueId result, r.Add(linear.op, linear.name, std::move(inputs), linear.attrs));
  return r.Replace(node.outputs[0], result);
}

Result<bool> FuseBias(Rewriter& r, const Node& node) {
  for (int side = 0; side < 2; ++side) {
    const Node* found = r.Producer(node.inputs[side]);
    if (!found || !IsLinear(*found) || !r.SingleUse(node.inputs[side]) || HasActivation(*found)) continue;
    if (BiasOf(*found) != kNoValue || r.shape(node.inputs[side]) != r.shape(node.outputs[0])) continue;
    const Node linear = *found;
    ValueId other = node.inputs[1 - side];
    bool is_vector = r.shape(other).size() == 1 && r.shape(other)[0] == r.shape(node.outputs[0]).back();
    ValueId bias = is_vector ? other : AsBias(r, other, OutputChannels(r, linear));
    if (bias != kNoValue && OutputChannels(r, linear) >= 0) return AddInput(r, node, linear, 2, bias);
  }
  return false;
}

Result<bool> FuseResidual(Rewriter& r, const Node& node) {
  int best = -1;
  for (int side = 0; side < 2; ++side) {
    const Node* linear = OpenLinear(r, node.inputs[side]);
    if (!linear || linear->op == Op::kConv2dTranspose) continue;
    // The sum is the only reader, so the other operand cannot depend on this one.
    if (!r.Interchangeable(node.inputs[side], node.inputs[1 - side])) continue;
    if (best < 0 || r.value(node.inputs[side]).producer > r.value(node.inputs[best]).producer) best = side;
  }
  if (best < 0) return false;
  return AddInput(r, node, Node(*r.Producer(node.inputs[best])), 3, node.inputs[1 - best]);
}

Result<bool> FuseAdd(Rewriter& r, const Node& node) {
  if (BinaryKindOf(node) != BinaryKind::k_add || HasActivation(node) || !IsFloat(r.dtype(node.outputs[0])))
    return false;
  TFE_ASSIGN_OR_RETURN(bool changed, FuseBias(r, node));
  return changed ? Result<bool>(true) : FuseResidual(r, node);
}

Result<bool> FuseActivation(Rewriter& r, const Node& node) {
  UnaryKind kind = UnaryKindOf(node);
  ValueId x = node.inputs[0];
  const Node* found = r.Producer(x);
  if (!IsFusableActivation(kind) || !found || !r.SingleUse(x) || !IsFloat(r.dtype(x))) return false;
  bool binary = found->op == Op::kBinary && !IsPredicate(BinaryKindOf(*found));
  if ((!IsLinear(*found) && !binary) || HasActivation(*found)) return false;
  Node fused = *found;
  fused.attrs.Set("act", std::string(KindName(kind)));
  for (const char* key : {"alpha", "beta"})
    if (node.attrs.Has(key)) fused.attrs.Set(key, Attr(node.attrs.Float(key)));
  TFE_ASSIGN_OR_RETURN(ValueId result, r.Add(fused.op, fused.name, fused.inputs, fused.attrs));
  return r.Replace(node.outputs[0], result);
}

Result<bool> FuseNormResidual(Rewriter& r, const Node& norm) {
  const Node* add = r.Binary(norm.inputs[0], BinaryKind::k_add);
  if (!add || InputOr(norm, 3) != kNoValue || !r.SingleUse(norm.inputs[0])) return false;
  if (!r.Interchangeable(add->inputs[0], norm.inputs[0]) || !r.Interchangeable(add->inputs[1], norm.inputs[0]))
    return false;
  std::vector<ValueId> inputs = norm.inputs;
  inputs.resize(4, kNoValue);
  inputs[0] = add->inputs[0];
  inputs[3] = add->inputs[1];
  TFE_ASSIGN_OR_RETURN(ValueId result, r.Add(Op::kLayerNorm, norm.name, std::move(inputs), norm.attrs));
  return r.Replace(norm.outputs[0], result);
}

Result<bool> FuseNode(Rewriter& r, int index) {
  switch (r.node(index).op) {
    case Op::kBinary: return FuseAdd(r, Node(r.node(index)));
    case Op::kUnary: return FuseActivation(r, Node(r.node(index)));
    case Op::kLayerNorm: return FuseNormResidual(r, Node(r.node(index)));
    default: return false;
  }
}

}  // namespace

bool IsFusableActivation(UnaryKind kind) {
  return std::find(std::begin(kFusable), std::end(kFusable), kind) != std::end(kFusable);
}

Result<bool> FuseElementwise(Network& network) { return RewriteAll(network, FuseNode); }

}  // namespace tfengine::passes
