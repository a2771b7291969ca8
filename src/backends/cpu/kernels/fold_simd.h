// SPDX-License-Identifier: Apache-2.0
#pragma once

// Part of row_simd.h: folds (sums, maxima, ...) of rows of stored values.
#include "backends/cpu/kernels/format_simd.h"
#include "backends/cpu/kernels/row_kernels.h"

namespace tfengine::cpu::TFE_SIMD {

struct FoldSum {
  static constexpr float kIdentity = 0;
  static TFE_INLINE VF Run(VF sum, VF x) { return Add(sum, x); }
  static TFE_INLINE float Run(float sum, float x) { return sum + x; }
};
struct FoldProd {
  static constexpr float kIdentity = 1;
  static TFE_INLINE VF Run(VF product, VF x) { return Mul(product, x); }
  static TFE_INLINE float Run(float product, float x) { return product * x; }
};
// Max(x, best) is best if either is NaN, so a NaN stays; a new one is taken by the select.
struct FoldMax {
  static constexpr float kIdentity = -__builtin_inff();
  static TFE_INLINE VF Run(VF best, VF x) { return Select(IsNan(x), x, Max(x, best)); }
  static TFE_INLINE float Run(float best, float x) { return x != x || x > best ? x : best; }
};
struct FoldMin {
  static constexpr float kIdentity = __builtin_inff();
  static TFE_INLINE VF Run(VF best, VF x) { return Select(IsNan(x), x, Min(x, best)); }
  static TFE_INLINE float Run(float best, float x) { return x != x || x < best ? x : best; }
};
struct FoldMaxNumber {
  static constexpr float kIdentity = -__FLT_MAX__;
  static TFE_INLINE VF Run(VF best, VF x) { return Max(x, best); }
  static TFE_INLINE float Run(float best, float x) { return x > best ? x : best; }
};

template <typename F>
TFE_INLINE float FoldLanes(VF v) {
  alignas(64) float lanes[kLanes];
  Store(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] = F::Run(lanes[i], lanes[i + width]);
  }
  return lanes[0];
}

// Four vectors of partial results hide the latency and keep rounding errors small.
template <typename F, Storage storage>
float ReduceStored(const void* row, const Format& from, int64_t n) {
  const Stored<storage> in(from);
  const auto* x = static_cast<const typename Stored<storage>::Element*>(row);
  const VF identity = Set(F::kIdentity);
  VF part[4] = {identity, identity, identity, identity};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) part[k] = F::Run(part[k], in.Units(x + i + k * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) part[0] = F::Run(part[0], in.Units(x + i));
  float result = FoldLanes<F>(F::Run(F::Run(part[0], part[1]), F::Run(part[2], part[3])));
  if (i < n) {
    alignas(64) float lanes[kLanes];
    Store(lanes, in.Units(x + i, Tail(n - i)));
    for (int k = 0; k < n - i; ++k) result = F::Run(result, lanes[k]);
  }
  return result;
}

template <typename F>
TFE_INLINE float ReduceRow(const float* x, int64_t n) {
  return ReduceStored<F, Storage::kF32>(x, Format{Storage::kF32, 1, 0, 0, 255}, n);
}

template <typename F>
void CombineRow(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, F::Run(Load(y + i), Load(x + i)));
  if (i < n) {
    const VTail tail = Tail(n - i);
    Store(y + i, F::Run(Load(y + i, tail), Load(x + i, tail)), tail);
  }
}

#if defined(__AVX512F__)
// Sums of codes in 16 bits, which kMostFoldedRows codes cannot overflow.
template <int kVectors>
TFE_INLINE void SumCodes(const void* const* rows, int64_t count, int32_t zeros, float* y, int64_t at, __mmask32 tail) {
  __m512i sum[kVectors];
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) sum[k] = _mm512_setzero_si512();
  for (int64_t r = 0; r < count; ++r) {
    const uint8_t* row = static_cast<const uint8_t*>(rows[r]) + at;
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      const __m256i codes = kVectors == 1 ? _mm256_maskz_loadu_epi8(tail, row)
                                          : _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 32 * k));
      sum[k] = _mm512_add_epi16(sum[k], _mm512_cvtepu8_epi16(codes));
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    const VI low = Sub(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(sum[k])), SetInt(zeros));
    const VI high = Sub(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(sum[k], 1)), SetInt(zeros));
    Store(y + at + 32 * k, ToFloat(low), static_cast<VTail>(tail));
    Store(y + at + 32 * k + 16, ToFloat(high), static_cast<VTail>(tail >> 16));
  }
}
#endif

