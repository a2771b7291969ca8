// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"

namespace tfengine::cpu {

// `lanes`: floats of a vector.
DepthwisePlan MakeDepthwisePlan(const ConvShape& shape, int lanes, int threads);

// One input channel per group, any multiplier, kernels of up to kMaxDepthwiseTaps taps (see conv_depthwise_inl.h).
class DepthwiseConv : public ConvTactic {
 public:
  DepthwiseConv(const char* name, const ConvKernels& kernels) : ConvTactic(name, kernels.isa), kernels_(kernels) {}
  bool Supports(const ConvShape& shape) const override;
  double EstimateWork(const ConvShape& shape) const override;
  int64_t PackedBytes(const ConvShape& shape) const override;
  void Pack(const ConvShape& shape, const float* hwio, void* packed) const override;
  int64_t ScratchBytes(const ConvShape& shape, int threads) const override;
  void Run(const ConvShape& shape, const ConvArgs& args, Gang& gang) const override;

 private:
  const ConvKernels& kernels_;
};

}  // namespace tfengine::cpu
