// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/fake_quant_simd.h"

namespace tfengine::cpu {

extern const FakeQuantKernels kFakeQuantAvx2 = TFE_SIMD::MakeFakeQuantKernels();

}  // namespace tfengine::cpu
