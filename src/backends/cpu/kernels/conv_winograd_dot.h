// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv_dot.h"
#include "backends/cpu/kernels/dot_kernels.h"

namespace tfengine::cpu {

// 3x3, stride 1, by F(2x2, 3x3) with bf16 products: 4/9 of the multiply-adds. Transformed inputs and filters are rounded to
// bf16 once more, so its error is about 2.5 times that of rounding the filter for the direct form.
class WinogradDotConv : public DotConvTactic {
 public:
  WinogradDotConv(const char* name, const DotKernels& kernels) : DotConvTactic(name, kernels.type, kernels.isa), kernels_(kernels) {}
  bool Usable() const override { return kernels_.Usable(); }
  bool Supports(const ConvShape& shape) const override;
  double EstimateWork(const ConvShape& shape) const override;
  int64_t PackedBytes(const ConvShape& shape) const override;
  void Pack(const ConvShape& shape, const float* hwio, const float* steps, void* packed) const override;
  int64_t ScratchBytes(const ConvShape& shape, int threads) const override;
  void Run(const ConvShape& shape, const DotConvArgs& args, Gang& gang) const override;

 private:
  WinogradPlan MakePlan(const ConvShape& shape, int threads) const;
  const DotKernels& kernels_;
};

}  // namespace tfengine::cpu
