// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_direct_inl.h"

namespace tfengine::cpu {

const ConvKernels& ConvKernelsAvx2() {
  static constexpr ConvKernels kernels = {CpuIsa::kAvx2, TFE_SIMD::kLanes, TFE_SIMD::kMaxTile, &TFE_SIMD::DirectTask,
                                          nullptr, &TFE_SIMD::ActivateRange};
  return kernels;
}

}  // namespace tfengine::cpu
