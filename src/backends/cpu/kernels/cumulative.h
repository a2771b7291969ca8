// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/gang.h"

namespace tfengine::cpu {

enum class CumulativeOp { k_sum, k_prod };

// Running sum or product over `axis` of x [outer, axis, inner]. y may be x.
void Cumulative(CumulativeOp op, const float* x, int64_t outer, int64_t axis, int64_t inner, bool exclusive, bool reverse,
                float* y, Gang& gang);

}  // namespace tfengine::cpu
