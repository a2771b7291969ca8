// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by cast.cc and cast_{avx2,avx512}.cc; the namespace and its rules are those of simd.h.
#include "backends/cpu/kernels/simd.h"

namespace tfengine::cpu {

using CastLoop = void (*)(const void* x, void* y, int64_t n);

// Loops between the types that models convert most; null: use the portable table.
struct CastKernels {
  static constexpr int kTypes = 7;
  CastLoop loop[kTypes][kTypes];
};
extern const CastKernels kCastAvx2;
extern const CastKernels kCastAvx512;

}  // namespace tfengine::cpu

namespace tfengine::cpu::TFE_SIMD {

struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

TFE_INLINE uint32_t BitsOf(float v) { return __builtin_bit_cast(uint32_t, v); }
TFE_INLINE float FloatOf(uint32_t v) { return __builtin_bit_cast(float, v); }

TFE_INLINE float FromHalf(Half h) {
#if defined(__F16C__)
  return _cvtsh_ss(h.bits);
#else
  const uint32_t sign = static_cast<uint32_t>(h.bits & 0x8000) << 16, rest = h.bits & 0x7fff;
  if (rest >= 0x7c00) return FloatOf(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  // A power of two moves the exponent; the multiplication is exact and normalises subnormal numbers.
  return FloatOf(BitsOf(FloatOf(rest << 13) * 0x1p112f) | sign);
#endif
}

TFE_INLINE Half ToHalf(float v) {
#if defined(__F16C__)
  return {_cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
#else
  const uint32_t bits = BitsOf(v), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return {static_cast<uint16_t>(sign | 0x7e00 | (rest >> 13 & 0x3ff))};
  if (rest >= 0x477ff000) return {static_cast<uint16_t>(sign | 0x7c00)};
  if (rest < 0x38800000) {
    // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    return {static_cast<uint16_t>(sign | (BitsOf(FloatOf(rest) + 0.5f) - 0x3f000000))};
  }
  return {static_cast<uint16_t>(sign | ((rest + 0xfff + (rest >> 13 & 1)) - 0x38000000) >> 13)};
#endif
}

TFE_INLINE float FromBrain(Brain b) { return FloatOf(static_cast<uint32_t>(b.bits) << 16); }
TFE_INLINE Brain ToBrain(float v) {
  const uint32_t bits = BitsOf(v);
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  const uint32_t nan = (bits >> 16 & 0x8000) | 0x7fc0;
  return {static_cast<uint16_t>(v != v ? nan : rounded >> 16)};
}

template <typename A, typename B>
inline constexpr bool kSame = false;
template <typename A>
inline constexpr bool kSame<A, A> = true;
template <typename T>
inline constexpr bool kIsFloat = kSame<T, float> || kSame<T, double>;

// What the conversion instructions of x86 give: the smallest integer for NaN and whatever does not fit.
template <typename From>
TFE_INLINE int32_t TruncateTo32(From v) {
  return v >= From(-2147483648.0) && v < From(2147483648.0) ? static_cast<int32_t>(v) : INT32_MIN;
}
template <typename From>
TFE_INLINE int64_t TruncateTo64(From v) {
  return v >= From(-9223372036854775808.0) && v < From(9223372036854775808.0) ? static_cast<int64_t>(v) : INT64_MIN;
}

template <typename From, typename To>
TFE_INLINE To Convert(From v) {
  if constexpr (kSame<From, To>) {
    return v;
  } else if constexpr (kSame<From, Half>) {
    return Convert<float, To>(FromHalf(v));
  } else if constexpr (kSame<From, Brain>) {
    return Convert<float, To>(FromBrain(v));
  } else if constexpr (kSame<To, Half>) {
    return ToHalf(Convert<From, float>(v));
  } else if constexpr (kSame<To, Brain>) {
    return ToBrain(Convert<From, float>(v));
  } else if constexpr (kSame<To, bool>) {
    return v != From(0);
  } else if constexpr (kIsFloat<From> && !kIsFloat<To>) {
    // As compilers convert for x86: narrow integers through 32 bits, uint32 through 64.
    if constexpr (sizeof(To) < 4 || kSame<To, int32_t>) {
      return static_cast<To>(TruncateTo32(v));
    } else if constexpr (kSame<To, uint64_t>) {
      // Without a branch, as clang does it; decides what NaN and infinity become.
      const int64_t low = TruncateTo64(v), high = TruncateTo64(v - From(9223372036854775808.0));
      return static_cast<uint64_t>((low >> 63 & high) | low);
    } else {
      return static_cast<To>(TruncateTo64(v));
    }
  } else {
    return static_cast<To>(v);
  }
}

template <typename From, typename To>
void CastRange(const void* x, void* y, int64_t n) {
  const From* from = static_cast<const From*>(x);
  To* to = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i) to[i] = Convert<From, To>(from[i]);
}

template <typename... Types>
struct CastTypes {
  template <typename From>
  static constexpr void FillRow(CastLoop* row) {
    int i = 0;
    ((row[i++] = CastRange<From, Types>), ...);
  }
  static constexpr CastKernels Make() {
    CastKernels kernels = {};
    int i = 0;
    (FillRow<Types>(kernels.loop[i++]), ...);
    return kernels;
  }
};
// In the order of HotIndex in cast.cc.
using HotTypes = CastTypes<float, int32_t, int64_t, uint8_t, bool, Half, Brain>;

}  // namespace tfengine::cpu::TFE_SIMD
