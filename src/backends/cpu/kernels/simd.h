// SPDX-License-Identifier: Apache-2.0
#pragma once

// One vector of floats for kernels that are written once and compiled for each instruction set (files ending in
// _avx512.cc, its extensions' _avx512vnni.cc, _avx512bf16.cc, _amxint8.cc and _amxbf16.cc, _avx2.cc, and one plain file). Everything lives in a
// namespace named after the instruction set, so that inline functions compiled for different sets are different symbols:
// the linker must never give a plain caller the AVX-512 copy. Kernels open the namespace themselves:
//   namespace tfengine::cpu::TFE_SIMD { ... }
// and, for the same reason, use no inline functions or templates of other headers (std:: included).

// GCC 12 warns about its own headers (bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

#if defined(__AMX_INT8__)
#define TFE_SIMD simd_amxint8
#elif defined(__AMX_BF16__)
#define TFE_SIMD simd_amxbf16
#elif defined(__AVX512BF16__)
#define TFE_SIMD simd_avx512bf16
#elif defined(__AVX512VNNI__)
#define TFE_SIMD simd_avx512vnni
#elif defined(__AVX512F__)
#define TFE_SIMD simd_avx512
#elif defined(__AVX2__)
#define TFE_SIMD simd_avx2
#else
#define TFE_SIMD simd_portable
#endif

#define TFE_INLINE inline __attribute__((always_inline))

