// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/cast_loops.h"

namespace tfengine::cpu {

extern const CastKernels kCastAvx512 = TFE_SIMD::HotTypes::Make();

}  // namespace tfengine::cpu
