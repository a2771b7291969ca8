// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen.h"

namespace tfengine::cuda {

const std::string& Prelude() {
  // No header of the toolkit is included: NVRTC alone must do. Conversions that need rounding are single instructions.
  static const std::string kPrelude = R"cuda(
typedef unsigned char u8; typedef unsigned short u16; typedef long long i64; typedef unsigned long long u64;
struct f16 { u16 b; };
struct bf16 { u16 b; };
struct f8 { u8 b; };
template <class T, int V> struct alignas(sizeof(T) * V > 16 ? 16 : sizeof(T) * V) vec { T v[V]; };
__forceinline__ float up(f16 h) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.b)); return f; }
__forceinline__ float up(bf16 h) { return __uint_as_float((unsigned)h.b << 16); }
__forceinline__ f16 to_f16(float f) { f16 h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.b) : "f"(f)); return h; }
__forceinline__ bf16 to_bf16(float f) {
  bf16 h;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h.b) : "f"(f));
#else
  unsigned u = __float_as_uint(f);
  h.b = f != f ? 0x7fff : (u + 0x7fff + ((u >> 16) & 1)) >> 16;
#endif
  return h;
}
// E4M3, which has no infinities.
__forceinline__ float up(f8 h) {
  f16 wide;
#if __CUDA_ARCH__ >= 890
  unsigned pair;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"((u16)h.b));
  wide.b = (u16)pair;
  return up(wide);
#else
  if ((h.b & 127) == 127) return __uint_as_float(0x7fffffffu);
  wide.b = (h.b & 128) << 8 | (h.b & 127) << 7;  // a 256th of it
  return up(wide) * 256.0f;
#endif
}
__forceinline__ f8 to_f8(float x) {
  f8 h;
#if __CUDA_ARCH__ >= 890
  u16 pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %2, %1;" : "=h"(pair) : "f"(x), "f"(0.0f));
  h.b = (u8)pair;
#else
  const unsigned u = __float_as_uint(x);
  const float v = fabsf(x);
  unsigned code = v >= 448.0f ? 126 : v < 0.015625f ? (unsigned)rintf(v * 512.0f) : (((u & 0x7fffffff) + 0x7ffff + (u >> 20 & 1)) >> 20) - 960;
  h.b = (u8)(x != x ? 127 : (u >> 24 & 128) | code);
#endif
  return h;
}
__forceinline__ u8 to_code(float x, float scale, int zero, int lo, int hi) {
  if (x != x) return zero;
  float c = rintf(__fdiv_rn(x, scale)) + zero;
  return (u8)(int)fminf(fmaxf(c, (float)lo), (float)hi);
}
// What x86 makes of a double: numbers that do not fit give the lowest.
__forceinline__ i64 to_i64(double v) { return v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? (i64)v : (i64)0x8000000000000000ull; }
__forceinline__ int to_i32(double v) { return v > -2147483649.0 && v < 2147483648.0 ? (int)v : (int)0x80000000u; }
__forceinline__ u64 to_u64(double v) { i64 low = to_i64(v); return (u64)(low < 0 ? low | to_i64(v - 9223372036854775808.0) : low); }
// Waits until the kernel in front has ended, and lets the one behind start up.
__forceinline__ void after_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__forceinline__ void fail(int* error, int code) { *(volatile int*)error = code; }
template <class W> __forceinline__ W add(W a, W b) { return a + b; }
template <class W> __forceinline__ W mul(W a, W b) { return a * b; }
template <> __forceinline__ i64 add(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
template <> __forceinline__ i64 mul(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }
template <class W> __forceinline__ W clip(W x, W lo, W hi) { W y = x < lo ? lo : x; return y > hi ? hi : y; }
template <class W> __forceinline__ W sigmoid(W x) { W e = exp(-fabs(x)); return (x < 0 ? e : W(1)) / (1 + e); }
// Good to 1.2e-7 of its value, for results that are kept in 16 bits (Press et al., Numerical Recipes, erfcc).
__forceinline__ float erfc_16(float x) {
  const float z = fabsf(x), t = __fdividef(1.0f, fmaf(0.5f, z, 1.0f));
  float p = 0.17087277f;
  p = fmaf(p, t, -0.82215223f); p = fmaf(p, t, 1.48851587f); p = fmaf(p, t, -1.13520398f); p = fmaf(p, t, 0.27886807f);
  p = fmaf(p, t, -0.18628806f); p = fmaf(p, t, 0.09678418f); p = fmaf(p, t, 0.37409196f); p = fmaf(p, t, 1.00002368f);
  const float r = t * __expf(fmaf(-z, z, fmaf(p, t, -1.26551223f)));
  return x >= 0 ? r : 2 - r;
}
// max(x, 0) - a * 2^P(a) with a = |x|: P is fitted to the logarithm of the normal distribution's upper tail. Off by a third of what
// rounding to f16 takes at most, and as little of bf16 down to -8. One special function; -inf gives 0.
__forceinline__ float gelu_16(float x) {
  const float a = fminf(fabsf(x), 16.0f);
  float p = 1.7250068e-05f, e, positive;
  p = fmaf(p, a, -5.1638100e-04f); p = fmaf(p, a, 6.6285403e-03f); p = fmaf(p, a, -4.9688090e-02f);
  p = fmaf(p, a, -4.6290988e-01f); p = fmaf(p, a, -1.1497020f); p = fmaf(p, a, -1.0f);
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(p));
#if __CUDA_ARCH__ >= 800
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(positive) : "f"(x));
#else
  positive = x < 0 ? 0 : x;
#endif
  return fmaf(-a, e, positive);
}
template <class W> __forceinline__ W floor_mod(W x, W y) { W r = fmod(x, y); return r != 0 && (r < 0) != (y < 0) ? r + y : r; }
template <class W> __forceinline__ W nan_min(W x, W y) { return x != x || y != y ? x + y : (y < x ? y : x); }
template <class W> __forceinline__ W nan_max(W x, W y) { return x != x || y != y ? x + y : (x < y ? y : x); }
template <class W> __forceinline__ W int_power(W x, W e) {
  W r = 1;
  for (u64 n = (u64)e; n > 0; n >>= 1) { if (n & 1) r = mul(r, x); x = mul(x, x); }
  return r;
}
template <class W> __forceinline__ W int_div(W x, W y) { return y == (W)-1 && (W)-1 < 0 ? (W)(0 - (u64)x) : x / y; }
template <class W> __forceinline__ W int_rem(W x, W y) { return y == (W)-1 && (W)-1 < 0 ? 0 : x % y; }
)cuda";
  return kPrelude;
}

}  // namespace tfengine::cuda
