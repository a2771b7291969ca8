// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/dot_simd.h"
#include "backends/cpu/kernels/transpose_simd.h"

namespace tfengine::cpu::TFE_SIMD {

// Packs one panel (dot_kernels.h) of a plain B [k, columns] of stored values, element (i, c) at i * row_stride + c * col_stride.
template <typename D>
void PackPanel(const void* values, int64_t row_stride, int64_t col_stride, int64_t k, int64_t columns, int64_t vectors, char* to) {
  using Operand = typename D::Operand;
  constexpr int64_t kPer = kPerWord<D>;
  const auto* from = static_cast<const typename D::Value*>(values);
  const int64_t words = (k + kPer - 1) / kPer, width = vectors * kLanes;
  if (columns < width || k % kPer != 0) __builtin_memset(to, 0, words * width * 4);
  int64_t done = 0;  // rows
#if defined(__AVX512BF16__)
  if constexpr (sizeof(Operand) == 2) {
    done = k / 2 * 2;
    if (col_stride == 1) {  // pairs of rows, interleaved
      const __mmask32 mask = static_cast<__mmask32>((uint64_t{1} << columns) - 1);
      alignas(64) uint16_t index[64];
      for (int i = 0; i < 64; ++i) index[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
      const VI low = _mm512_load_si512(index), high = _mm512_load_si512(index + 32);
      for (int64_t i = 0; i < done; i += 2, from += 2 * row_stride, to += width * 4) {
        const VI a = _mm512_maskz_loadu_epi16(mask, from), b = _mm512_maskz_loadu_epi16(mask, from + row_stride);
        _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, low, b));
        if (vectors == 2) _mm512_storeu_si512(to + 64, _mm512_permutex2var_epi16(a, high, b));
      }
    } else if (row_stride == 1 && col_stride % 2 == 0 && reinterpret_cast<uintptr_t>(from) % 4 == 0) {  // words move whole
      TransposeMatrix(reinterpret_cast<const float*>(from), col_stride / 2, columns, done / 2, reinterpret_cast<float*>(to), width);
      from += done;
      to += done / 2 * width * 4;
    } else {
      done = 0;
    }
  }
#endif
  for (int64_t i = 0; i < k - done; ++i) {
    Operand* word = reinterpret_cast<Operand*>(to + i / kPer * width * 4) + i % kPer;
    for (int64_t c = 0; c < columns; ++c) word[c * kPer] = D::Widen(from[i * row_stride + c * col_stride]);
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
