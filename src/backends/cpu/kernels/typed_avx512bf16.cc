// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/typed_simd.h"

namespace tfengine::cpu {

extern const TypedKernels kTypedAvx512bf16 = TFE_SIMD::MakeTypedKernels();

}  // namespace tfengine::cpu
