// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backends/cpu/kernels/loops.h"
#include "base/gang.h"

namespace tfengine::cpu {

// y = transpose(x, perm): axis i of y is axis perm[i] of x. Elements of 1, 2, 4 or 8 bytes. y must not overlap x.
void Transpose(const void* x, Dims dims, Dims perm, size_t element_size, void* y, Gang& gang);

// Images of [batch, h, w, channels]; channels % block^2 == 0 or h, w % block == 0 (callers check).
void DepthToSpace(const void* x, Dims dims, int64_t block, size_t element_size, void* y, Gang& gang);
void SpaceToDepth(const void* x, Dims dims, int64_t block, size_t element_size, void* y, Gang& gang);

}  // namespace tfengine::cpu
