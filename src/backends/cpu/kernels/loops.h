// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

namespace tfengine::cpu {

// Shapes are row-major; kernels take ranks up to this (callers check).
inline constexpr int kMaxRank = 8;
using Dims = std::span<const int64_t>;

inline int64_t NumElements(Dims dims) {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

// Nested loops over a dense result and up to kMaxOperands operands with a stride per dim (0: broadcast), in elements.
// Adjacent dims that every operand walks alike are merged and dims of 1 dropped, so the usual patterns end with one to
// three dims, the last (innermost) with strides of 0 or 1 unless an operand is a strided view.
struct LoopNest {
  static constexpr int kMaxOperands = 4;
  int rank = 0;  // >= 1 after MakeLoopNest
  int operands = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[kMaxOperands][kMaxRank] = {};
  int64_t size = 1;  // product of dims

  // Sets offsets[operand] for the iteration with number `index` (counted over all dims but the last).
  void Offsets(int64_t index, int64_t* offsets) const;
};

// NumPy broadcasting of `shapes` to `result`, to which each must be broadcastable (callers check).
LoopNest MakeLoopNest(Dims result, std::initializer_list<Dims> shapes);

}  // namespace tfengine::cpu
