// SPDX-License-Identifier: Apache-2.0
#pragma once

// Loads and stores of kLanes stored values (format.h) as a vector of f32; the namespace and its rules are those of simd.h.
#include "backends/cpu/kernels/format.h"
#include "backends/cpu/kernels/simd.h"

namespace tfengine::cpu::TFE_SIMD {

// Lanes outside a tail are neither read (their value is unspecified) nor written.
template <Storage storage>
struct Stored;

template <>
struct Stored<Storage::kF32> {
  using Element = float;
  TFE_INLINE explicit Stored(const Format&) {}
  TFE_INLINE VF Read(const float* p) const { return Load(p); }
  TFE_INLINE VF Read(const float* p, VTail t) const { return Load(p, t); }
  TFE_INLINE void Write(float* p, VF v) const { Store(p, v); }
  TFE_INLINE void Write(float* p, VF v, VTail t) const { Store(p, v, t); }
};

#if defined(__AVX512F__)

// Low 16 bits of each lane: the bf16 nearest to v, ties to even; NaN stays NaN.
TFE_INLINE __m256i RoundToBf16(VF v) {
#if defined(__AVX512BF16__)
  return (__m256i)_mm512_cvtneps_pbh(v);
#else
  const VI bits = Bits(v);
  const VI odd = And(_mm512_srli_epi32(bits, 16), SetInt(1));
  VI rounded = Add(Add(bits, SetInt(0x7fff)), odd);
  rounded = _mm512_mask_or_epi32(rounded, IsNan(v), bits, SetInt(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}

template <>
struct Stored<Storage::kBf16> {
  using Element = uint16_t;
  TFE_INLINE explicit Stored(const Format&) {}
  static TFE_INLINE VF Widen(__m256i v) { return FromBits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16)); }
  TFE_INLINE VF Read(const uint16_t* p) const { return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  TFE_INLINE VF Read(const uint16_t* p, VTail t) const { return Widen(_mm256_maskz_loadu_epi16(t, p)); }
  TFE_INLINE void Write(uint16_t* p, VF v) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), RoundToBf16(v)); }
  TFE_INLINE void Write(uint16_t* p, VF v, VTail t) const { _mm256_mask_storeu_epi16(p, t, RoundToBf16(v)); }
};

#elif defined(__AVX2__)

TFE_INLINE int CountOf(VTail t) { return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(t)))); }

TFE_INLINE __m128i RoundToBf16(VF v) {
  const VI bits = Bits(v);
  const VI odd = And(_mm256_srli_epi32(bits, 16), SetInt(1));
  const VI rounded = Add(Add(bits, SetInt(0x7fff)), odd);
  const VI quiet = _mm256_or_si256(bits, SetInt(0x400000));
  const VI high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(IsNan(v))), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

template <>
struct Stored<Storage::kBf16> {
  using Element = uint16_t;
  TFE_INLINE explicit Stored(const Format&) {}
  TFE_INLINE VF Read(const uint16_t* p) const {
    return FromBits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
  }
  TFE_INLINE void Write(uint16_t* p, VF v) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), RoundToBf16(v)); }
  TFE_INLINE VF Read(const uint16_t* p, VTail t) const {
    uint16_t all[kLanes] = {};
    for (int i = 0, n = CountOf(t); i < n; ++i) all[i] = p[i];
    return Read(all);
  }
  TFE_INLINE void Write(uint16_t* p, VF v, VTail t) const {
    uint16_t all[kLanes];
    Write(all, v);
    for (int i = 0, n = CountOf(t); i < n; ++i) p[i] = all[i];
  }
};

#else

TFE_INLINE int CountOf(VTail t) { return t; }

template <>
struct Stored<Storage::kBf16> {
  using Element = uint16_t;
  TFE_INLINE explicit Stored(const Format&) {}
  TFE_INLINE VF Read(const uint16_t* p, VTail t = kLanes) const {
    VUnsigned bits{};
    for (int i = 0; i < t; ++i) bits[i] = static_cast<uint32_t>(p[i]) << 16;
    return FromBits(VI(bits));
  }
  TFE_INLINE void Write(uint16_t* p, VF v, VTail t = kLanes) const {
    const VUnsigned bits = VUnsigned(Bits(v));
    const VUnsigned rounded = VUnsigned(IsNan(v)) ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u);
    for (int i = 0; i < t; ++i) p[i] = static_cast<uint16_t>(rounded[i] >> 16);
  }
};

#endif

template <>
struct Stored<Storage::kU8> {
  using Element = uint8_t;
  VF scale, inverse, low, high;
  VI zero;
  TFE_INLINE explicit Stored(const Format& f)
      : scale(Set(f.scale)),
        inverse(Set(1.0f / f.scale)),
        low(Set(static_cast<float>(f.lo - f.zero))),
        high(Set(static_cast<float>(f.hi - f.zero))),
        zero(SetInt(f.zero)) {}
  TFE_INLINE VF Real(VI codes) const { return Mul(ToFloat(Sub(codes, zero)), scale); }
  TFE_INLINE VI Codes(VF v) const {
    // NaN would become `high`.
    v = Select(IsNan(v), Zero(), Mul(v, inverse));
    return Add(ToInt(Min(high, Max(low, v))), zero);
  }
#if defined(__AVX512F__)
  TFE_INLINE VF Read(const uint8_t* p) const {
    return Real(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  TFE_INLINE VF Read(const uint8_t* p, VTail t) const { return Real(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(t, p))); }
  TFE_INLINE void Write(uint8_t* p, VF v) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(Codes(v)));
  }
  TFE_INLINE void Write(uint8_t* p, VF v, VTail t) const { _mm_mask_storeu_epi8(p, t, _mm512_cvtepi32_epi8(Codes(v))); }
#else
#if defined(__AVX2__)
  TFE_INLINE VF Read(const uint8_t* p) const {
    return Real(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  TFE_INLINE void Write(uint8_t* p, VF v) const {
    const VI codes = Codes(v);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
#else
  TFE_INLINE VF Read(const uint8_t* p) const {
    VI codes;
    for (int i = 0; i < kLanes; ++i) codes[i] = p[i];
    return Real(codes);
  }
  TFE_INLINE void Write(uint8_t* p, VF v) const {
    const VI codes = Codes(v);
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint8_t>(codes[i]);
  }
#endif
  TFE_INLINE VF Read(const uint8_t* p, VTail t) const {
    uint8_t all[kLanes] = {};
    for (int i = 0, n = CountOf(t); i < n; ++i) all[i] = p[i];
    return Read(all);
  }
  TFE_INLINE void Write(uint8_t* p, VF v, VTail t) const {
    uint8_t all[kLanes];
    Write(all, v);
    for (int i = 0, n = CountOf(t); i < n; ++i) p[i] = all[i];
  }
#endif
};

}  // namespace tfengine::cpu::TFE_SIMD
