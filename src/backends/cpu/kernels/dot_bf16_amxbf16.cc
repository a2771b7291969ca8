// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/dot_amx_inl.h"

namespace tfengine::cpu {

const DotKernels& DotBf16Amx() {
  using D = TFE_SIMD::Bf16Dot;
  static constexpr DotKernels kernels = {
      "amx", DotType::kBf16, CpuIsa::kAvx512, &CpuFeatures::amx_bf16, TFE_SIMD::kLanes, 2 * kTileRows, TFE_SIMD::kPerWord<D>, false,
      &TFE_SIMD::TiledDotTask<D>, &TFE_SIMD::PackTiledPanel<D>, nullptr, true,
      // Outputs are written with it.
      [] { return HostCpu().avx512_bf16 && RequestAmxTiles(); }};
  return kernels;
}

}  // namespace tfengine::cpu
