// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/simd.h"

// Vector forms of the elementary functions and activations; see simd.h for the rules of this namespace. Errors are at
// most 5 ulp (with FMA) unless a function says otherwise. NaN in gives NaN out; infinities give the limit.
namespace tfengine::cpu::TFE_SIMD {

// coefficients[0] * x^(n-1) + ... + coefficients[n-1]
template <int n>
TFE_INLINE VF Polynomial(VF x, const float (&coefficients)[n]) {
  VF sum = Set(coefficients[0]);
#pragma GCC unroll 16
  for (int i = 1; i < n; ++i) sum = Fma(sum, x, Set(coefficients[i]));
  return sum;
}

// x * 2^n for integral n in [-300, 300], gradual underflow included.
TFE_INLINE VF ScaleByPowerOfTwo(VF x, VF n) {
#if defined(__AVX512F__)
  return _mm512_scalef_ps(x, n);
#else
  // In two steps, as 2^n itself may be out of range.
  VI whole = ToInt(n);
  VI half = ShiftRight<1>(whole);
  VF first = FromBits(ShiftLeft<23>(Add(half, SetInt(127))));
  VF second = FromBits(ShiftLeft<23>(Add(Sub(whole, half), SetInt(127))));
  return Mul(Mul(x, first), second);
#endif
}

TFE_INLINE VF Exp(VF x) {
  x = Max(Set(-104.0f), Min(Set(89.0f), x));
  VF n = RoundToNearest(Mul(x, Set(1.44269504088896341f)));
  VF r = Fnma(n, Set(0.693359375f), x);
  r = Fnma(n, Set(-2.12194440e-4f), r);
  VF p = Polynomial(r, {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f});
  return ScaleByPowerOfTwo(Add(Fma(p, Mul(r, r), r), Set(1.0f)), n);
}

// exp(x) - 1 without cancellation near zero.
TFE_INLINE VF Expm1(VF x) {
  VF p = Polynomial(x, {1.9849808e-4f, 1.3996178e-3f, 8.3335791e-3f, 4.1665359e-2f, 1.6666664e-1f, 5.0000004e-1f});
  VF small = Fma(p, Mul(x, x), x);
  return Select(Less(Abs(x), Set(0.5f)), small, Sub(Exp(x), Set(1.0f)));
}

TFE_INLINE VF Log(VF x) {
  const VMask tiny = Less(x, Set(1.17549435e-38f));
  VF scaled = Select(tiny, Mul(x, Set(8388608.0f)), x);
  // Mantissa in [sqrt(1/2), sqrt(2)).
  VI bits = Sub(Bits(scaled), SetInt(0x3f3504f3));
  VF e = ToFloat(ShiftRight<23>(bits));
  VF m = FromBits(Add(And(bits, SetInt(0x007fffff)), SetInt(0x3f3504f3)));
  e = Select(tiny, Sub(e, Set(23.0f)), e);
  VF f = Sub(m, Set(1.0f));
  VF f2 = Mul(f, f);
  VF p = Polynomial(f, {7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                        -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f});
  VF y = Mul(Mul(p, f), f2);
  y = Fma(e, Set(-2.12194440e-4f), y);
  y = Fma(f2, Set(-0.5f), y);
  y = Fma(e, Set(0.693359375f), Add(f, y));
  const VF infinity = Set(__builtin_inff());
  y = Select(Less(x, infinity), y, x);  // infinity and NaN
  y = Select(Less(Zero(), x), y, Select(Less(x, Zero()), Set(__builtin_nanf("")), Select(Less(Abs(x), Set(1.0f)), Sub(Zero(), infinity), x)));
  return y;
}

// log(1 + x): the rounding error of 1 + x is divided out.
TFE_INLINE VF Log1p(VF x) {
  VF u = Add(Set(1.0f), x);
  VF d = Sub(u, Set(1.0f));
  VF y = Mul(Log(u), Div(x, d));
  y = Select(Less(Abs(x), Set(1e-7f)), x, y);
  return Select(Less(x, Set(3e38f)), y, Log(u));
}

// exp(z^2) * erfc(z) for z in [0, 10.1].
TFE_INLINE VF ScaledErfc(VF z) {
  VF t = Div(Set(1.0f), Fma(z, Set(0.3f), Set(1.0f)));
  VF p = Polynomial(t, {-0.12953293680537514f, 0.4856159198145471f, -0.5123968010274264f, 0.5478694938350018f,
                        -0.09476561105094457f, 0.21498117479451043f, 0.14832307824256538f, 0.17071783725422857f,
                        0.1691878253453714f});
  return Mul(p, t);
}

// exp(-scale * a * a) with the square's rounding error put back.
TFE_INLINE VF ExpMinusSquare(VF a, float scale) {
  VF b = Mul(a, Set(scale));
  VF square = Mul(a, b);
  VF error = Sub(Zero(), Fnma(a, b, square));
  VF e = Exp(Sub(Zero(), square));
  return Fnma(e, error, e);
}

TFE_INLINE VF ErfcOfPositive(VF x) {
  VF z = Min(Set(10.1f), x);
  return Mul(ExpMinusSquare(z, 1.0f), ScaledErfc(z));
}

TFE_INLINE VF Erf(VF x) {
  VF z = Mul(x, x);
  VF p = Polynomial(z, {7.853847846346629e-05f, -0.0008010189522702771f, 0.00518832721096929f, -0.026853811675041334f,
                        0.11283585141815453f, -0.3761262582349645f, 1.1283791657264957f});
  VF a = Abs(x);
  return Select(Less(a, Set(1.0f)), Mul(x, p), CopySign(Sub(Set(1.0f), ErfcOfPositive(a)), x));
}

TFE_INLINE VF Erfc(VF x) {
  VF tail = ErfcOfPositive(Abs(x));
  return Select(Less(x, Zero()), Sub(Set(2.0f), tail), tail);
}

TFE_INLINE VF Sigmoid(VF x) {
  VF e = Exp(Sub(Zero(), Abs(x)));
  VF inverse = Div(Set(1.0f), Add(Set(1.0f), e));
  return Select(Less(x, Zero()), Mul(e, inverse), inverse);
}

TFE_INLINE VF Tanh(VF x) {
  VF z = Mul(x, x);
  VF p = Polynomial(z, {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f});
  VF small = Fma(Mul(p, z), x, x);
  VF a = Abs(x);
  VF e = Exp(Add(a, a));
  VF large = CopySign(Sub(Set(1.0f), Div(Set(2.0f), Add(e, Set(1.0f)))), x);
  return Select(Less(a, Set(0.625f)), small, large);
}

TFE_INLINE VF Silu(VF x) { return Mul(x, Sigmoid(x)); }

TFE_INLINE VF GeluErf(VF x) {
  VF a = Min(Set(14.2f), Abs(x));
  VF half = Mul(Mul(Set(0.5f), ExpMinusSquare(a, 0.5f)), ScaledErfc(Mul(a, Set(0.70710678118654752f))));
  return Mul(x, Select(Less(x, Zero()), half, Sub(Set(1.0f), half)));
}

// Relative error grows with |x| in the negative tail, where the result is tiny.
TFE_INLINE VF GeluTanh(VF x) {
  VF cube = Mul(Mul(x, x), x);
  VF u = Mul(Fma(cube, Set(0.044715f), x), Set(1.5957691216057308f));
  return Mul(x, Sigmoid(u));
}

TFE_INLINE VF Softplus(VF x) { return Add(Max(Zero(), x), Log1p(Exp(Sub(Zero(), Abs(x))))); }

TFE_INLINE VF Mish(VF x) {
  VF e = Exp(Min(Set(20.0f), x));
  VF n = Mul(e, Add(e, Set(2.0f)));
  return Mul(x, Div(n, Add(n, Set(2.0f))));
}

TFE_INLINE VF Clip(VF x, float low, float high) { return Min(Set(high), Max(Set(low), x)); }

// The bounds of an activation that is a clip (none: infinite), else false.
TFE_INLINE bool IsClip(const Activation& a, float* low, float* high) {
  *low = -__builtin_inff();
  *high = __builtin_inff();
  switch (a.kind) {
    case ActivationKind::kNone: return true;
    case ActivationKind::kRelu: *low = 0; return true;
    case ActivationKind::kRelu6: *low = 0; *high = 6; return true;
    case ActivationKind::kClip: *low = a.alpha; *high = a.beta; return true;
    default: return false;
  }
}

// One vector through an activation known at compile time.
template <ActivationKind kind>
TFE_INLINE VF Activate(VF x, float alpha, float beta) {
  using K = ActivationKind;
  if constexpr (kind == K::kRelu) return Max(Zero(), x);
  if constexpr (kind == K::kRelu6) return Clip(x, 0.0f, 6.0f);
  if constexpr (kind == K::kClip) return Clip(x, alpha, beta);
  if constexpr (kind == K::kLeakyRelu) return Select(Less(x, Zero()), Mul(Set(alpha), x), x);
  if constexpr (kind == K::kElu) return Select(Less(x, Zero()), Mul(Set(alpha), Expm1(x)), x);
  if constexpr (kind == K::kSelu) {
    return Mul(Set(1.05070098735548049f), Select(Less(x, Zero()), Mul(Set(1.67326324235437728f), Expm1(x)), x));
  }
  if constexpr (kind == K::kSigmoid) return Sigmoid(x);
  if constexpr (kind == K::kTanh) return Tanh(x);
  if constexpr (kind == K::kSilu) return Silu(x);
  if constexpr (kind == K::kGeluErf) return GeluErf(x);
  if constexpr (kind == K::kGeluTanh) return GeluTanh(x);
  if constexpr (kind == K::kHardSigmoid) return Clip(Fma(x, Set(alpha), Set(beta)), 0.0f, 1.0f);
  if constexpr (kind == K::kHardSwish) {
    return Mul(x, Mul(Clip(Add(x, Set(3.0f)), 0.0f, 6.0f), Set(1.0f / 6)));
  }
  if constexpr (kind == K::kSoftplus) return Softplus(x);
  if constexpr (kind == K::kSoftsign) return Div(x, Add(Set(1.0f), Abs(x)));
  if constexpr (kind == K::kMish) return Mish(x);
  return x;
}

template <ActivationKind kind>
TFE_INLINE void ActivateRange(const float* x, float* y, int64_t n, float alpha, float beta) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Activate<kind>(Load(x + i), alpha, beta));
  if (i < n) {
    const VTail tail = Tail(n - i);
    Store(y + i, Activate<kind>(Load(x + i, tail), alpha, beta), tail);
  }
}

// y[i] = activation(x[i]); x may be y. One copy per instruction set: call it from many places.
inline __attribute__((noinline)) void ActivateRange(const Activation& a, const float* x, float* y, int64_t n) {
  switch (a.kind) {
#define TFE_CASE(kind) \
  case ActivationKind::kind: return ActivateRange<ActivationKind::kind>(x, y, n, a.alpha, a.beta);
    TFE_CASE(kNone)
    TFE_CASE(kRelu)
    TFE_CASE(kRelu6)
    TFE_CASE(kClip)
    TFE_CASE(kLeakyRelu)
    TFE_CASE(kElu)
    TFE_CASE(kSelu)
    TFE_CASE(kSigmoid)
    TFE_CASE(kTanh)
    TFE_CASE(kSilu)
    TFE_CASE(kGeluErf)
    TFE_CASE(kGeluTanh)
    TFE_CASE(kHardSigmoid)
    TFE_CASE(kHardSwish)
    TFE_CASE(kSoftplus)
    TFE_CASE(kSoftsign)
    TFE_CASE(kMish)
#undef TFE_CASE
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
