// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backends/cpu/kernels/conv_dot.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/dot_kernels.h"

// Depthwise convolutions in reduced precision. The general form widens inputs to f32, in which sums of u8 codes times signed
// codes are exact, and takes any multiplier and filters of up to kMaxDepthwiseTaps taps.
namespace tfengine::cpu {

struct DepthwiseDotKernels {
  CpuIsa isa;
  int lanes;
  // By DotType. `scratch`: of this worker, sums of a step and one pixel of padding.
  void (*task[3])(const DepthwisePlan& plan, const DotArgs& args, int64_t task, char* scratch);
};
extern const DepthwiseDotKernels kDepthwiseDotPortable;
extern const DepthwiseDotKernels kDepthwiseDotAvx2;
extern const DepthwiseDotKernels kDepthwiseDotAvx512;

// Fastest first.
const std::vector<const DotConvTactic*>& DepthwiseDotTactics();

}  // namespace tfengine::cpu
