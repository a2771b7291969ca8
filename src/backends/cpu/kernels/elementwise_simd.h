// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by elementwise_{portable,avx2,avx512}.cc: ElementwiseKernels in terms of simd.h.
#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/elementwise_kernels.h"

namespace tfengine::cpu::TFE_SIMD {

// --- unary: one struct per row of unary_list.inc; most are activations or functions of activation_simd.h ------------
#define TFE_UNARY_AS(name, expression) \
  struct Unary_##name {                \
    static TFE_INLINE VF Run(VF x, [[maybe_unused]] float alpha, [[maybe_unused]] float beta) { return expression; } \
  };
TFE_UNARY_AS(abs, Abs(x))
TFE_UNARY_AS(neg, Sub(Set(-0.0f), x))
TFE_UNARY_AS(exp, Exp(x))
TFE_UNARY_AS(expm1, Expm1(x))
TFE_UNARY_AS(log, Log(x))
TFE_UNARY_AS(sqrt, Sqrt(x))
TFE_UNARY_AS(rsqrt, Div(Set(1.0f), Sqrt(x)))
TFE_UNARY_AS(square, Mul(x, x))
TFE_UNARY_AS(reciprocal, Div(Set(1.0f), x))
TFE_UNARY_AS(tanh, Tanh(x))
TFE_UNARY_AS(sigmoid, Sigmoid(x))
TFE_UNARY_AS(erf, Erf(x))
TFE_UNARY_AS(erfc, Erfc(x))
TFE_UNARY_AS(relu, (Activate<ActivationKind::kRelu>(x, alpha, beta)))
TFE_UNARY_AS(relu6, (Activate<ActivationKind::kRelu6>(x, alpha, beta)))
TFE_UNARY_AS(leaky_relu, (Activate<ActivationKind::kLeakyRelu>(x, alpha, beta)))
TFE_UNARY_AS(elu, (Activate<ActivationKind::kElu>(x, alpha, beta)))
TFE_UNARY_AS(selu, (Activate<ActivationKind::kSelu>(x, alpha, beta)))
TFE_UNARY_AS(softplus, Softplus(x))
TFE_UNARY_AS(softsign, (Activate<ActivationKind::kSoftsign>(x, alpha, beta)))
TFE_UNARY_AS(silu, Silu(x))
TFE_UNARY_AS(gelu_erf, GeluErf(x))
TFE_UNARY_AS(gelu_tanh, GeluTanh(x))
TFE_UNARY_AS(hard_swish, (Activate<ActivationKind::kHardSwish>(x, alpha, beta)))
TFE_UNARY_AS(hard_sigmoid, Mul(Clip(Add(x, Set(3.0f)), 0.0f, 6.0f), Set(1.0f / 6)))
TFE_UNARY_AS(clip, (Activate<ActivationKind::kClip>(x, alpha, beta)))
TFE_UNARY_AS(floor, Floor(x))
TFE_UNARY_AS(ceil, Sub(Set(-0.0f), Floor(Sub(Set(-0.0f), x))))
TFE_UNARY_AS(round, RoundToNearest(x))
TFE_UNARY_AS(sign, Select(Less(Zero(), x), Set(1.0f), Select(Less(x, Zero()), Set(-1.0f), Add(x, Zero()))))
#undef TFE_UNARY_AS

template <typename F>
void RunUnary(const float* x, float* y, int64_t n, float alpha, float beta) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, F::Run(Load(x + i), alpha, beta));
  if (i < n) {
    const VTail tail = Tail(n - i);
    Store(y + i, F::Run(Load(x + i, tail), alpha, beta), tail);
  }
}

inline void RunIsNan(const float* x, bool* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] != x[i];
}
inline void RunIsInf(const float* x, bool* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = __builtin_fabsf(x[i]) > __FLT_MAX__;
}
inline void RunIsFinite(const float* x, bool* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = __builtin_fabsf(x[i]) <= __FLT_MAX__;
}

// --- binary -------------------------------------------------------------------------------------------------------
// A function applied lane by lane.
template <float (*kFunction)(float, float)>
TFE_INLINE VF PerLane(VF a, VF b) {
  alignas(64) float u[kLanes], v[kLanes];
  Store(u, a);
  Store(v, b);
  for (int i = 0; i < kLanes; ++i) u[i] = kFunction(u[i], v[i]);
  return Load(u);
}

// a, b: vectors. Min and Max of simd.h give the second operand if either is NaN; TensorFlow gives the NaN.
#define TFE_BINARY_AS(name, expression) \
  struct Binary_##name {                \
    static TFE_INLINE VF Run(VF a, VF b) { return expression; } \
  };
