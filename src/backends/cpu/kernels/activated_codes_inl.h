// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/dot.h"

// Sums to codes through an activation that is no clip, in one pass over vectors that stay in registers. AVX-512 only.
namespace tfengine::cpu::TFE_SIMD {

// Of rows of channels. scale and bias may be null (1 and 0); masks and tails beyond `width` are neither read nor written.
struct ActivatedCodes {
  const float *scale, *bias;
  Format out;
  float alpha, beta;  // of the activation
  const ActivationLines* lines;
  uint8_t* y;
  int64_t y_stride;  // elements
  int64_t width;
};

// sums: [rows][row] of f32, `width` of each row used; whole vectors are read.
using ActivateCodesFunction = void (*)(const ActivatedCodes& a, const float* sums, int64_t rows, int64_t row);

#if defined(__AVX512F__)

// As Activate, for results that are rounded to 8 bits: relative errors are below 1e-6 where |x| < 10 and absolute ones beyond.
template <ActivationKind kind>
TFE_INLINE VF ActivateRoughly(VF x, float alpha, float beta) {
  // 1 / (1 + exp(-x)); exp(80) is still finite.
  auto sigmoid = [](VF x) __attribute__((always_inline)) {
    const VF t = Mul(Max(Set(-80.0f), x), Set(-1.44269504088896341f)), n = RoundToNearest(t);
    const VF p = Polynomial(Sub(t, n), {1.3276472454890609e-3f, 9.675541892647743e-3f, 5.550713092088699e-2f,
                                        2.4022120237350464e-1f, 6.931469440460205e-1f, 1.0f});
    const VF d = Add(ScaleByPowerOfTwo(p, n), Set(1.0f)), r = _mm512_rcp14_ps(d);
    return Fma(r, Fnma(d, r, Set(1.0f)), r);
  };
  using K = ActivationKind;
  if constexpr (kind == K::kSigmoid) return sigmoid(x);
  if constexpr (kind == K::kSilu) return Mul(x, sigmoid(x));
  if constexpr (kind == K::kGeluTanh) {
    const VF scaled = Mul(x, Set(1.5957691216057308f));
    return Mul(x, sigmoid(Fma(Mul(scaled, Set(0.044715f)), Mul(x, x), scaled)));
  }
  return Activate<kind>(x, alpha, beta);
}

// How sums become codes: reals by a function.
template <ActivationKind kind>
struct ByFunction {
  VF inverse, zero;
  float alpha, beta;
  TFE_INLINE explicit ByFunction(const ActivatedCodes& a)
      : inverse(Set(1.0f / a.out.scale)), zero(Set(static_cast<float>(a.out.zero))), alpha(a.alpha), beta(a.beta) {}
  TFE_INLINE VF Scale(VF scale) const { return scale; }
  TFE_INLINE VF Bias(VF bias) const { return bias; }
  TFE_INLINE VI Part(VF sum, VF scale, VF bias) const {
    return ToInt(Fma(ActivateRoughly<kind>(Fma(sum, scale, bias), alpha, beta), inverse, zero));
  }
  static TFE_INLINE VI Words(VI words) { return words; }
};

// Through words and lines, or parabolas.
template <bool kBent>
struct ByLines {
  VF scale, offset;
  VI intercept[2], slope[2], bend[2];
  TFE_INLINE explicit ByLines(const ActivatedCodes& a) : scale(Set(a.lines->scale)), offset(Set(a.lines->offset)) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      intercept[i] = _mm512_load_si512(a.lines->intercept + i * 32);
      slope[i] = _mm512_load_si512(a.lines->slope + i * 32);
      bend[i] = _mm512_load_si512(a.lines->bend + i * 32);
    }
  }
  TFE_INLINE VF Scale(VF s) const { return Mul(s, scale); }
  TFE_INLINE VF Bias(VF bias) const { return Fma(bias, scale, offset); }
  TFE_INLINE VI Part(VF sum, VF s, VF bias) const { return ToInt(Fma(sum, s, bias)); }
  TFE_INLINE VI Words(VI words) const {
    const VI i = _mm512_srli_epi16(words, 10);
    VI rise = _mm512_permutex2var_epi16(slope[0], i, slope[1]), distance = words;
    if constexpr (kBent) {
      distance = _mm512_xor_si512(_mm512_slli_epi16(words, 6), _mm512_set1_epi16(INT16_MIN));
      rise = _mm512_add_epi16(rise, _mm512_mulhrs_epi16(_mm512_permutex2var_epi16(bend[0], i, bend[1]), distance));
    }
    const VI start = _mm512_permutex2var_epi16(intercept[0], i, intercept[1]);
    return _mm512_srai_epi16(_mm512_adds_epi16(start, _mm512_mulhrs_epi16(rise, distance)), ActivationLines::kFractionBits);
  }
};

// The codes of four vectors of parts, of every four lanes in turn; InOrder puts them one vector behind the other.
template <typename By>
TFE_INLINE VI PackCodes(const By& by, const VI (&part)[4], VI low, VI high) {
  const VI codes = _mm512_packus_epi16(by.Words(_mm512_packs_epi32(part[0], part[1])), by.Words(_mm512_packs_epi32(part[2], part[3])));
  return _mm512_min_epu8(_mm512_max_epu8(codes, low), high);
}
TFE_INLINE VI InOrder(VI codes) {
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), codes);
}

