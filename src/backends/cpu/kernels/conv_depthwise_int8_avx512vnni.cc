// SPDX-License-Identifier: Apache-2.0
// 3x3 depthwise convolution of codes, 64 channels at a time. The bytes of the three input rows of a column are interleaved
// once, so that a 32-bit lane holds one channel's column of the window and one instruction multiplies it with a filter
// column. Unpacking spreads channels over four vectors: lane l of vector k has channel 16 * (l / 4) + 4 * k + l % 4; packing
// sums to bytes undoes exactly that. Weights, scales and biases are in the same order.
#include "backends/cpu/kernels/conv_depthwise_dot_inl.h"
#include "backends/cpu/kernels/dot_simd.h"

namespace tfengine::cpu {
namespace TFE_SIMD {

struct Quad {
  VI v[4];
};

// Of the chunk's channels, in the order above.
struct ChunkConstants {
  alignas(64) float scale[4][16];
  alignas(64) float bias[4][16];
  alignas(64) int32_t start[4][16];  // what the input's zero point adds to the sums
};

struct DepthwiseRow {
  const uint8_t* line[3];  // of the chunk's first channel, at column 0
  int64_t step[3];         // bytes between columns; 0: a row of padding
  int64_t in_w, out_w, pad_left, out_c;
  __mmask64 channels;
  VI zero;                 // code of 0, in all bytes
  const char* weights;     // [column of the filter][vector]
  const ChunkConstants* constants;
  uint8_t* y;              // codes, or null: `sums` [column][64] take the sums as f32, in natural order
  float* sums;
  VI low, high;            // bounds of the codes
};

template <bool kFull>
TFE_INLINE Quad Column(const DepthwiseRow& r, int64_t ix) {
  if (ix < 0 || ix >= r.in_w) return {r.zero, r.zero, r.zero, r.zero};
  auto load = [&](int ky) __attribute__((always_inline)) {
    const uint8_t* p = r.line[ky] + ix * r.step[ky];
    return kFull ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(r.channels, p);
  };
  const VI a = load(0), b = load(1), c = load(2);
  const VI none = _mm512_setzero_si512();
  const VI ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const VI c_low = _mm512_unpacklo_epi8(c, none), c_high = _mm512_unpackhi_epi8(c, none);
  return {_mm512_unpacklo_epi16(ab_low, c_low), _mm512_unpackhi_epi16(ab_low, c_low),
          _mm512_unpacklo_epi16(ab_high, c_high), _mm512_unpackhi_epi16(ab_high, c_high)};
}

TFE_INLINE void AddColumn(Quad& sum, const Quad& x, const Quad& w) {
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) sum.v[k] = Int8Dot::Dot(sum.v[k], x.v[k], w.v[k]);
}

TFE_INLINE Quad Start(const DepthwiseRow& r) {
  Quad q;
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) q.v[k] = LoadInt(r.constants->start[k]);
  return q;
}

template <bool kCodes, bool kFull>
TFE_INLINE void Finish(const DepthwiseRow& r, const Quad& sum, int64_t ox) {
  if constexpr (kCodes) {
    VI code[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const VF real = Fma(ToFloat(sum.v[k]), Load(r.constants->scale[k]), Load(r.constants->bias[k]));
      code[k] = ToInt(Min(Set(255.0f), real));  // without the bound, large values would become the smallest integer
    }
    VI codes = _mm512_packus_epi16(_mm512_packs_epi32(code[0], code[1]), _mm512_packs_epi32(code[2], code[3]));
    codes = _mm512_min_epu8(_mm512_max_epu8(codes, r.low), r.high);
    if constexpr (kFull) {
      _mm512_storeu_si512(r.y + ox * r.out_c, codes);
    } else {
      _mm512_mask_storeu_epi8(r.y + ox * r.out_c, r.channels, codes);
    }
  } else {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const VF real = ToFloat(sum.v[k]);
      float* to = r.sums + ox * 64 + 4 * k;
      _mm_storeu_ps(to, _mm512_castps512_ps128(real));
      _mm_storeu_ps(to + 16, _mm512_extractf32x4_ps(real, 1));
      _mm_storeu_ps(to + 32, _mm512_extractf32x4_ps(real, 2));
      _mm_storeu_ps(to + 48, _mm512_extractf32x4_ps(real, 3));
    }
  }
}

