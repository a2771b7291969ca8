// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/loops.h"
#include "base/gang.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine::cpu {

// params [batch, outer, axis, inner], indices [batch, count] -> y [batch, outer, count, inner]; each is a product of
// TensorFlow's axes (batch: the batch_dims).
struct GatherShape {
  int64_t batch = 1, outer = 1, axis = 0, inner = 1, count = 0;
  bool wrap = false;  // indices from -axis on count from the end
};

// indices: int32 or int64 by `index_type`. An index outside [0, axis) (wrap: [-axis, axis)) is kIndexOutOfRange, as InvalidArgument is in TensorFlow on
// CPU; y is then unspecified. Elements of any size.
Status Gather(const GatherShape& shape, const void* params, const void* indices, DType index_type, size_t element_size,
              void* y, Gang& gang);

// params [batch, dims..., inner], indices [batch, count, rank of dims] -> y [batch, count, inner].
struct GatherNdShape {
  int64_t batch = 1, count = 0, inner = 1;
  int rank = 0;  // <= kMaxRank
  int64_t dims[kMaxRank] = {};
};
Status GatherNd(const GatherNdShape& shape, const void* params, const void* indices, DType index_type,
                size_t element_size, void* y, Gang& gang);

// indices [outer, inner] -> y [outer, depth, inner]: `on` where the index equals the depth coordinate, else `off`.
// Indices out of range give a row of `off`. `on` and `off` point to one element of 1, 2, 4 or 8 bytes.
void OneHot(const void* indices, DType index_type, int64_t outer, int64_t depth, int64_t inner, const void* on,
            const void* off, size_t element_size, void* y, Gang& gang);

}  // namespace tfengine::cpu
