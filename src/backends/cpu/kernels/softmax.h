// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "base/gang.h"

namespace tfengine::cpu {

// Over the last axis of x [rows, cols], dense; y may be x. exp(x - max) / sum as TensorFlow does it: a row with NaN or
// +inf, or of only -inf, is all NaN. Log-softmax is (x - max) - log(sum of exp(x - max)).
void Softmax(const float* x, float* y, int64_t rows, int64_t cols, Gang& gang,
             CpuIsa isa = HostCpu().isa);
void LogSoftmax(const float* x, float* y, int64_t rows, int64_t cols, Gang& gang,
                CpuIsa isa = HostCpu().isa);
// The same between any formats. `scratch`: 64-byte aligned, SoftmaxScratchBytes.
size_t SoftmaxScratchBytes(int64_t cols, int threads);
void Softmax(const void* x, const Format& from, void* y, const Format& to, int64_t rows, int64_t cols, void* scratch,
             Gang& gang, CpuIsa isa = HostCpu().isa);
void LogSoftmax(const void* x, const Format& from, void* y, const Format& to, int64_t rows, int64_t cols, void* scratch,
                Gang& gang, CpuIsa isa = HostCpu().isa);

}  // namespace tfengine::cpu
