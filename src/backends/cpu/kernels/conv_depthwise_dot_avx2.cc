// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise_dot_inl.h"

namespace tfengine::cpu {

extern const DepthwiseDotKernels kDepthwiseDotAvx2 = TFE_SIMD::MakeDepthwiseDotKernels(CpuIsa::kAvx2);

}  // namespace tfengine::cpu
