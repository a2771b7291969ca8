// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/dot_amx_inl.h"

namespace tfengine::cpu {

const DotKernels& DotInt8Amx() {
  using D = TFE_SIMD::Int8Dot;
  static constexpr DotKernels kernels = {
      "amx", DotType::kInt8, CpuIsa::kAvx512, &CpuFeatures::amx_int8, TFE_SIMD::kLanes, 2 * kTileRows, TFE_SIMD::kPerWord<D>, false,
      &TFE_SIMD::TiledDotTask<D>, &TFE_SIMD::PackTiledPanel<D>, nullptr, true,
      // Outputs are written with these.
      [] { return HostCpu().avx512_vnni && HostCpu().avx512_bf16 && RequestAmxTiles(); }};
  return kernels;
}

}  // namespace tfengine::cpu
