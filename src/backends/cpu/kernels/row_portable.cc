// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/row_simd.h"

namespace tfengine::cpu {

extern const RowKernels kRowPortable = TFE_SIMD::MakeRowKernels();

}  // namespace tfengine::cpu