namespace tfengine::cpu::TFE_SIMD {

#if defined(__AVX512F__)

inline constexpr int kLanes = 16;
inline constexpr int kRegisters = 32;
using VF = __m512;
using VI = __m512i;
using VMask = __mmask16;  // result of a comparison
using VTail = __mmask16;  // the first n lanes

TFE_INLINE VF Zero() { return _mm512_setzero_ps(); }
TFE_INLINE VF Set(float v) { return _mm512_set1_ps(v); }
TFE_INLINE VF Load(const float* p) { return _mm512_loadu_ps(p); }
TFE_INLINE void Store(float* p, VF v) { _mm512_storeu_ps(p, v); }
TFE_INLINE VTail Tail(int64_t n) { return static_cast<VTail>(n >= 16 ? 0xffff : (1u << n) - 1); }
// Lanes outside the tail are neither read (they become 0) nor written.
TFE_INLINE VF Load(const float* p, VTail t) { return _mm512_maskz_loadu_ps(t, p); }
TFE_INLINE void Store(float* p, VF v, VTail t) { _mm512_mask_storeu_ps(p, t, v); }
TFE_INLINE VF Add(VF a, VF b) { return _mm512_add_ps(a, b); }
TFE_INLINE VF Sub(VF a, VF b) { return _mm512_sub_ps(a, b); }
TFE_INLINE VF Mul(VF a, VF b) { return _mm512_mul_ps(a, b); }
TFE_INLINE VF Div(VF a, VF b) { return _mm512_div_ps(a, b); }
TFE_INLINE VF Sqrt(VF a) { return _mm512_sqrt_ps(a); }
TFE_INLINE VF Fma(VF a, VF b, VF c) { return _mm512_fmadd_ps(a, b, c); }    // a * b + c
TFE_INLINE VF Fnma(VF a, VF b, VF c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
// As the instruction: the second operand if either is NaN.
TFE_INLINE VF Min(VF a, VF b) { return _mm512_min_ps(a, b); }
TFE_INLINE VF Max(VF a, VF b) { return _mm512_max_ps(a, b); }
TFE_INLINE VF Abs(VF a) { return _mm512_abs_ps(a); }
TFE_INLINE VF CopySign(VF magnitude, VF sign) {
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN), _mm512_castps_si512(sign),
                                                       _mm512_castps_si512(magnitude), 0xCA));
}
TFE_INLINE VF RoundToNearest(VF a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
TFE_INLINE VF Floor(VF a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
TFE_INLINE VMask Less(VF a, VF b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
TFE_INLINE VMask IsNan(VF a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
TFE_INLINE VF Select(VMask m, VF yes, VF no) { return _mm512_mask_blend_ps(m, no, yes); }
TFE_INLINE VI ToInt(VF a) { return _mm512_cvtps_epi32(a); }
TFE_INLINE VF ToFloat(VI a) { return _mm512_cvtepi32_ps(a); }
TFE_INLINE VI Bits(VF a) { return _mm512_castps_si512(a); }
TFE_INLINE VF FromBits(VI a) { return _mm512_castsi512_ps(a); }
TFE_INLINE VI SetInt(int32_t v) { return _mm512_set1_epi32(v); }
TFE_INLINE VI Add(VI a, VI b) { return _mm512_add_epi32(a, b); }
TFE_INLINE VI Sub(VI a, VI b) { return _mm512_sub_epi32(a, b); }
TFE_INLINE VI And(VI a, VI b) { return _mm512_and_si512(a, b); }
template <int n> TFE_INLINE VI ShiftLeft(VI a) { return _mm512_slli_epi32(a, n); }
template <int n> TFE_INLINE VI ShiftRight(VI a) { return _mm512_srai_epi32(a, n); }
// lane i of the result is lane index[i] of a
TFE_INLINE VF Permute(VF a, VI index) { return _mm512_permutexvar_ps(index, a); }
TFE_INLINE VI LoadInt(const int32_t* p) { return _mm512_loadu_si512(p); }
TFE_INLINE float ReduceAdd(VF a) { return _mm512_reduce_add_ps(a); }
TFE_INLINE float ReduceMax(VF a) { return _mm512_reduce_max_ps(a); }

#elif defined(__AVX2__)

inline constexpr int kLanes = 8;
inline constexpr int kRegisters = 16;
using VF = __m256;
using VI = __m256i;
using VMask = __m256;
using VTail = __m256i;

TFE_INLINE VF Zero() { return _mm256_setzero_ps(); }
TFE_INLINE VF Set(float v) { return _mm256_set1_ps(v); }
TFE_INLINE VF Load(const float* p) { return _mm256_loadu_ps(p); }
TFE_INLINE void Store(float* p, VF v) { _mm256_storeu_ps(p, v); }
TFE_INLINE VTail Tail(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
TFE_INLINE VF Load(const float* p, VTail t) { return _mm256_maskload_ps(p, t); }
TFE_INLINE void Store(float* p, VF v, VTail t) { _mm256_maskstore_ps(p, t, v); }
TFE_INLINE VF Add(VF a, VF b) { return _mm256_add_ps(a, b); }
TFE_INLINE VF Sub(VF a, VF b) { return _mm256_sub_ps(a, b); }
TFE_INLINE VF Mul(VF a, VF b) { return _mm256_mul_ps(a, b); }
TFE_INLINE VF Div(VF a, VF b) { return _mm256_div_ps(a, b); }
TFE_INLINE VF Sqrt(VF a) { return _mm256_sqrt_ps(a); }
TFE_INLINE VF Fma(VF a, VF b, VF c) { return _mm256_fmadd_ps(a, b, c); }
TFE_INLINE VF Fnma(VF a, VF b, VF c) { return _mm256_fnmadd_ps(a, b, c); }
TFE_INLINE VF Min(VF a, VF b) { return _mm256_min_ps(a, b); }
TFE_INLINE VF Max(VF a, VF b) { return _mm256_max_ps(a, b); }
TFE_INLINE VF Abs(VF a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
TFE_INLINE VF CopySign(VF magnitude, VF sign) {
  const VF bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_and_ps(bit, sign), _mm256_andnot_ps(bit, magnitude));
}
TFE_INLINE VF RoundToNearest(VF a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
TFE_INLINE VF Floor(VF a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
TFE_INLINE VMask Less(VF a, VF b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
TFE_INLINE VMask IsNan(VF a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
TFE_INLINE VF Select(VMask m, VF yes, VF no) { return _mm256_blendv_ps(no, yes, m); }
TFE_INLINE VI ToInt(VF a) { return _mm256_cvtps_epi32(a); }
TFE_INLINE VF ToFloat(VI a) { return _mm256_cvtepi32_ps(a); }
TFE_INLINE VI Bits(VF a) { return _mm256_castps_si256(a); }
TFE_INLINE VF FromBits(VI a) { return _mm256_castsi256_ps(a); }
TFE_INLINE VI SetInt(int32_t v) { return _mm256_set1_epi32(v); }
TFE_INLINE VI Add(VI a, VI b) { return _mm256_add_epi32(a, b); }
TFE_INLINE VI Sub(VI a, VI b) { return _mm256_sub_epi32(a, b); }
TFE_INLINE VI And(VI a, VI b) { return _mm256_and_si256(a, b); }
template <int n> TFE_INLINE VI ShiftLeft(VI a) { return _mm256_slli_epi32(a, n); }
template <int n> TFE_INLINE VI ShiftRight(VI a) { return _mm256_srai_epi32(a, n); }
TFE_INLINE VF Permute(VF a, VI index) { return _mm256_permutevar8x32_ps(a, index); }
TFE_INLINE VI LoadInt(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
TFE_INLINE float ReduceAdd(VF a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
TFE_INLINE float ReduceMax(VF a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#else

// GCC/Clang vector extension; multiply-adds are rounded twice here.
inline constexpr int kLanes = 4;
inline constexpr int kRegisters = 16;
typedef float VF __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));
using VMask = VI;
using VTail = int;

TFE_INLINE VF Zero() { return VF{}; }
TFE_INLINE VF Set(float v) { return VF{v, v, v, v}; }
TFE_INLINE VF Load(const float* p) { VF v; __builtin_memcpy(&v, p, 16); return v; }
TFE_INLINE void Store(float* p, VF v) { __builtin_memcpy(p, &v, 16); }
TFE_INLINE VTail Tail(int64_t n) { return n >= 4 ? 4 : static_cast<int>(n); }
TFE_INLINE VF Load(const float* p, VTail t) {
  VF v{};
  for (int i = 0; i < t; ++i) v[i] = p[i];
  return v;
}
TFE_INLINE void Store(float* p, VF v, VTail t) {
  for (int i = 0; i < t; ++i) p[i] = v[i];
}
TFE_INLINE VF Add(VF a, VF b) { return a + b; }
TFE_INLINE VF Sub(VF a, VF b) { return a - b; }
TFE_INLINE VF Mul(VF a, VF b) { return a * b; }
TFE_INLINE VF Div(VF a, VF b) { return a / b; }
TFE_INLINE VF Sqrt(VF a) { return VF{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])}; }
TFE_INLINE VF Fma(VF a, VF b, VF c) { return a * b + c; }
TFE_INLINE VF Fnma(VF a, VF b, VF c) { return c - a * b; }
TFE_INLINE VF Select(VMask m, VF yes, VF no) { return m ? yes : no; }
TFE_INLINE VMask Less(VF a, VF b) { return a < b; }
TFE_INLINE VMask IsNan(VF a) { return a != a; }
TFE_INLINE VF Min(VF a, VF b) { return a < b ? a : b; }
TFE_INLINE VF Max(VF a, VF b) { return a > b ? a : b; }
TFE_INLINE VI Bits(VF a) { VI v; __builtin_memcpy(&v, &a, 16); return v; }
TFE_INLINE VF FromBits(VI a) { VF v; __builtin_memcpy(&v, &a, 16); return v; }
TFE_INLINE VI SetInt(int32_t v) { return VI{v, v, v, v}; }
TFE_INLINE VF Abs(VF a) { return FromBits(Bits(a) & SetInt(INT32_MAX)); }
TFE_INLINE VF CopySign(VF magnitude, VF sign) {
  return FromBits((Bits(magnitude) & SetInt(INT32_MAX)) | (Bits(sign) & SetInt(INT32_MIN)));
}
TFE_INLINE VI ToInt(VF a) {
  return (VI)_mm_cvtps_epi32(a);
}
TFE_INLINE VF ToFloat(VI a) { return __builtin_convertvector(a, VF); }
// Values of 2^23 and above are integers already; NaN fails the comparison and is kept.
TFE_INLINE VF RoundToNearest(VF a) {
  return Less(Abs(a), Set(8388608.0f)) ? CopySign(ToFloat(ToInt(a)), a) : a;
}
TFE_INLINE VF Floor(VF a) {
  VF r = RoundToNearest(a);
  return a < r ? r - 1.0f : r;
}
// Unsigned, so that they wrap.
typedef uint32_t VUnsigned __attribute__((vector_size(16)));
TFE_INLINE VI Add(VI a, VI b) { return VI(VUnsigned(a) + VUnsigned(b)); }
TFE_INLINE VI Sub(VI a, VI b) { return VI(VUnsigned(a) - VUnsigned(b)); }
TFE_INLINE VI And(VI a, VI b) { return a & b; }
template <int n> TFE_INLINE VI ShiftLeft(VI a) { return a << n; }
template <int n> TFE_INLINE VI ShiftRight(VI a) { return a >> n; }
TFE_INLINE VF Permute(VF a, VI index) { return VF{a[index[0]], a[index[1]], a[index[2]], a[index[3]]}; }
TFE_INLINE VI LoadInt(const int32_t* p) { VI v; __builtin_memcpy(&v, p, 16); return v; }
TFE_INLINE float ReduceAdd(VF a) { return (a[0] + a[2]) + (a[1] + a[3]); }
TFE_INLINE float ReduceMax(VF a) {
  float m = a[0];
  for (int i = 1; i < 4; ++i) m = a[i] > m ? a[i] : m;
  return m;
}

#endif

}  // namespace tfengine::cpu::TFE_SIMD
