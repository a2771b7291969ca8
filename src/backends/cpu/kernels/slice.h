// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/loops.h"
#include "base/gang.h"

namespace tfengine::cpu {

// y[i] = x[begin + i * stride] per axis, for i in [0, size). Strides may be negative (reverse) but not 0; every index
// must be inside x (callers check). Elements of 1, 2, 4 or 8 bytes.
void Slice(const void* x, Dims dims, Dims begin, Dims size, Dims stride, size_t element_size, void* y, Gang& gang);

// y = x broadcast to `result` (NumPy rules).
void BroadcastTo(const void* x, Dims dims, Dims result, size_t element_size, void* y, Gang& gang);

// y has extents dims[i] * reps[i].
void Tile(const void* x, Dims dims, Dims reps, size_t element_size, void* y, Gang& gang);

}  // namespace tfengine::cpu
