// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backends/cpu/kernels/conv_dot.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/dot_kernels.h"

// Depthwise convolutions in reduced precision. The general form widens inputs to f32, in which sums of u8 codes times signed
// codes are exact, and takes any multiplier and filters of up to kMaxDepthwiseTaps taps.
namespace tfengine::cpu {

using DepthwiseTask = void (*)(const DepthwisePlan& plan, const DotArgs& args, int64_t task, char* scratch);

struct DepthwiseDotKernels {
  CpuIsa isa;
  int lanes;
  DepthwiseTask task[3];  // by DotType; `scratch`: of this worker, sums of a step and one pixel of padding
};
extern const DepthwiseDotKernels kDepthwiseDotPortable;
extern const DepthwiseDotKernels kDepthwiseDotAvx2;
extern const DepthwiseDotKernels kDepthwiseDotAvx512;

// 3x3 filters; vectors of the plan are chunks of 64 channels (codes) or 32 (bf16). Packed, per chunk: weights
// [filter column][4 vectors][lane][32 bits], then, of codes, each channel's sum of weights, int32 [4 vectors][lane];
// conv_depthwise_window_inl.h has the order of channels. `scratch`: 64 bytes, and a float for each channel of a chunk and
// output column.
inline constexpr int64_t kDepthwiseChunkBytes = 16 * 64;
extern const DepthwiseTask kDepthwiseInt8Avx512vnni;
extern const DepthwiseTask kDepthwiseBf16Avx512bf16;

// Fastest first.
const std::vector<const DotConvTactic*>& DepthwiseDotTactics();

}  // namespace tfengine::cpu
