// SPDX-License-Identifier: Apache-2.0
#pragma once

// Loads and stores of kLanes stored values (format.h) as a vector of f32; the namespace and its rules are those of simd.h.
#include "backends/cpu/kernels/format.h"
#include "backends/cpu/kernels/simd.h"

namespace tfengine::cpu::TFE_SIMD {

// Stands for a tail of all lanes, at no cost.
struct AllLanes {};
TFE_INLINE VF Load(const float* p, AllLanes) { return Load(p); }
TFE_INLINE void Store(float* p, VF v, AllLanes) { Store(p, v); }

// body(i, lanes) for i = 0, kLanes, ... < n with lanes = AllLanes(), or the tail at the end.
template <typename Body>
TFE_INLINE void ForVectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, AllLanes{});
  if (i < n) body(i, Tail(n - i));
}

// Lanes outside a tail are neither read (their value is unspecified) nor written. Units of codes are code - zero, of other
// values the value itself.
template <Storage storage>
struct Stored;

template <>
struct Stored<Storage::kF32> {
  using Element = float;
  TFE_INLINE explicit Stored(const Format&) {}
  TFE_INLINE VF Read(const float* p) const { return Load(p); }
  TFE_INLINE VF Read(const float* p, VTail t) const { return Load(p, t); }
  TFE_INLINE VF Units(const float* p) const { return Load(p); }
  TFE_INLINE VF Units(const float* p, VTail t) const { return Load(p, t); }
  TFE_INLINE void Write(float* p, VF v) const { Store(p, v); }
  TFE_INLINE void Write(float* p, VF v, VTail t) const { Store(p, v, t); }
  TFE_INLINE VF Read(const float* p, AllLanes) const { return Read(p); }
  TFE_INLINE VF Units(const float* p, AllLanes) const { return Units(p); }
  TFE_INLINE void Write(float* p, VF v, AllLanes) const { Write(p, v); }
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
  TFE_INLINE VF Units(const uint16_t* p) const { return Read(p); }
  TFE_INLINE VF Units(const uint16_t* p, VTail t) const { return Read(p, t); }
  TFE_INLINE void Write(uint16_t* p, VF v) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), RoundToBf16(v)); }
  TFE_INLINE void Write(uint16_t* p, VF v, VTail t) const { _mm256_mask_storeu_epi16(p, t, RoundToBf16(v)); }
  TFE_INLINE VF Read(const uint16_t* p, AllLanes) const { return Read(p); }
  TFE_INLINE VF Units(const uint16_t* p, AllLanes) const { return Units(p); }
  TFE_INLINE void Write(uint16_t* p, VF v, AllLanes) const { Write(p, v); }
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
  TFE_INLINE VF Units(const uint16_t* p) const { return Read(p); }
  TFE_INLINE VF Units(const uint16_t* p, VTail t) const { return Read(p, t); }
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
  TFE_INLINE VF Read(const uint16_t* p, AllLanes) const { return Read(p); }
  TFE_INLINE VF Units(const uint16_t* p, AllLanes) const { return Units(p); }
  TFE_INLINE void Write(uint16_t* p, VF v, AllLanes) const { Write(p, v); }
};

#else

TFE_INLINE int CountOf(VTail t) { return t; }

template <>
struct Stored<Storage::kBf16> {
  using Element = uint16_t;
  TFE_INLINE explicit Stored(const Format&) {}
  TFE_INLINE VF Read(const uint16_t* p) const {
    return (VF)_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  TFE_INLINE VF Units(const uint16_t* p) const { return Read(p); }
  TFE_INLINE VF Units(const uint16_t* p, VTail t) const { return Read(p, t); }
  TFE_INLINE void Write(uint16_t* p, VF v) const {
    const VUnsigned bits = VUnsigned(Bits(v));
    const VUnsigned rounded = VUnsigned(IsNan(v)) ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u);
    const __m128i high = _mm_srai_epi32((__m128i)rounded, 16);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(high, high));
  }
  TFE_INLINE VF Read(const uint16_t* p, VTail t) const {
    uint16_t all[kLanes] = {};
    for (int i = 0; i < t; ++i) all[i] = p[i];
    return Read(all);
  }
  TFE_INLINE void Write(uint16_t* p, VF v, VTail t) const {
    uint16_t all[kLanes];
    Write(all, v);
    for (int i = 0; i < t; ++i) p[i] = all[i];
  }
  TFE_INLINE VF Read(const uint16_t* p, AllLanes) const { return Read(p); }
  TFE_INLINE VF Units(const uint16_t* p, AllLanes) const { return Units(p); }
  TFE_INLINE void Write(uint16_t* p, VF v, AllLanes) const { Write(p, v); }
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
  TFE_INLINE VF Read(const uint8_t* p) const { return Mul(Units(p), scale); }
  TFE_INLINE VF Read(const uint8_t* p, VTail t) const { return Mul(Units(p, t), scale); }
  TFE_INLINE VF Units(const uint8_t* p) const { return ToFloat(Sub(LoadCodes(p), zero)); }
  TFE_INLINE VF Units(const uint8_t* p, VTail t) const { return ToFloat(Sub(LoadCodes(p, t), zero)); }
  TFE_INLINE VI Codes(VF v) const {
    // NaN would become `high`.
    v = Select(IsNan(v), Zero(), Mul(v, inverse));
    return Add(ToInt(Min(high, Max(low, v))), zero);
  }
#if defined(__AVX512F__)
  static TFE_INLINE VI LoadCodes(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static TFE_INLINE VI LoadCodes(const uint8_t* p, VTail t) { return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(t, p)); }
  TFE_INLINE void Write(uint8_t* p, VF v) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(Codes(v)));
  }
  TFE_INLINE void Write(uint8_t* p, VF v, VTail t) const { _mm_mask_storeu_epi8(p, t, _mm512_cvtepi32_epi8(Codes(v))); }
#else
#if defined(__AVX2__)
  static TFE_INLINE VI LoadCodes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  TFE_INLINE void Write(uint8_t* p, VF v) const {
    const VI codes = Codes(v);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
#else
  static TFE_INLINE VI LoadCodes(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    const __m128i none = _mm_setzero_si128();
    return (VI)_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(four), none), none);
  }
  TFE_INLINE void Write(uint8_t* p, VF v) const {
    const __m128i words = _mm_packs_epi32((__m128i)Codes(v), _mm_setzero_si128());
    const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    __builtin_memcpy(p, &four, 4);
  }
#endif
  static TFE_INLINE VI LoadCodes(const uint8_t* p, VTail t) {
    uint8_t all[kLanes] = {};
    for (int i = 0, n = CountOf(t); i < n; ++i) all[i] = p[i];
    return LoadCodes(all);
  }
  TFE_INLINE void Write(uint8_t* p, VF v, VTail t) const {
    uint8_t all[kLanes];
    Write(all, v);
    for (int i = 0, n = CountOf(t); i < n; ++i) p[i] = all[i];
  }
#endif
  TFE_INLINE VF Read(const uint8_t* p, AllLanes) const { return Read(p); }
  TFE_INLINE VF Units(const uint8_t* p, AllLanes) const { return Units(p); }
  TFE_INLINE void Write(uint8_t* p, VF v, AllLanes) const { Write(p, v); }
};

}  // namespace tfengine::cpu::TFE_SIMD
