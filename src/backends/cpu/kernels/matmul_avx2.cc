// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/matmul_tile.h"

namespace tfengine::cpu {

extern const MatmulKernels kMatmulAvx2 = TFE_SIMD::MakeMatmulKernels<2>(TFE_SIMD::IntList<0, 1, 2, 3, 4, 5>());

}  // namespace tfengine::cpu