// Columns are visited once each; a column adds to every output that it belongs to.
template <int kStride, bool kCodes, bool kFull>
__attribute__((noinline)) void RunRow(const DepthwiseRow& row) {
  const DepthwiseRow r = row;
  Quad w[3];
#pragma GCC unroll 3
  for (int kx = 0; kx < 3; ++kx) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) w[kx].v[k] = LoadWords(r.weights + (kx * 4 + k) * 64);
  }
  int64_t ix = -r.pad_left;
  Quad a = Start(r);
  AddColumn(a, Column<kFull>(r, ix++), w[0]);
  if constexpr (kStride == 2) {
    for (int64_t ox = 0; ox < r.out_w; ++ox) {
      AddColumn(a, Column<kFull>(r, ix++), w[1]);
      const Quad x = Column<kFull>(r, ix++);
      AddColumn(a, x, w[2]);
      Finish<kCodes, kFull>(r, a, ox);
      a = Start(r);
      AddColumn(a, x, w[0]);
    }
  } else {
    Quad b = Start(r), c;
    {
      const Quad x = Column<kFull>(r, ix++);
      AddColumn(a, x, w[1]);
      AddColumn(b, x, w[0]);
    }
    // Completes output ox in `first`.
    auto step = [&](int64_t ox, Quad& first, Quad& second, Quad& third) __attribute__((always_inline)) {
      const Quad x = Column<kFull>(r, ix++);
      AddColumn(first, x, w[2]);
      AddColumn(second, x, w[1]);
      third = Start(r);
      AddColumn(third, x, w[0]);
      Finish<kCodes, kFull>(r, first, ox);
    };
    int64_t ox = 0;
    for (; ox + 3 <= r.out_w; ox += 3) {
      step(ox, a, b, c);
      step(ox + 1, b, c, a);
      step(ox + 2, c, a, b);
    }
    if (ox < r.out_w) step(ox, a, b, c);
    if (ox + 1 < r.out_w) step(ox + 1, b, c, a);
  }
}

using RowFunction = void (*)(const DepthwiseRow& row);
constexpr RowFunction kRunRow[2][2][2] = {  // [stride - 1][codes][full]
    {{RunRow<1, false, false>, RunRow<1, false, true>}, {RunRow<1, true, false>, RunRow<1, true, true>}},
    {{RunRow<2, false, false>, RunRow<2, false, true>}, {RunRow<2, true, false>, RunRow<2, true, true>}}};

// The `count` channels from p in the order of the vectors; `missing` beyond them and where p is null.
inline void Spread(const float* p, int64_t count, float missing, float (&to)[4][16]) {
  alignas(64) float channels[64];
  for (int i = 0; i < 64; i += 16) {
    const VTail tail = p == nullptr || count <= i ? Tail(0) : Tail(count - i);
    Store(channels + i, _mm512_mask_loadu_ps(Set(missing), tail, p + i));
  }
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) _mm_store_ps(to[j % 4] + j / 4 * 4, _mm_load_ps(channels + 4 * j));
}

