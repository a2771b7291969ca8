// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/loops.h"
#include "base/gang.h"

namespace tfengine::cpu {

enum class PadMode {
  k_constant,
  k_reflect,    // without the edge: lo, hi < dim
  k_symmetric,  // with the edge: lo, hi <= dim
};

// y has extents lo[i] + dims[i] + hi[i], all >= 0 (callers check the bounds above too). `value` points to one element,
// read only for k_constant. Elements of 1, 2, 4 or 8 bytes.
void Pad(PadMode mode, const void* x, Dims dims, Dims lo, Dims hi, const void* value, size_t element_size, void* y, Gang& gang);

}  // namespace tfengine::cpu
