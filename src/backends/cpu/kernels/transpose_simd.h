// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/simd.h"

// Transposes of float matrices in registers; see simd.h for the rules of this namespace.
namespace tfengine::cpu::TFE_SIMD {

typedef int32_t LaneIndex __attribute__((vector_size(4 * kLanes)));

// One stage of the transpose by halves: swaps the off-diagonal blocks of size `kHalf` between rows that are kHalf apart.
template <int kHalf>
TFE_INLINE void TransposeStage(VF (&rows)[kLanes]) {
  LaneIndex low, high;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    low[i] = i & kHalf ? kLanes + i - kHalf : i;
    high[i] = i & kHalf ? kLanes + i : i + kHalf;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & kHalf) continue;
    const VF a = rows[i], b = rows[i + kHalf];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + kHalf] = __builtin_shuffle(a, b, high);
  }
}

// kLanes x kLanes floats: to[c * to_row + r] = from[r * from_row + c].
TFE_INLINE void TransposeSquare(const float* from, int64_t from_row, float* to, int64_t to_row) {
  VF rows[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = Load(from + i * from_row);
  if constexpr (kLanes > 8) TransposeStage<8>(rows);
  if constexpr (kLanes > 4) TransposeStage<4>(rows);
  TransposeStage<2>(rows);
  TransposeStage<1>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) Store(to + i * to_row, rows[i]);
}

// to[c * to_row + r] = from[r * from_row + c] for r < rows, c < cols.
inline void TransposeMatrix(const float* from, int64_t from_row, int64_t rows, int64_t cols, float* to, int64_t to_row) {
  int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) {
    int64_t c = 0;
    for (; c + kLanes <= cols; c += kLanes) {
      TransposeSquare(from + r * from_row + c, from_row, to + c * to_row + r, to_row);
    }
    for (; c < cols; ++c) {
      for (int i = 0; i < kLanes; ++i) to[c * to_row + r + i] = from[(r + i) * from_row + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) to[c * to_row + r] = from[r * from_row + c];
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
