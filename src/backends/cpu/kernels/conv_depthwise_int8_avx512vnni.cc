// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise_window_inl.h"

namespace tfengine::cpu {
namespace TFE_SIMD {

struct Int8Window {
  using Element = uint8_t;
  static constexpr Storage kStorage = Storage::kU8;
  static constexpr int kChannels = 64, kSums = 4;
  struct Sums {
    VI v[4];
  };
  struct Bounds {
    VI low, high;  // of the codes
  };

  static TFE_INLINE VI Padding(int32_t zero) { return _mm512_set1_epi8(static_cast<char>(zero)); }
  static TFE_INLINE Words Interleave(VI a, VI b, VI c) {
    const VI none = SetInt(0);
    const VI ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const VI c_low = _mm512_unpacklo_epi8(c, none), c_high = _mm512_unpackhi_epi8(c, none);
    return {{_mm512_unpacklo_epi16(ab_low, c_low), _mm512_unpackhi_epi16(ab_low, c_low),
             _mm512_unpacklo_epi16(ab_high, c_high), _mm512_unpackhi_epi16(ab_high, c_high)}};
  }
  static TFE_INLINE void Add(Sums& sum, const Words& x, const Words& w) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum.v[k] = Int8Dot::Dot(sum.v[k], x.v[k], w.v[k]);
  }
  static TFE_INLINE Sums Start(const ChunkConstants& c) {
    return {{LoadInt(c.start[0]), LoadInt(c.start[1]), LoadInt(c.start[2]), LoadInt(c.start[3])}};
  }
  static TFE_INLINE VF Real(const Sums& sum, int k) { return ToFloat(sum.v[k]); }

  static TFE_INLINE Bounds MakeBounds(const Format& out, float low, float high) {
    const float inverse = 1.0f / out.scale, zero = static_cast<float>(out.zero);
    auto code = [&](float real) {
      const float code = __builtin_rintf(real * inverse) + zero, lo = static_cast<float>(out.lo), hi = static_cast<float>(out.hi);
      return _mm512_set1_epi8(static_cast<char>(static_cast<uint8_t>(code > lo ? code < hi ? code : hi : lo)));
    };
    return {code(low), code(high)};
  }
  // Codes directly: sum * scale / out.scale + bias / out.scale + out.zero. NaN gives out.zero.
  static TFE_INLINE void Prepare(const Format& out, int32_t zero, const char* weight_sums, bool codes, ChunkConstants& c) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) _mm512_store_si512(c.start[k], Multiply(LoadWords(weight_sums + k * 64), SetInt(-zero)));
    if (!codes) return;
    const VF inverse = Set(1.0f / out.scale), out_zero = Set(static_cast<float>(out.zero));
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const VF bias = Fma(Load(c.bias[k]), inverse, out_zero), scale = Mul(Load(c.scale[k]), inverse);
      const VMask nan = IsNan(bias);
      Store(c.bias[k], Select(nan, out_zero, bias));
      Store(c.scale[k], Select(nan, Zero(), scale));
    }
  }
  static TFE_INLINE VI Outputs(const Sums& sum, const ChunkConstants& c, const Bounds& bounds) {
    VI code[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const VF real = Fma(ToFloat(sum.v[k]), Load(c.scale[k]), Load(c.bias[k]));
      code[k] = ToInt(Min(Set(255.0f), real));  // without the bound, large values would become the smallest integer
    }
    const VI codes = _mm512_packus_epi16(_mm512_packs_epi32(code[0], code[1]), _mm512_packs_epi32(code[2], code[3]));
    return _mm512_min_epu8(_mm512_max_epu8(codes, bounds.low), bounds.high);
  }

  template <typename By, int kParts>
  static void ActivateRow(const DepthwiseRow<Int8Window>& r, const OutputStage& stage) {
    const By by({nullptr, nullptr, stage.out, stage.activation.alpha, stage.activation.beta, stage.lines, nullptr, 0, 0});
    const VI low = _mm512_set1_epi8(static_cast<char>(stage.out.lo)), high = _mm512_set1_epi8(static_cast<char>(stage.out.hi));
    VF scale[4], bias[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) scale[k] = by.Scale(Load(r.constants->scale[k])), bias[k] = by.Bias(Load(r.constants->bias[k]));
    const float* sums = r.sums;
    for (int64_t ox = 0; ox < r.out_w; ++ox, sums += kChannels) {
      VI part[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) part[k] = by.Part(Load(sums + k * kLanes), scale[k], bias[k]);
      const VI codes = PackCodes(by, part, low, high);
      r.bytes == ~uint64_t{0} ? StoreParts<kParts, true>(r.y, ox * r.y_step, r.bytes, codes)
                              : StoreParts<kParts, false>(r.y, ox * r.y_step, r.bytes, codes);
    }
  }
  static TFE_INLINE bool Fits(const OutputStage& stage, int64_t channels) { return FitsCodes(stage, channels, 9); }
  template <int kParts>
  static TFE_INLINE ActivateRowFunction<Int8Window> Activated(const OutputStage& stage) {
    if (stage.lines != nullptr) return stage.lines->bent ? ActivateRow<ByLines<true>, kParts> : ActivateRow<ByLines<false>, kParts>;
    return PickActivated(stage.activation.kind, []<ActivationKind kind>() -> ActivateRowFunction<Int8Window> {
      return ActivateRow<ByFunction<kind>, kParts>;
    });
  }
};

}  // namespace TFE_SIMD

extern const DepthwiseTask kDepthwiseInt8Avx512vnni = TFE_SIMD::DepthwiseWindowTask<TFE_SIMD::Int8Window>;

}  // namespace tfengine::cpu