template <typename By, int kVectors>
void ActivateCodes(const ActivatedCodes& a, const float* sums, int64_t rows, int64_t row) {
  constexpr int kStep = 4 / kVectors;
  const By by(a);
  const VI low = _mm512_set1_epi8(static_cast<char>(a.out.lo)), high = _mm512_set1_epi8(static_cast<char>(a.out.hi));
  const int64_t width = a.width, y_stride = a.y_stride;
  for (int64_t j = 0; j < width; j += kVectors * kLanes) {
    VF scale[kVectors], bias[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const VTail tail = width - j <= v * kLanes ? Tail(0) : Tail(width - j - v * kLanes);
      scale[v] = by.Scale(a.scale ? Load(a.scale + j + v * kLanes, tail) : Set(1.0f));
      bias[v] = by.Bias(a.bias ? Load(a.bias + j + v * kLanes, tail) : Zero());
    }
    const int64_t count = width - j < kVectors * kLanes ? width - j : kVectors * kLanes;
    const uint64_t mask = ~uint64_t{0} >> (64 - count);
    uint8_t* y = a.y + j;
    for (int64_t m = 0; m < rows; m += kStep, y += kStep * y_stride) {
      VI part[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int64_t r = m + i / kVectors < rows ? m + i / kVectors : rows - 1;
        const int v = i % kVectors;
        const VTail read = kVectors == 4 && width - j <= v * kLanes ? Tail(0) : Tail(kLanes);
        const VF sum = kVectors == 4 ? Load(sums + r * row + j + v * kLanes, read) : Load(sums + r * row + j + v * kLanes);
        part[i] = by.Part(sum, scale[v], bias[v]);
      }
      const VI codes = InOrder(PackCodes(by, part, low, high));
      // Masked stores cost much more.
      const bool full = count == kVectors * kLanes;
      if constexpr (kVectors == 4) {
        full ? _mm512_storeu_si512(y, codes) : _mm512_mask_storeu_epi8(y, mask, codes);
      } else if constexpr (kVectors == 2) {
        const __m256i half[2] = {_mm512_castsi512_si256(codes), _mm512_extracti64x4_epi64(codes, 1)};
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {
          if (m + i >= rows) continue;
          uint8_t* to = y + i * y_stride;
          full ? _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), half[i]) : _mm256_mask_storeu_epi8(to, static_cast<__mmask32>(mask), half[i]);
        }
      } else {
        const __m128i quarter[4] = {_mm512_castsi512_si128(codes), _mm512_extracti32x4_epi32(codes, 1),
                                    _mm512_extracti32x4_epi32(codes, 2), _mm512_extracti32x4_epi32(codes, 3)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          if (m + i >= rows) continue;
          uint8_t* to = y + i * y_stride;
          full ? _mm_storeu_si128(reinterpret_cast<__m128i*>(to), quarter[i]) : _mm_mask_storeu_epi8(to, static_cast<__mmask16>(mask), quarter[i]);
        }
      }
    }
  }
}

// pick.operator()<kind>(): a function pointer; null for activations without one.
template <typename Pick>
TFE_INLINE auto PickActivated(ActivationKind kind, const Pick& pick) -> decltype(pick.template operator()<ActivationKind::kSilu>()) {
  switch (kind) {
#define TFE_CASE(kind) \
  case ActivationKind::kind: return pick.template operator()<ActivationKind::kind>();
    TFE_CASE(kSigmoid)
    TFE_CASE(kTanh)
    TFE_CASE(kSilu)
    TFE_CASE(kGeluErf)
    TFE_CASE(kGeluTanh)
    TFE_CASE(kHardSigmoid)
    TFE_CASE(kHardSwish)
#undef TFE_CASE
    default: return nullptr;
  }
}

// The function for rows of one, two or (4) any number of vectors; null for activations that have none.
template <int kVectors>
TFE_INLINE ActivateCodesFunction ActivateCodesFor(const OutputStage& stage) {
  if (stage.lines != nullptr) return stage.lines->bent ? ActivateCodes<ByLines<true>, kVectors> : ActivateCodes<ByLines<false>, kVectors>;
  return PickActivated(stage.activation.kind, []<ActivationKind kind>() -> ActivateCodesFunction { return ActivateCodes<ByFunction<kind>, kVectors>; });
}

// Whether codes before clamping are numbers that a 32-bit integer can hold, for all sums of `terms` products of codes: not
// with an infinite or NaN bias or an output scale far too small.
TFE_INLINE bool FitsCodes(const OutputStage& stage, int64_t channels, int64_t terms) {
  const float *scale = stage.scale, *bias = stage.bias;
  const VF most = Set(static_cast<float>(terms) * 255 * 127), inverse = Set(stage.lines ? stage.lines->scale : 1.0f / stage.out.scale);
  bool fits = true;
  for (int64_t i = 0; i < channels; i += kLanes) {
    const VTail tail = Tail(channels - i);
    const VF real = Fma(scale ? Abs(Load(scale + i, tail)) : Set(1.0f), most, bias ? Abs(Load(bias + i, tail)) : Zero());
    fits = fits && Less(Fma(real, inverse, Set(65536.0f)), Set(1e9f)) == 0xffff;
  }
  return fits;
}

#else

template <int kVectors>
TFE_INLINE ActivateCodesFunction ActivateCodesFor(const OutputStage&) { return nullptr; }
TFE_INLINE bool FitsCodes(const OutputStage&, int64_t, int64_t) { return false; }

#endif

}  // namespace tfengine::cpu::TFE_SIMD
