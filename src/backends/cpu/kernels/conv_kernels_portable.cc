// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise_inl.h"
#include "backends/cpu/kernels/conv_direct_inl.h"
#include "backends/cpu/kernels/conv_winograd_inl.h"

namespace tfengine::cpu {

const ConvKernels& ConvKernelsPortable() {
  static constexpr ConvKernels kernels = {CpuIsa::kPortable, TFE_SIMD::kLanes, TFE_SIMD::kMaxTile, &TFE_SIMD::DirectTask,
                                          &TFE_SIMD::DepthwiseF32Task, &TFE_SIMD::WinogradTask, &TFE_SIMD::ActivateRange};
  return kernels;
}

}  // namespace tfengine::cpu
