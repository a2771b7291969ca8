// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_winograd_dot_inl.h"
#include "backends/cpu/kernels/dot_pack_inl.h"
#include "backends/cpu/kernels/dot_tile_inl.h"

namespace tfengine::cpu {

const DotKernels& DotBf16Avx512bf16() {
  using D = TFE_SIMD::Bf16Dot;
  static constexpr DotKernels kernels = {"avx512bf16", DotType::kBf16, CpuIsa::kAvx512, &CpuFeatures::avx512_bf16, TFE_SIMD::kLanes, TFE_SIMD::kMaxTile,
                                         TFE_SIMD::kPerWord<D>, sizeof(D::Operand) != sizeof(D::Value), &TFE_SIMD::DotTask<D>, &TFE_SIMD::PackPanel<D>,
                                         &TFE_SIMD::WinogradDotTask};
  return kernels;
}

}  // namespace tfengine::cpu
