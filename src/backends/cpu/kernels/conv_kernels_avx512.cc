// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise_inl.h"
#include "backends/cpu/kernels/conv_direct_inl.h"
#include "backends/cpu/kernels/conv_winograd_inl.h"

namespace tfengine::cpu {

const ConvKernels& ConvKernelsAvx512() {
  static constexpr ConvKernels kernels = {CpuIsa::kAvx512, TFE_SIMD::kLanes, TFE_SIMD::kMaxTile, &TFE_SIMD::DirectTask,
                                          &TFE_SIMD::DepthwiseF32Task, &TFE_SIMD::WinogradTask, &TFE_SIMD::ActivateRange};
  return kernels;
}

}  // namespace tfengine::cpu
