// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise_dot_inl.h"

namespace tfengine::cpu {

extern const DepthwiseDotKernels kDepthwiseDotPortable = TFE_SIMD::MakeDepthwiseDotKernels(CpuIsa::kPortable);

}  // namespace tfengine::cpu
