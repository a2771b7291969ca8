// SPDX-License-Identifier: Apache-2.0
#include "passes/linear.h"

#include <algorithm>

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

WeightChannels ChannelsOf(const Rewriter& r, const Node& node) {
  const Tensor& weights = *WeightsOf(r, node);
  const std::vector<int64_t>& shape = weights.shape();
  // Rows and columns of the last two axes; grouped convolutions see another slice of inputs per group of outputs.
  int64_t rows = shape[shape.size() - 2], columns = shape.back();
  bool rows_are_outputs = node.op == Op::kConv2dTranspose || (node.op == Op::kMatMul && node.attrs.Bool("transpose_b"));
  int64_t groups = node.op == Op::kConv2d ? node.attrs.Int("groups", 1) : 1;
  WeightChannels c;
  c.inputs = rows_are_outputs ? columns : rows * groups;
  c.outputs = rows_are_outputs ? rows : columns;
  int64_t n = weights.num_elements();
  c.input_of.reserve(n);
  c.output_of.reserve(n);
  int64_t outputs_per_group = columns / groups;
  for (int64_t outer = 0; outer < n / std::max<int64_t>(rows * columns, 1); ++outer) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        c.input_of.push_back(static_cast<int32_t>(rows_are_outputs ? j : i + rows * (j / outputs_per_group)));
        c.output_of.push_back(static_cast<int32_t>(rows_are_outputs ? i : j));
      }
    }
  }
  return c;
}

ValueId AsBias(Rewriter& r, ValueId id, int64_t channels) {
  const Tensor* t = ConstantOf(r.network(), id);
  if (!t || t->num_elements() != channels || t->rank() == 0 || t->shape().back() != channels) return kNoValue;
  if (t->rank() == 1) return id;
  return r.AddConstant(r.value(id).name, t->Reshaped({channels}));
}

}  // namespace tfengine::passes
