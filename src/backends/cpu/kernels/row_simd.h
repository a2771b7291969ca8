// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by row_{portable,avx2,avx512}.cc: RowKernels in terms of simd.h.
#include "backends/cpu/kernels/activation_simd.h"
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
template <typename F>
float ReduceRow(const float* x, int64_t n) {
  const VF identity = Set(F::kIdentity);
  VF part[4] = {identity, identity, identity, identity};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) part[k] = F::Run(part[k], Load(x + i + k * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) part[0] = F::Run(part[0], Load(x + i));
  float result = FoldLanes<F>(F::Run(F::Run(part[0], part[1]), F::Run(part[2], part[3])));
  for (; i < n; ++i) result = F::Run(result, x[i]);
  return result;
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

template <typename F>
void FoldRows(const float* const* rows, int64_t count, float* y, int64_t n) {
  const VF identity = Set(F::kIdentity);
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    VF part[4] = {identity, identity, identity, identity};
    for (int64_t r = 0; r < count; ++r) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) part[k] = F::Run(part[k], Load(rows[r] + i + k * kLanes));
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) Store(y + i + k * kLanes, part[k]);
  }
  for (; i < n; i += kLanes) {
    const VTail tail = Tail(n - i);
    VF part = identity;
    for (int64_t r = 0; r < count; ++r) part = F::Run(part, Load(rows[r] + i, tail));
    Store(y + i, part, tail);
  }
}

// y = exp(x - max), summed; NaN anywhere makes the sum NaN.
TFE_INLINE float ExpOfRow(const float* x, float max, float* y, int64_t n) {
  const VF shift = Set(max);
  VF sum0 = Zero(), sum1 = Zero();
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const VF e0 = Exp(Sub(Load(x + i), shift)), e1 = Exp(Sub(Load(x + i + kLanes), shift));
    sum0 = Add(sum0, e0);
    sum1 = Add(sum1, e1);
    if (y) {
      Store(y + i, e0);
      Store(y + i + kLanes, e1);
    }
  }
  float rest = 0;
  for (; i < n; i += kLanes) {
    const VTail tail = Tail(n - i);
    alignas(64) float lanes[kLanes];
    const VF e = Exp(Sub(Load(x + i, tail), shift));
    Store(lanes, e);
    for (int k = 0; k < kLanes && k < n - i; ++k) rest += lanes[k];
    if (y) Store(y + i, e, tail);
  }
  return ReduceAdd(Add(sum0, sum1)) + rest;
}

inline void SoftmaxRow(const float* x, float* y, int64_t n) {
  const float max = ReduceRow<FoldMax>(x, n);
  const VF scale = Set(1.0f / ExpOfRow(x, max, y, n));
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Mul(Load(y + i), scale));
  if (i < n) Store(y + i, Mul(Load(y + i, Tail(n - i)), scale), Tail(n - i));
}

inline void LogSoftmaxRow(const float* x, float* y, int64_t n) {
  const float max = ReduceRow<FoldMax>(x, n);
  alignas(64) float log_sum[kLanes];
  Store(log_sum, Log(Set(ExpOfRow(x, max, nullptr, n))));
  const VF shift = Set(max), less = Set(log_sum[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Sub(Sub(Load(x + i), shift), less));
  if (i < n) Store(y + i, Sub(Sub(Load(x + i, Tail(n - i)), shift), less), Tail(n - i));
}

inline void ScaleRow(const float* x, float scale, float* y, int64_t n) {
  const VF factor = Set(scale);
  for (int64_t i = 0; i < n; i += kLanes) {
    const VTail tail = Tail(n - i);
    Store(y + i, Mul(Load(x + i, tail), factor), tail);
  }
}

inline void MaskRow(const bool* mask, float yes, float no, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = mask[i] ? yes : no;
}

TFE_INLINE VF MaskedScore(const SoftmaxStep& step, int64_t i, VTail tail) {
  VF v = Mul(Load(step.scores + i, tail), Set(step.scale));
  if (step.add) v = Add(v, Load(step.add + i, tail));
  if (step.keep) v = Select(Less(Zero(), Load(step.keep + i, tail)), v, Set(step.masked));
  return v;
}

inline void SoftmaxStepRow(SoftmaxStep& step) {
  const int64_t n = step.n, whole = n / kLanes * kLanes;
  VF best = Set(step.max);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const VF v = MaskedScore(step, i, Tail(kLanes));
    Store(step.scores + i, v);
    best = FoldMax::Run(best, v);
  }
  float max = FoldLanes<FoldMax>(best);
  if (whole < n) {
    Store(step.scores + whole, MaskedScore(step, whole, Tail(n - whole)), Tail(n - whole));
    for (int64_t i = whole; i < n; ++i) max = FoldMax::Run(max, step.scores[i]);
  }
  // With only -inf so far every exponential is 0, not that of inf - inf.
  const float shift = max == -__builtin_inff() ? 0 : max;
  const float sum = ExpOfRow(step.scores, shift, step.scores, n);
  alignas(64) float correction[kLanes];
  Store(correction, Exp(Set(step.max - shift)));
  step.correction = correction[0];
  step.sum = step.sum * step.correction + sum;
  step.max = max;
}

