// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

// Elements from one pixel to the next, given as in ConvShape and PoolShape.
inline int64_t DistanceOf(int64_t pixel, int64_t channels) { return pixel > 0 ? pixel : channels; }

// A convolution with its tactic chosen and its weights packed.
struct ConvCall {
  struct Operands {
    const void* x = nullptr;
    const float* bias = nullptr;
    const void* residual = nullptr;
    void* y = nullptr;
  };

  ConvShape shape;
  std::string tactic;
  int64_t x_bytes = 4, y_bytes = 4, residual_bytes = 4;  // per element
  bool bias = false, residual = false;
  // `s`: `shape`, or other images with the same channels, filter and strides.
  std::function<void(const ConvShape& s, const Operands& o, void* scratch, Gang& gang)> run;
  std::function<int64_t(const ConvShape& s, int threads)> scratch_bytes;
};

// nullopt if no kernel takes the node.
Result<std::optional<ConvCall>> PrepareConv(const LowerContext& c);

// Two or three convolutions of which one is depthwise and the others are pointwise, run in stripes of rows, so that what
// lies between them never leaves the cache (the blocks of MobileNet and EfficientNet). `nodes`: all conv2d; `tactics`: one per node.
// Operands are numbered through the nodes. nullopt: not such a chain.
Result<std::optional<Lowered>> LowerConvChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>& tactics,
                                              WeightStore& weights, int threads);

// A convolution and the pooling behind it, in stripes of rows or in groups of small images, so that what lies between them never
// leaves the cache. `tactic`: of the convolution. Operands are numbered through both nodes. nullopt: no kernels.
Result<std::optional<Lowered>> LowerConvPool(const ConcreteNode& conv, const ConcreteNode& pool, const std::string& tactic,
                                             WeightStore& weights, int threads);

}  // namespace tfengine::cpu
