// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/dot_pack_inl.h"
#include "backends/cpu/kernels/dot_tile_inl.h"

namespace tfengine::cpu {

const DotKernels& DotBf16Avx2() {
  using D = TFE_SIMD::Bf16Dot;
  static constexpr DotKernels kernels = {"avx2", DotType::kBf16, CpuIsa::kAvx2, nullptr, TFE_SIMD::kLanes, TFE_SIMD::kMaxTile,
                                         TFE_SIMD::kPerWord<D>, sizeof(D::Operand) != sizeof(D::Value), &TFE_SIMD::DotTask<D>, &TFE_SIMD::PackPanel<D>};
  return kernels;
}

}  // namespace tfengine::cpu