inline void LayerNormRow(const LayerNormArgs& row) {
  const int64_t n = row.cols;
  const float* v = row.x;
  if (row.residual || row.sum) {
    float* to = row.sum ? row.sum : row.y;
    for (int64_t i = 0; i < n; i += kLanes) {
      const VTail tail = Tail(n - i);
      VF sum = Load(row.x + i, tail);
      if (row.residual) sum = Add(sum, Load(row.residual + i, tail));
      Store(to + i, sum, tail);
    }
    v = to;
  }
  // The rounding error of the mean is found again as the mean of the differences.
  const VF mean = Set(ReduceRow<FoldSum>(v, n) / static_cast<float>(n));
  VF square0 = Zero(), square1 = Zero(), rest0 = Zero(), rest1 = Zero();
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const VF d0 = Sub(Load(v + i), mean), d1 = Sub(Load(v + i + kLanes), mean);
    square0 = Fma(d0, d0, square0);
    square1 = Fma(d1, d1, square1);
    rest0 = Add(rest0, d0);
    rest1 = Add(rest1, d1);
  }
  float squares = ReduceAdd(Add(square0, square1)), rest = ReduceAdd(Add(rest0, rest1));
  for (; i < n; i += kLanes) {
    alignas(64) float d[kLanes];
    Store(d, Sub(Load(v + i, Tail(n - i)), mean));
    for (int k = 0; k < kLanes && k < n - i; ++k) {
      squares += d[k] * d[k];
      rest += d[k];
    }
  }
  rest /= static_cast<float>(n);
  float variance = squares / static_cast<float>(n) - rest * rest;
  if (variance < 0) variance = 0;
  const VF scale = Set(1.0f / __builtin_sqrtf(variance + row.epsilon)), correction = Set(rest);
  for (i = 0; i < n; i += kLanes) {
    const VTail tail = Tail(n - i);
    VF y = Mul(Sub(Sub(Load(v + i, tail), mean), correction), scale);
    if (row.gamma) y = Mul(y, Load(row.gamma + i, tail));
    if (row.beta) y = Add(y, Load(row.beta + i, tail));
    Store(row.y + i, y, tail);
  }
}

inline void BatchNormRow(const float* x, const float* mean, const float* scale, const float* offset, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const VTail tail = Tail(n - i);
    const VF d = Sub(Load(x + i, tail), Load(mean + i, tail));
    Store(y + i, Fma(d, Load(scale + i, tail), Load(offset + i, tail)), tail);
  }
}

inline void BilinearRow(const float* top_left, const float* top_right, const float* bottom_left, const float* bottom_right,
                        float across, float down, float* y, int64_t n) {
  const VF wx = Set(across), wy = Set(down);
  for (int64_t i = 0; i < n; i += kLanes) {
    const VTail tail = Tail(n - i);
    const VF tl = Load(top_left + i, tail), tr = Load(top_right + i, tail);
    const VF bl = Load(bottom_left + i, tail), br = Load(bottom_right + i, tail);
    const VF top = Fma(Sub(tr, tl), wx, tl), bottom = Fma(Sub(br, bl), wx, bl);
    Store(y + i, Fma(Sub(bottom, top), wy, top), tail);
  }
}

// In the order of Fold.
#define TFE_FOLDS(function) \
  { function<FoldSum>, function<FoldMax>, function<FoldMin>, function<FoldProd>, function<FoldMaxNumber> }
constexpr RowKernels MakeRowKernels() {
  return {SoftmaxRow, LogSoftmaxRow, SoftmaxStepRow, ScaleRow, MaskRow, LayerNormRow,         BatchNormRow,          BilinearRow,
          TFE_FOLDS(ReduceRow), TFE_FOLDS(CombineRow), TFE_FOLDS(FoldRows)};
}
#undef TFE_FOLDS

}  // namespace tfengine::cpu::TFE_SIMD
