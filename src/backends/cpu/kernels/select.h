// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/loops.h"
#include "base/gang.h"

namespace tfengine::cpu {

// y = cond ? a : b with NumPy broadcasting; `loops` is MakeLoopNest(result, {cond, a, b}). Elements of 1, 2, 4 or 8
// bytes. y may be a or b if that has the result's shape.
void Select(const LoopNest& loops, const bool* cond, const void* a, const void* b, void* y, size_t element_size, Gang& gang);

}  // namespace tfengine::cpu
