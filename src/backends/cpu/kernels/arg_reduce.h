// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/gang.h"
#include "tfengine/types.h"

namespace tfengine::cpu {

enum class ArgReduceOp { k_max, k_min };

// Index of the extreme over `axis` (>= 1) of x [outer, axis, inner]; the first one on ties; y: int32 or int64 by
// `index_type`. A NaN is never chosen, and the search starts from the
// lowest (highest) finite float: if nothing beats that the index is 0, as in TensorFlow.
void ArgReduce(ArgReduceOp op, const float* x, int64_t outer, int64_t axis, int64_t inner, DType index_type, void* y,
               Gang& gang);

// The k largest of each row of x [rows, cols], in descending order, equal values by ascending index, NaN last. k <= cols.
void TopK(const float* x, int64_t rows, int64_t cols, int64_t k, float* values, int32_t* indices, Gang& gang);

}  // namespace tfengine::cpu
