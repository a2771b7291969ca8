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

// 3x3 filters of codes; vectors of the plan are chunks of 64 channels. Packed, per chunk: weights [filter column][vector][lane]
// [4 rows, the last zero], then each channel's sum of weights, int32 [vector][lane]; the .cc file has the order of channels.
// `scratch`: 64 bytes and 64 floats for each output column.
inline constexpr int64_t kDepthwiseInt8ChunkBytes = 16 * 64;
extern const DepthwiseTask kDepthwiseInt8Avx512vnni;

// Fastest first.
const std::vector<const DotConvTactic*>& DepthwiseDotTactics();

}  // namespace tfengine::cpu