TFE_BINARY_AS(add, Add(a, b))
TFE_BINARY_AS(sub, Sub(a, b))
TFE_BINARY_AS(mul, Mul(a, b))
TFE_BINARY_AS(div, Div(a, b))
TFE_BINARY_AS(floor_div, Floor(Div(a, b)))
TFE_BINARY_AS(floor_mod, PerLane<LibmFloorMod>(a, b))
TFE_BINARY_AS(truncate_mod, PerLane<LibmTruncateMod>(a, b))
TFE_BINARY_AS(div_no_nan, Select(Less(Zero(), Abs(b)), Div(a, b), Select(IsNan(b), b, Zero())))
TFE_BINARY_AS(mul_no_nan, Select(Less(Zero(), Abs(b)), Mul(a, b), Select(IsNan(b), b, Zero())))
TFE_BINARY_AS(pow, PerLane<LibmPow>(a, b))
TFE_BINARY_AS(min, Select(IsNan(a), a, Min(a, b)))
TFE_BINARY_AS(max, Select(IsNan(a), a, Max(a, b)))
TFE_BINARY_AS(squared_difference, Mul(Sub(a, b), Sub(a, b)))
TFE_BINARY_AS(atan2, PerLane<LibmAtan2>(a, b))
#undef TFE_BINARY_AS

template <typename F>
void RunBinary(const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* y, int64_t n) {
  const int64_t whole = n / kLanes * kLanes;
  const VTail tail = Tail(n - whole);
  if (n == 0) return;
  if (a_stride == 1 && b_stride == 1) {
    for (int64_t i = 0; i < whole; i += kLanes) Store(y + i, F::Run(Load(a + i), Load(b + i)));
    if (whole < n) Store(y + whole, F::Run(Load(a + whole, tail), Load(b + whole, tail)), tail);
  } else if (a_stride == 1) {
    const VF bv = Set(*b);
    for (int64_t i = 0; i < whole; i += kLanes) Store(y + i, F::Run(Load(a + i), bv));
    if (whole < n) Store(y + whole, F::Run(Load(a + whole, tail), bv), tail);
  } else if (b_stride == 1) {
    const VF av = Set(*a);
    for (int64_t i = 0; i < whole; i += kLanes) Store(y + i, F::Run(av, Load(b + i)));
    if (whole < n) Store(y + whole, F::Run(av, Load(b + whole, tail)), tail);
  } else {
    const VF value = F::Run(Set(*a), Set(*b));
    for (int64_t i = 0; i < whole; i += kLanes) Store(y + i, value);
    if (whole < n) Store(y + whole, value, tail);
  }
}

// pow with one of the exponents that models use, else libm.
inline void RunPow(const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* y, int64_t n) {
  struct Cube {
    static TFE_INLINE VF Run(VF x, float, float) { return Mul(Mul(x, x), x); }
  };
  if (b_stride == 0 && a_stride == 1 && n > 0) {
    if (*b == 2.0f) return RunUnary<Unary_square>(a, y, n, 0, 0);
    if (*b == 3.0f) return RunUnary<Cube>(a, y, n, 0, 0);
    if (*b == -1.0f) return RunUnary<Unary_reciprocal>(a, y, n, 0, 0);
  }
  RunBinary<Binary_pow>(a, a_stride, b, b_stride, y, n);
}

// Plain loops: the compiler vectorises them.
#define TFE_COMPARE_AS(name, op)                                                                                       \
  inline void Run_##name(const float* a, int64_t a_stride, const float* b, int64_t b_stride, bool* y, int64_t n) {     \
    if (a_stride == 1 && b_stride == 1) {                                                                              \
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] op b[i];                                                             \
    } else if (a_stride == 1) {                                                                                        \
      const float value = n > 0 ? *b : 0;                                                                              \
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] op value;                                                            \
    } else {                                                                                                           \
      const float value = n > 0 ? *a : 0;                                                                              \
      for (int64_t i = 0; i < n; ++i) y[i] = value op b[i * b_stride];                                                 \
    }                                                                                                                  \
  }
TFE_COMPARE_AS(equal, ==)
TFE_COMPARE_AS(not_equal, !=)
TFE_COMPARE_AS(less, <)
TFE_COMPARE_AS(less_equal, <=)
TFE_COMPARE_AS(greater, >)
TFE_COMPARE_AS(greater_equal, >=)
#undef TFE_COMPARE_AS

#define TFE_FORM_vector(name) RunUnary<Unary_##name>
#define TFE_FORM_libm(name) nullptr
constexpr ElementwiseKernels MakeElementwiseKernels() {
  ElementwiseKernels kernels = {
      {
#define TFE_UNARY(name, form) TFE_FORM_##form(name),
#include "backends/cpu/kernels/unary_list.inc"
#undef TFE_UNARY
      },
      {RunIsNan, RunIsInf, RunIsFinite},
      {
#define TFE_BINARY(name) RunBinary<Binary_##name>,
#include "backends/cpu/kernels/binary_list.inc"
#undef TFE_BINARY
      },
      {Run_equal, Run_not_equal, Run_less, Run_less_equal, Run_greater, Run_greater_equal},
      ActivateRange};
  kernels.binary[static_cast<int>(BinaryOp::k_pow)] = RunPow;
  return kernels;
}
#undef TFE_FORM_vector
#undef TFE_FORM_libm

}  // namespace tfengine::cpu::TFE_SIMD
