// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"

namespace tfengine::cpu {

// 3x3, stride 1, no dilation, no groups, by F(2x2, 3x3) or F(4x4, 3x3) (A. Lavin and S. Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2015). F(4x4) takes the points 0, +-3/4, +-3/2, infinity: a half to a quarter of the
// rounding error of 0, +-1, +-2, infinity at the same cost; about twice that of direct summation.
class WinogradConv : public ConvTactic {
 public:
  WinogradConv(const char* name, const ConvKernels& kernels, int64_t m) : ConvTactic(name, kernels.isa), kernels_(kernels), m_(m) {}
  bool Supports(const ConvShape& shape) const override;
  double EstimateWork(const ConvShape& shape) const override;
  int64_t PackedBytes(const ConvShape& shape) const override;
  void Pack(const ConvShape& shape, const float* hwio, void* packed) const override;
  int64_t ScratchBytes(const ConvShape& shape, int threads) const override;
  void Run(const ConvShape& shape, const ConvArgs& args, Gang& gang) const override;

 private:
  WinogradPlan MakePlan(const ConvShape& shape, int threads) const;
  const ConvKernels& kernels_;
  const int64_t m_;
};

}  // namespace tfengine::cpu
