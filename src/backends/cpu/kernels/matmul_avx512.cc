// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/matmul_tile.h"

namespace tfengine::cpu {

extern const MatmulKernels kMatmulAvx512 = TFE_SIMD::MakeMatmulKernels<2>(TFE_SIMD::IntList<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13>());

}  // namespace tfengine::cpu
