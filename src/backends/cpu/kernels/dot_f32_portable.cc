// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/dot_pack_inl.h"
#include "backends/cpu/kernels/dot_tile_inl.h"

namespace tfengine::cpu {

const DotKernels& DotF32Portable() {
  using D = TFE_SIMD::F32Dot;
  static constexpr DotKernels kernels = {"portable", DotType::kF32, CpuIsa::kPortable, nullptr, TFE_SIMD::kLanes, TFE_SIMD::kMaxTile,
                                         TFE_SIMD::kPerWord<D>, sizeof(D::Operand) != sizeof(D::Value), &TFE_SIMD::DotTask<D>, &TFE_SIMD::PackPanel<D>};
  return kernels;
}

}  // namespace tfengine::cpu
