// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "backends/cpu/kernels/loops.h"
#include "base/gang.h"

namespace tfengine::cpu {

enum class ReduceOp { k_sum, k_mean, k_max, k_min, k_prod };
enum class ReduceLogicalOp { k_any, k_all };

// Reduces the axes whose bits are set in `axes`; the result is dense in the order of the other axes. An empty reduction
// gives 0, NaN (mean), -inf (max), inf (min), 1. NaN elements make max and min NaN, as in TensorFlow.
// `scratch`: 64-byte aligned, ReduceScratchBytes. Between any formats, but there is no product of codes.
size_t ReduceScratchBytes(Dims dims, uint32_t axes, int threads, const Format& to = {});
void Reduce(ReduceOp op, const void* x, const Format& from, Dims dims, uint32_t axes, void* y, const Format& to, void* scratch,
            Gang& gang, CpuIsa isa = HostCpu().isa);
inline void Reduce(ReduceOp op, const float* x, Dims dims, uint32_t axes, float* y, void* scratch, Gang& gang,
                   CpuIsa isa = HostCpu().isa) {
  Reduce(op, x, Format{}, dims, axes, y, Format{}, scratch, gang, isa);
}
void Reduce(ReduceLogicalOp op, const bool* x, Dims dims, uint32_t axes, bool* y, Gang& gang);

}  // namespace tfengine::cpu
