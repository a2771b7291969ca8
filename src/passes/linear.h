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

// How weights connect input to output channels. They are `taps` matrices of rows x columns, all alike: the element at
// (i, j) connects input channel input(i, j) to output channel output(i, j).
struct WeightLayout {
  int64_t taps, rows, columns;
  int64_t groups;          // columns fall into so many groups, each of which sees its own `rows` inputs
  bool rows_are_outputs;

  int64_t num_inputs() const { return rows_are_outputs ? columns : rows * groups; }
  int64_t input(int64_t i, int64_t j) const { return rows_are_outputs ? j : i + rows * (j / (columns / groups)); }
  int64_t output(int64_t i, int64_t j) const { return rows_are_outputs ? i : j; }
};
WeightLayout LayoutOf(const Rewriter& r, const Node& node);

// `id` as constant of shape [channels], if it is one that differs along the last axis only; else kNoValue. Of any dtype:
// there is no arithmetic.
ValueId AsBias(Rewriter& r, ValueId id, int64_t channels);

}  // namespace tfengine::passes
