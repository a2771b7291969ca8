// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/simd.h"

// Multiply-adds of 32-bit words: each lane of `sum` gets the products of one broadcast word of x with its own word of
// weights. Where an instruction set has no such products of stored values, operands are widened when x is gathered.
namespace tfengine::cpu::TFE_SIMD {

#if defined(__AVX512F__)
TFE_INLINE VI LoadWords(const char* p) { return _mm512_loadu_si512(p); }
TFE_INLINE VI SetWord(const char* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
TFE_INLINE VI Multiply(VI a, VI b) { return _mm512_mullo_epi32(a, b); }
#elif defined(__AVX2__)
TFE_INLINE VI LoadWords(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
TFE_INLINE VI SetWord(const char* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}
TFE_INLINE VI Multiply(VI a, VI b) { return _mm256_mullo_epi32(a, b); }
#else
TFE_INLINE VI LoadWords(const char* p) { VI v; __builtin_memcpy(&v, p, 16); return v; }
TFE_INLINE VI SetWord(const char* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return SetInt(word);
}
TFE_INLINE VI Multiply(VI a, VI b) { return VI(VUnsigned(a) * VUnsigned(b)); }
#endif

struct Int8Dot {
  using Value = uint8_t;  // as stored; an Operand is what is multiplied
  using Sum = VI;
  static constexpr bool kInteger = true;
#if defined(__AVX512VNNI__)
  using Operand = uint8_t;
  // As _mm512_dpbusd_epi32, whose change of vector modes makes GCC 12 spill the sums.
  static TFE_INLINE VI Dot(VI sum, VI x, VI w) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
  }
#else
  using Operand = int16_t;
  static TFE_INLINE VI Dot(VI sum, VI x, VI w) {
#if defined(__AVX512F__)
    return Add(sum, _mm512_madd_epi16(x, w));
#elif defined(__AVX2__)
    return Add(sum, _mm256_madd_epi16(x, w));
#else
    return Add(sum, (VI)_mm_madd_epi16((__m128i)x, (__m128i)w));
#endif
  }
#endif
  static TFE_INLINE VI Start(VI weight_sums, int32_t zero) { return Multiply(weight_sums, SetInt(-zero)); }
  static TFE_INLINE VI Plus(VI a, VI b) { return Add(a, b); }
  static TFE_INLINE VI None() { return SetInt(0); }
  static TFE_INLINE VF Real(VI sum) { return ToFloat(sum); }
  static TFE_INLINE Operand Widen(Value v) { return v; }
};

struct Bf16Dot {
  using Value = uint16_t;
  using Sum = VF;
  static constexpr bool kInteger = false;
#if defined(__AVX512BF16__)
  using Operand = uint16_t;
  static TFE_INLINE VF Dot(VF sum, VI x, VI w) { return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w); }
  static TFE_INLINE Operand Widen(Value v) { return v; }
#else
  using Operand = float;
  static TFE_INLINE VF Dot(VF sum, VI x, VI w) { return Fma(FromBits(x), FromBits(w), sum); }
  static TFE_INLINE Operand Widen(Value v) {
    const uint32_t bits = static_cast<uint32_t>(v) << 16;
    float real;
    __builtin_memcpy(&real, &bits, 4);
    return real;
  }
#endif
  static TFE_INLINE VF Plus(VF a, VF b) { return Add(a, b); }
  static TFE_INLINE VF None() { return Zero(); }
  static TFE_INLINE VF Real(VF sum) { return sum; }
};

struct F32Dot {
  using Value = float;
  using Operand = float;
  using Sum = VF;
  static constexpr bool kInteger = false;
  static TFE_INLINE VF Dot(VF sum, VI x, VI w) { return Fma(FromBits(x), FromBits(w), sum); }
  static TFE_INLINE VF Plus(VF a, VF b) { return Add(a, b); }
  static TFE_INLINE VF None() { return Zero(); }
  static TFE_INLINE VF Real(VF sum) { return sum; }
  static TFE_INLINE float Widen(float v) { return v; }
};

template <typename D>
inline constexpr int kPerWord = 4 / static_cast<int>(sizeof(typename D::Operand));

// Copies n values, shift bytes behind from[m], to to + m * stride for m < pixels; nothing beyond them is read. May write up to
// 63 bytes more than n operands.
template <typename D>
TFE_INLINE void CopyOperands(const void* const* from, int64_t shift, int64_t n, int64_t pixels, char* to, int64_t stride) {
  using Value = typename D::Value;
  auto values_of = [=](int64_t m) __attribute__((always_inline)) {
    return reinterpret_cast<const Value*>(static_cast<const char*>(from[m]) + shift);
  };
#if defined(__AVX512F__)
  if constexpr (sizeof(typename D::Operand) == sizeof(Value) && sizeof(Value) < 4) {
    constexpr int64_t kPer = 64 / sizeof(Value);
    if (2 * n <= kPer) {  // half vectors store faster
      const uint32_t mask = static_cast<uint32_t>((uint64_t{1} << n) - 1);
      for (int64_t m = 0; m < pixels; ++m, to += stride) {
        if constexpr (kPer == 64) {
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_loadu_epi8(mask, values_of(m)));
        } else {
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_loadu_epi16(static_cast<__mmask16>(mask), values_of(m)));
        }
      }
      return;
    }
    for (int64_t i = 0; i < n; i += kPer) {
      const uint64_t mask = n - i >= kPer ? ~uint64_t{0} : (uint64_t{1} << (n - i)) - 1;
      char* at = to + i * static_cast<int64_t>(sizeof(Value));
      for (int64_t m = 0; m < pixels; ++m, at += stride) {
        const Value* values = values_of(m) + i;
        if constexpr (kPer == 64) {
          _mm512_storeu_si512(at, _mm512_maskz_loadu_epi8(mask, values));
        } else {
          _mm512_storeu_si512(at, _mm512_maskz_loadu_epi16(static_cast<__mmask32>(mask), values));
        }
      }
    }
    return;
  }
#endif
  for (int64_t m = 0; m < pixels; ++m, to += stride) {
    const Value* values = values_of(m);
    auto* operands = reinterpret_cast<typename D::Operand*>(to);
    for (int64_t i = 0; i < n; ++i) operands[i] = D::Widen(values[i]);
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
