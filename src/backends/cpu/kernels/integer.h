// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "backends/cpu/kernels/loops.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine::cpu {

// n elements of a binary op; within the run operands advance by their step, in elements.
using IntegerLoop = void (*)(const void* a, int64_t a_step, const void* b, int64_t b_step, void* y, int64_t n);

// A binary op on integers (comparisons: also bool) with results of the same type, or bool. Arithmetic wraps around.
struct IntegerBinary {
  IntegerLoop loop = nullptr;  // null: there is none
  DType dtype = DType::kInvalid;
  size_t result_size = 0;
  bool divides = false;  // fails where b is 0
};

// By the names of network/kinds.inc.
IntegerBinary FindIntegerBinary(std::string_view kind, DType dtype);

// y = op(a, b) with NumPy broadcasting; `loops` is MakeLoopNest(result, {shape of a, shape of b}), `b_size` the number of
// elements of b. y is dense and may be an operand that has the result's type and shape. Error: kArithmetic.
Status RunIntegerBinary(const IntegerBinary& op, const LoopNest& loops, const void* a, const void* b, int64_t b_size, void* y,
                        Gang& gang);

}  // namespace tfengine::cpu
