// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"

namespace tfengine::cpu {

// Any convolution, as an implicit matrix product over flattened output pixels (see conv_direct_inl.h). 1x1 layers are
// the plain matrix product.
class DirectConv : public ConvTactic {
 public:
  DirectConv(const char* name, const ConvKernels& kernels) : ConvTactic(name, kernels.isa), kernels_(kernels) {}
  bool Supports(const ConvShape& shape) const override;
  double EstimateWork(const ConvShape& shape) const override;
  int64_t PackedBytes(const ConvShape& shape) const override;
  void Pack(const ConvShape& shape, const float* hwio, void* packed) const override;
  int64_t ScratchBytes(const ConvShape& shape, int threads) const override;
  void Run(const ConvShape& shape, const ConvArgs& args, Gang& gang) const override;

 private:
  DirectPlan MakePlan(const ConvShape& shape, int threads) const;
  const ConvKernels& kernels_;
};

}  // namespace tfengine::cpu