template <typename F, Storage storage>
void FoldRows(const void* const* rows, int64_t count, const Format& from, float* y, int64_t n) {
  int64_t i = 0;
#if defined(__AVX512F__)
  if constexpr (storage == Storage::kU8 && F::kIdentity == 0.0f) {
    const int32_t zeros = static_cast<int32_t>(count) * from.zero;
    for (; i + 128 <= n; i += 128) SumCodes<4>(rows, count, zeros, y, i, ~0u);
    for (; i < n; i += 32) SumCodes<1>(rows, count, zeros, y, i, n - i >= 32 ? ~0u : (1u << (n - i)) - 1);
    return;
  }
#endif
  const Stored<storage> in(from);
  using Row = const typename Stored<storage>::Element*;
  const VF identity = Set(F::kIdentity);
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    VF part[4] = {identity, identity, identity, identity};
    for (int64_t r = 0; r < count; ++r) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) part[k] = F::Run(part[k], in.Units(static_cast<Row>(rows[r]) + i + k * kLanes));
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) Store(y + i + k * kLanes, part[k]);
  }
  for (; i < n; i += kLanes) {
    const VTail tail = Tail(n - i);
    VF part = identity;
    for (int64_t r = 0; r < count; ++r) part = F::Run(part, in.Units(static_cast<Row>(rows[r]) + i, tail));
    Store(y + i, part, tail);
  }
}

inline void MaxCodes(const void* const* rows, int64_t count, uint8_t* y, int64_t n) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i < n; i += 64) {
    const __mmask64 tail = n - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - i)) - 1;
    __m512i best = _mm512_setzero_si512();
    for (int64_t r = 0; r < count; ++r) {
      best = _mm512_max_epu8(best, _mm512_maskz_loadu_epi8(tail, static_cast<const uint8_t*>(rows[r]) + i));
    }
    _mm512_mask_storeu_epi8(y + i, tail, best);
  }
#else
#if defined(__AVX2__)
  for (; i + 32 <= n; i += 32) {
    __m256i best = _mm256_setzero_si256();
    for (int64_t r = 0; r < count; ++r) {
      const uint8_t* row = static_cast<const uint8_t*>(rows[r]) + i;
      best = _mm256_max_epu8(best, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), best);
  }
#endif
  for (; i < n; ++i) {
    uint8_t best = 0;
    for (int64_t r = 0; r < count; ++r) {
      const uint8_t code = static_cast<const uint8_t*>(rows[r])[i];
      best = code > best ? code : best;
    }
    y[i] = best;
  }
#endif
}

template <Storage storage>
void MaxWindows(const PoolWindows& w, int64_t count) {
  const Stored<storage> stored(Format{storage, 1, 0, 0, 255});
  using Element = typename Stored<storage>::Element;
  for (int64_t i = 0; i < count; ++i) {
    const Element* x = static_cast<const Element*>(w.x) + i * w.next;
    Element* y = static_cast<Element*>(w.y) + i * w.y_next;
    ForVectors(w.channels, [&](int64_t c, auto lanes) __attribute__((always_inline)) {
      VF best = Set(FoldMaxNumber::kIdentity);
      for (int64_t ky = 0; ky < w.height; ++ky) {
        const Element* point = x + ky * w.line + c;
        for (int64_t kx = 0; kx < w.width; ++kx, point += w.point) best = FoldMaxNumber::Run(best, stored.Read(point, lanes));
      }
      stored.Write(y + c, best, lanes);
    });
  }
}

inline void MaxCodeWindows(const PoolWindows& w, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* x = static_cast<const uint8_t*>(w.x) + i * w.next;
    uint8_t* y = static_cast<uint8_t*>(w.y) + i * w.y_next;
    int64_t c = 0;
#if defined(__AVX512F__)
    for (; c < w.channels; c += 64) {
      const bool whole = w.channels - c >= 64;
      const __mmask64 tail = whole ? ~__mmask64{0} : (__mmask64{1} << (w.channels - c)) - 1;
      __m512i best = _mm512_setzero_si512();
      for (int64_t ky = 0; ky < w.height; ++ky) {
        const uint8_t* point = x + ky * w.line + c;
        for (int64_t kx = 0; kx < w.width; ++kx, point += w.point) {
          best = _mm512_max_epu8(best, whole ? _mm512_loadu_si512(point) : _mm512_maskz_loadu_epi8(tail, point));
        }
      }
      _mm512_mask_storeu_epi8(y + c, tail, best);
    }
#else
#if defined(__AVX2__)
    for (; c + 32 <= w.channels; c += 32) {
      __m256i best = _mm256_setzero_si256();
      for (int64_t ky = 0; ky < w.height; ++ky) {
        const uint8_t* point = x + ky * w.line + c;
        for (int64_t kx = 0; kx < w.width; ++kx, point += w.point) {
          best = _mm256_max_epu8(best, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(point)));
        }
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + c), best);
    }
#endif
    for (; c < w.channels; ++c) {
      uint8_t best = 0;
      for (int64_t ky = 0; ky < w.height; ++ky) {
        for (int64_t kx = 0; kx < w.width; ++kx) {
          const uint8_t code = x[ky * w.line + kx * w.point + c];
          best = code > best ? code : best;
        }
      }
      y[c] = best;
    }
#endif
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
