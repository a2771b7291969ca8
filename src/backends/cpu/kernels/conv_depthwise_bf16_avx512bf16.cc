// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise_window_inl.h"

namespace tfengine::cpu {
namespace TFE_SIMD {

// Words 0 and 1 hold the upper two rows, words 2 and 3 the lowest and nothing.
struct Bf16Window {
  using Element = uint16_t;
  static constexpr Storage kStorage = Storage::kBf16;
  static constexpr int kChannels = 32, kSums = 2;
  struct Sums {
    VF v[2];
  };
  struct Bounds {
    VF low, high;
  };

  static TFE_INLINE VI Padding(int32_t) { return SetInt(0); }
  static TFE_INLINE Words Interleave(VI a, VI b, VI c) {
    const VI none = SetInt(0);
    return {{_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b), _mm512_unpacklo_epi16(c, none), _mm512_unpackhi_epi16(c, none)}};
  }
  static TFE_INLINE void Add(Sums& sum, const Words& x, const Words& w) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum.v[k % 2] = Bf16Dot::Dot(sum.v[k % 2], x.v[k], w.v[k]);
  }
  static TFE_INLINE Sums Start(const ChunkConstants&) { return {{Zero(), Zero()}}; }
  static TFE_INLINE VF Real(const Sums& sum, int k) { return sum.v[k]; }
  static TFE_INLINE Bounds MakeBounds(const Format&, float low, float high) { return {Set(low), Set(high)}; }
  static TFE_INLINE void Prepare(const Format&, int32_t, const char*, bool, ChunkConstants&) {}

  static TFE_INLINE VI Outputs(const Sums& sum, const ChunkConstants& c, const Bounds& bounds) {
    VF real[2];
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      real[k] = Fma(sum.v[k], Load(c.scale[k]), Load(c.bias[k]));
      real[k] = Min(bounds.high, Max(bounds.low, real[k]));
    }
    const VI order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    return _mm512_permutexvar_epi64(order, (VI)_mm512_cvtne2ps_pbh(real[1], real[0]));
  }
  template <int kParts>
  static TFE_INLINE ActivateRowFunction<Bf16Window> Activated(const OutputStage&) { return nullptr; }
  static TFE_INLINE bool Fits(const OutputStage&, int64_t) { return false; }
};

}  // namespace TFE_SIMD

extern const DepthwiseTask kDepthwiseBf16Avx512bf16 = TFE_SIMD::DepthwiseWindowTask<TFE_SIMD::Bf16Window>;

}  // namespace tfengine::cpu
