// SPDX-License-Identifier: Apache-2.0
#include "passes/linear.h"

#include "passes/constants.h"

namespace tfengine::passes {

bool IsLinear(const Node& node) {
  return node.op == Op::kConv2d || node.op == Op::kConv2dTranspose || node.op == Op::kMatMul;
}

const Node* OpenLinear(const Rewriter& r, ValueId id) {
  const Node* node = r.Producer(id);
  if (!node || !IsLinear(*node) || !r.SingleUse(id)) return nullptr;
  return ResidualOf(*node) == kNoValue && !HasActivation(*node) ? node : nullptr;
}

const Tensor* WeightsOf(const Rewriter& r, const Node& node) {
  const Tensor* weights = ConstantOf(r.network(), node.inputs[1]);
  if (!weights || weights->dtype() != DType::kFloat32) return nullptr;
  return node.op == Op::kMatMul && weights->rank() != 2 ? nullptr : weights;
}

int64_t OutputChannels(const Rewriter& r, const Node& node) {
  const Dim& dim = r.shape(node.outputs[0]).back();
  return dim.is_const() ? dim.value : -1;
}

std::optional<std::vector<float>> BiasValues(const Rewriter& r, const Node& node) {
  int64_t channels = OutputChannels(r, node);
  if (channels < 0) return std::nullopt;
  if (BiasOf(node) == kNoValue) return std::vector<float>(channels, 0);
  const Tensor* bias = ConstantOf(r.network(), BiasOf(node));
  if (!bias || bias->dtype() != DType::kFloat32 || bias->num_elements() != channels) return std::nullopt;
  return std::vector<float>(bias->as<float>(), bias->as<float>() + channels);
}

WeightLayout LayoutOf(const Rewriter& r, const Node& node) {
  const Tensor& weights = *WeightsOf(r, node);
  const std::vector<int64_t>& shape = weights.shape();
  WeightLayout layout;
  layout.rows = shape[shape.size() - 2];
  layout.columns = shape.back();
  layout.taps = shape.size() == 4 ? shape[0] * shape[1] : 1;
  layout.groups = node.op == Op::kConv2d ? node.attrs.Int("groups", 1) : 1;
  layout.rows_are_outputs =
      node.op == Op::kConv2dTranspose || (node.op == Op::kMatMul && node.attrs.Bool("transpose_b"));
  return layout;
}

ValueId AsBias(Rewriter& r, ValueId id, int64_t channels) {
  const Tensor* t = ConstantOf(r.network(), id);
  if (!t || t->num_elements() != channels || t->rank() == 0 || t->shape().back() != channels) return kNoValue;
  if (t->rank() == 1) return id;
  return r.AddConstant(r.value(id).name, t->Reshaped({channels}));
}

}  // namespace tfengine::passes