void DepthwiseInt8Task(const DepthwisePlan& p, const DotArgs& args, int64_t task, char* scratch) {
  const ConvGeometry& g = p.g;
  const OutputStage& stage = *args.stage;
  const Format& out = stage.out;
  const int64_t row_part = task / p.channel_parts, channel_part = task % p.channel_parts;
  const int64_t row_begin = p.rows * row_part / p.row_parts, row_end = p.rows * (row_part + 1) / p.row_parts;
  uint8_t* zeros = reinterpret_cast<uint8_t*>(scratch);
  __builtin_memset(zeros, args.zero, 64);
  DepthwiseFinish f;
  f.stage = &stage;
  f.clip = IsClip(stage.activation, &f.low, &f.high);
  const bool codes = f.clip && args.residual == nullptr && out.storage == Storage::kU8;
  const int residual = args.residual ? 1 + static_cast<int>(stage.residual.storage) : 0;
  const FinishDepthwiseFunction finish = kFinishDepthwise[residual][static_cast<int>(out.storage)];
  const int64_t residual_bytes = BytesOf(stage.residual.storage), y_bytes = BytesOf(out.storage);
  const float inverse = 1.0f / out.scale, zero = static_cast<float>(out.zero);
  auto bound = [&](float real) {
    const float code = __builtin_rintf(real * inverse) + zero, low = static_cast<float>(out.lo), high = static_cast<float>(out.hi);
    return _mm512_set1_epi8(static_cast<char>(static_cast<uint8_t>(code > low ? code < high ? code : high : low)));
  };

  ChunkConstants constants;
  DepthwiseRow r;
  r.in_w = g.in_w, r.out_w = g.out_w, r.pad_left = g.pad_left, r.out_c = g.out_c;
  r.zero = _mm512_set1_epi8(static_cast<char>(args.zero));
  r.constants = &constants;
  r.sums = reinterpret_cast<float*>(scratch + 64);
  r.low = bound(f.low), r.high = bound(f.high);
  for (int64_t chunk = p.vectors * channel_part / p.channel_parts; chunk < p.vectors * (channel_part + 1) / p.channel_parts; ++chunk) {
    const int64_t first = chunk * 64, count = g.out_c - first < 64 ? g.out_c - first : 64;
    const char* packed = static_cast<const char*>(args.packed) + chunk * kDepthwiseInt8ChunkBytes;
    r.channels = count == 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
    r.weights = packed;
    f.scale = stage.scale ? stage.scale + first : nullptr;
    f.bias = stage.bias ? stage.bias + first : nullptr;
    Spread(f.scale, count, 1, constants.scale);
    Spread(f.bias, count, 0, constants.bias);
    for (int k = 0; k < 4; ++k) {
      const VI sums = LoadWords(packed + (12 + k) * 64);
      _mm512_store_si512(constants.start[k], _mm512_mullo_epi32(sums, SetInt(-args.zero)));
      // Codes directly: sum * scale / out.scale + bias / out.scale + out.zero. NaN gives out.zero.
      const VF bias = Fma(Load(constants.bias[k]), Set(inverse), Set(zero)), scale = Mul(Load(constants.scale[k]), Set(inverse));
      const VMask nan = IsNan(bias);
      Store(constants.bias[k], Select(nan, Set(zero), bias));
      Store(constants.scale[k], Select(nan, Zero(), scale));
    }
    for (int64_t row = row_begin; row < row_end; ++row) {
      const int64_t n = row / g.out_h, y0 = (row - n * g.out_h) * g.stride_h - g.pad_top;
      const uint8_t* image = static_cast<const uint8_t*>(args.x) + n * g.in_h * g.in_w * g.in_c + first;
      for (int ky = 0; ky < 3; ++ky) {
        const int64_t iy = y0 + ky * g.dil_h;
        const bool inside = iy >= 0 && iy < g.in_h;
        r.line[ky] = inside ? image + iy * g.in_w * g.in_c : zeros;
        r.step[ky] = inside ? g.in_c : 0;
      }
      const int64_t at = row * g.out_w * g.out_c + first;
      r.y = static_cast<uint8_t*>(args.y) + at;
      kRunRow[g.stride_w - 1][codes][count == 64](r);
      for (int64_t ox = 0; ox < g.out_w && !codes; ++ox) {
        const int64_t element = at + ox * g.out_c;
        if (residual) f.residual = static_cast<const char*>(args.residual) + element * residual_bytes;
        f.y = static_cast<char*>(args.y) + element * y_bytes;
        finish(f, r.sums + ox * 64, count);
      }
    }
  }
}

}  // namespace TFE_SIMD

extern const DepthwiseTask kDepthwiseInt8Avx512vnni = TFE_SIMD::DepthwiseInt8Task;

}  // namespace tfengine::cpu
