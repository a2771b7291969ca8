// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by row_{portable,avx2,avx512}.cc: RowKernels in terms of simd.h.
#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/fold_simd.h"
#include "backends/cpu/kernels/row_kernels.h"

namespace tfengine::cpu::TFE_SIMD {

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

template <Storage kFrom, Storage kTo>
void BilinearRow(const BilinearRows& rows, const Format& from, void* y, const Format& to, int64_t n) {
  const Stored<kFrom> in(from);
  const Stored<kTo> out(to);
  using From = const typename Stored<kFrom>::Element*;
  const From top_left = static_cast<From>(rows.top_left), top_right = static_cast<From>(rows.top_right);
  const From bottom_left = static_cast<From>(rows.bottom_left), bottom_right = static_cast<From>(rows.bottom_right);
  auto* v = static_cast<typename Stored<kTo>::Element*>(y);
  const VF wx = Set(rows.across), wy = Set(rows.down);
  ForVectors(n, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const VF tl = in.Read(top_left + i, lanes), tr = in.Read(top_right + i, lanes);
    const VF bl = in.Read(bottom_left + i, lanes), br = in.Read(bottom_right + i, lanes);
    const VF top = Fma(Sub(tr, tl), wx, tl), bottom = Fma(Sub(br, bl), wx, bl);
    out.Write(v + i, Fma(Sub(bottom, top), wy, top), lanes);
  });
}

#define TFE_TO(from) \
  { BilinearRow<Storage::from, Storage::kF32>, BilinearRow<Storage::from, Storage::kBf16>, BilinearRow<Storage::from, Storage::kU8> }
#define TFE_FROM(function, fold) \
  { function<fold, Storage::kF32>, function<fold, Storage::kBf16>, function<fold, Storage::kU8> }
// In the order of Fold.
#define TFE_FOLDS(function)                                                                          \
  {                                                                                                  \
    TFE_FROM(function, FoldSum), TFE_FROM(function, FoldMax), TFE_FROM(function, FoldMin),           \
        {function<FoldProd, Storage::kF32>, function<FoldProd, Storage::kBf16>, nullptr},            \
        TFE_FROM(function, FoldMaxNumber)                                                            \
  }
constexpr RowKernels MakeRowKernels() {
  return {SoftmaxRow, LogSoftmaxRow, SoftmaxStepRow, ScaleRow, MaskRow, LayerNormRow, BatchNormRow,
          {TFE_TO(kF32), TFE_TO(kBf16), TFE_TO(kU8)},
          TFE_FOLDS(ReduceStored),
          TFE_FOLDS(FoldRows),
          MaxCodes,
          {MaxWindows<Storage::kF32>, MaxWindows<Storage::kBf16>, MaxCodeWindows},
          {CombineRow<FoldSum>, CombineRow<FoldMax>, CombineRow<FoldMin>, CombineRow<FoldProd>, CombineRow<FoldMaxNumber>}};
}
#undef TFE_TO
#undef TFE_FROM
#undef TFE_FOLDS

}  // namespace tfengine::cpu::TFE_SIMD
