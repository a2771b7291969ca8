// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by fake_quant_{portable,avx2,avx512}.cc; the namespace and its rules are those of simd.h.
#include "backends/cpu/kernels/fake_quant_kernels.h"
#include "backends/cpu/kernels/simd.h"

namespace tfengine::cpu::TFE_SIMD {

// Keeps the compiler from fusing a product with the sum that follows: near a tie that would be another code.
TFE_INLINE VF Rounded(VF v) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(v));
#else
  __asm__("" : "+x"(v));
#endif
  return v;
}

template <CodeRounding rounding, bool divides>
TFE_INLINE VF RoundToCodes(VF x, VF step, VF factor, VF low, VF high, VF lo) {
  // The second operand if one is NaN: NaN stays.
  const VF clamped = Max(low, Min(high, x));
  const VF shifted = rounding == CodeRounding::kOffset ? Sub(clamped, low) : clamped;
  const VF scaled = Rounded(divides ? Div(shifted, factor) : Mul(shifted, factor));
  VF code;
  if constexpr (rounding == CodeRounding::kEven) {
    code = RoundToNearest(scaled);
  } else if constexpr (rounding == CodeRounding::kUp) {
    code = Floor(Add(scaled, Set(0.5f)));
  } else {
    code = Floor(Add(Add(scaled, lo), Set(0.5f)));
  }
  return Mul(code, step);
}

template <CodeRounding rounding, bool divides, bool each>
void FakeQuantRange(const FakeQuantRun& run, const float* x, float* y, int64_t n) {
  if constexpr (!each) {
    const VF step = Set(*run.step), factor = Set(*run.factor), low = Set(*run.low), high = Set(*run.high), lo = Set(*run.lo);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      Store(y + i, RoundToCodes<rounding, divides>(Load(x + i), step, factor, low, high, lo));
    if (i < n) {
      const VTail tail = Tail(n - i);
      Store(y + i, RoundToCodes<rounding, divides>(Load(x + i, tail), step, factor, low, high, lo), tail);
    }
  } else {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      Store(y + i, RoundToCodes<rounding, divides>(Load(x + i), Load(run.step + i), Load(run.factor + i), Load(run.low + i),
                                                   Load(run.high + i), Load(run.lo + i)));
    if (i < n) {
      const VTail t = Tail(n - i);
      Store(y + i,
            RoundToCodes<rounding, divides>(Load(x + i, t), Load(run.step + i, t), Load(run.factor + i, t),
                                            Load(run.low + i, t), Load(run.high + i, t), Load(run.lo + i, t)),
            t);
    }
  }
}

#define TFE_FAKE_QUANT_ROW(rounding)                                                \
  {                                                                                 \
    {FakeQuantRange<rounding, false, false>, FakeQuantRange<rounding, false, true>}, \
        {FakeQuantRange<rounding, true, false>, FakeQuantRange<rounding, true, true>} \
  }
constexpr FakeQuantKernels MakeFakeQuantKernels() {
  return {{TFE_FAKE_QUANT_ROW(CodeRounding::kEven), TFE_FAKE_QUANT_ROW(CodeRounding::kUp),
           TFE_FAKE_QUANT_ROW(CodeRounding::kOffset)}};
}
#undef TFE_FAKE_QUANT_ROW

}  // namespace tfengine::cpu::TFE_SIMD
