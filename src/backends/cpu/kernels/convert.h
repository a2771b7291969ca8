// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "base/gang.h"

namespace tfengine::cpu {

// y = clip(x, low, high) between any two formats: casts between f32 and bf16, quantize, dequantize, requantize, relu. NaN
// passes the clip. y may be x if both are stored alike.
void Convert(const void* x, const Format& from, void* y, const Format& to, int64_t n, Gang& gang, CpuIsa isa = HostCpu().isa,
             float low = -std::numeric_limits<float>::infinity(), float high = std::numeric_limits<float>::infinity());

}  // namespace tfengine::cpu
