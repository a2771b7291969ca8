// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"

namespace tfengine::cpu {

// What the Winograd tactics share.

// 3x3, stride 1, no dilation, one group and channels enough.
bool WinogradApplies(const ConvShape& shape);

WinogradPlan MakeWinogradPlan(const ConvShape& shape, int64_t m, int64_t value_bytes, int64_t lanes, int64_t max_tile, int64_t panels,
                              int64_t filter_bytes, int threads);

// The filter transform G w G^T.
class WinogradFilter {
 public:
  explicit WinogradFilter(int64_t m);
  // to[position]: of the filter from input channel i to output channel o.
  void Transform(const float* hwio, int64_t in_c, int64_t out_c, int64_t i, int64_t o, double (&to)[36]) const;

 private:
  int64_t n_;
  double g_[6][3];
};

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
