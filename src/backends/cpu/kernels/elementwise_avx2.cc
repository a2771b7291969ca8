// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/elementwise_simd.h"

namespace tfengine::cpu {

extern const ElementwiseKernels kElementwiseAvx2 = TFE_SIMD::MakeElementwiseKernels();

}  // namespace tfengine::cpu
