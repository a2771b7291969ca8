// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "passes/rewriter.h"

// What conv2d, conv2d_transpose and matmul have in common for passes: weights at input 1, a bias per output channel at
// input 2, a residual at input 3, an activation.
namespace tfengine::passes {

bool IsLinear(const Node& node);
inline ValueId BiasOf(const Node& node) { return InputOr(node, 2); }
inline ValueId ResidualOf(const Node& node) { return InputOr(node, 3); }

// The linear node that makes `id`, if nothing else reads `id` and an elementwise op may still be put behind its bias:
// no residual, no activation. Else null.
const Node* OpenLinear(const Rewriter& r, ValueId id);

// Weights, when they are a float32 constant (and of rank 2 for matmul); else null.
const Tensor* WeightsOf(const Rewriter& r, const Node& node);
int64_t OutputChannels(const Rewriter& r, const Node& node);
// A bias as numbers: zeros when absent; nullopt when it is not a float32 constant.
std::optional<std::vector<float>> BiasValues(const Rewriter& r, const Node& node);

// For every element of the weights, in order: the input channel and the output channel it connects.
struct WeightChannels {
  int64_t inputs, outputs;  // numbers of channels
  std::vector<int32_t> input_of, output_of;
};
WeightChannels ChannelsOf(const Rewriter& r, const Node& node);

// `id` as constant of shape [channels], if it is one that differs along the last axis only; else kNoValue. No arithmetic:
// any dtype.
ValueId AsBias(Rewriter& r, ValueId id, int64_t channels);

}  // namespace tfengine::passes
