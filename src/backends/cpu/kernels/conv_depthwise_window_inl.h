// SPDX-License-Identifier: Apache-2.0
#pragma once

// 3x3 depthwise convolution with instructions that add up products inside 32-bit lanes. The values of the three input rows of
// a column are interleaved once, so that a lane holds one channel's column of the window (bytes; bf16 needs two lanes, the
// second half empty) and is multiplied with a filter column at once. Unpacking spreads channels over vectors: lane l of sums k
// of n has channel 4 * n * (l / 4) + 4 * k + l % 4; packing sums to outputs undoes exactly that. Weights, scales and biases
// are in the same order. A window type W (below) has:
//   Element, kChannels of a chunk, kSums vectors of sums, Words: four vectors of interleaved values,
//   Interleave, Add (words times weights), Start (what sums begin with), Real (sums as f32), Write (a chunk's outputs)
#include "backends/cpu/kernels/conv_depthwise_dot_inl.h"
#include "backends/cpu/kernels/dot_simd.h"

namespace tfengine::cpu::TFE_SIMD {

struct Words {
  VI v[4];
};

// Of the chunk's channels, in the order above.
struct ChunkConstants {
  alignas(64) float scale[4][16];
  alignas(64) float bias[4][16];
  alignas(64) int32_t start[4][16];  // codes: what the input's zero point adds to the sums
};

template <typename W>
struct DepthwiseRow {
  const typename W::Element* line[3];  // of the chunk's first channel, at column 0
  int64_t step[3];                     // elements between columns; 0: a row of padding
  int64_t in_w, out_w, pad_left, out_c;
  uint64_t channels;                   // bit c: channel c of the chunk exists
  Words padding;                       // of a column
  const char* weights;                 // [column of the filter][vector]
  const ChunkConstants* constants;
  typename W::Element* y;              // outputs stored like the inputs, or null: `sums` [column][kChannels] take the sums
  float* sums;
  typename W::Bounds bounds;
};

template <typename W, bool kFull>
TFE_INLINE Words Column(const DepthwiseRow<W>& r, int64_t ix) {
  if (ix < 0 || ix >= r.in_w) return r.padding;
  auto load = [&](int ky) __attribute__((always_inline)) {
    return W::template Load<kFull>(r.line[ky] + ix * r.step[ky], r.channels);
  };
  return W::Interleave(load(0), load(1), load(2));
}

template <typename W, bool kStored, bool kFull>
TFE_INLINE void FinishColumn(const DepthwiseRow<W>& r, const typename W::Sums& sum, int64_t ox) {
  if constexpr (kStored) {
    W::template Write<kFull>(r.y + ox * r.out_c, r.channels, sum, *r.constants, r.bounds);
  } else {
#pragma GCC unroll 4
    for (int k = 0; k < W::kSums; ++k) {
      const VF real = W::Real(sum, k);
      float* to = r.sums + ox * W::kChannels + 4 * k;
      _mm_storeu_ps(to, _mm512_castps512_ps128(real));
      _mm_storeu_ps(to + 4 * W::kSums, _mm512_extractf32x4_ps(real, 1));
      _mm_storeu_ps(to + 8 * W::kSums, _mm512_extractf32x4_ps(real, 2));
      _mm_storeu_ps(to + 12 * W::kSums, _mm512_extractf32x4_ps(real, 3));
    }
  }
}

// Columns are visited once each; a column adds to every output that it belongs to.
template <typename W, int kStride, bool kStored, bool kFull>
__attribute__((noinline)) void RunRow(const DepthwiseRow<W>& row) {
  using Sums = typename W::Sums;
  const DepthwiseRow<W> r = row;
  Words w[3];
#pragma GCC unroll 3
  for (int kx = 0; kx < 3; ++kx) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) w[kx].v[k] = LoadWords(r.weights + (kx * 4 + k) * 64);
  }
  int64_t ix = -r.pad_left;
  Sums a = W::Start(*r.constants);
  W::Add(a, Column<W, kFull>(r, ix++), w[0]);
  if constexpr (kStride == 2) {
    for (int64_t ox = 0; ox < r.out_w; ++ox) {
      W::Add(a, Column<W, kFull>(r, ix++), w[1]);
      const Words x = Column<W, kFull>(r, ix++);
      W::Add(a, x, w[2]);
      FinishColumn<W, kStored, kFull>(r, a, ox);
      a = W::Start(*r.constants);
      W::Add(a, x, w[0]);
    }
  } else {
    Sums b = W::Start(*r.constants), c;
    {
      const Words x = Column<W, kFull>(r, ix++);
      W::Add(a, x, w[1]);
      W::Add(b, x, w[0]);
    }
    // Completes output ox in `first`.
    auto step = [&](int64_t ox, Sums& first, Sums& second, Sums& third) __attribute__((always_inline)) {
      const Words x = Column<W, kFull>(r, ix++);
      W::Add(first, x, w[2]);
      W::Add(second, x, w[1]);
      third = W::Start(*r.constants);
      W::Add(third, x, w[0]);
      FinishColumn<W, kStored, kFull>(r, first, ox);
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

template <typename W>
inline constexpr void (*kRunRow[2][2][2])(const DepthwiseRow<W>&) = {  // [stride - 1][stored][full]
    {{RunRow<W, 1, false, false>, RunRow<W, 1, false, true>}, {RunRow<W, 1, true, false>, RunRow<W, 1, true, true>}},
    {{RunRow<W, 2, false, false>, RunRow<W, 2, false, true>}, {RunRow<W, 2, true, false>, RunRow<W, 2, true, true>}}};

// The `count` channels from p in the order of the vectors; `missing` beyond them and where p is null.
template <int kSums>
TFE_INLINE void Spread(const float* p, int64_t count, float missing, float (&to)[4][16]) {
  alignas(64) float channels[16 * kSums];
  for (int i = 0; i < 16 * kSums; i += 16) {
    const VTail tail = p == nullptr || count <= i ? Tail(0) : Tail(count - i);
    Store(channels + i, _mm512_mask_loadu_ps(Set(missing), tail, p + i));
  }
#pragma GCC unroll 16
  for (int j = 0; j < 4 * kSums; ++j) _mm_store_ps(to[j % kSums] + j / kSums * 4, _mm_load_ps(channels + 4 * j));
}

template <typename W>
void DepthwiseWindowTask(const DepthwisePlan& p, const DotArgs& args, int64_t task, char* scratch) {
  using Element = typename W::Element;
  const ConvGeometry& g = p.g;
  const OutputStage& stage = *args.stage;
  const int64_t row_part = task / p.channel_parts, channel_part = task % p.channel_parts;
  const int64_t row_begin = p.rows * row_part / p.row_parts, row_end = p.rows * (row_part + 1) / p.row_parts;
  DepthwiseFinish f;
  f.stage = &stage;
  f.clip = IsClip(stage.activation, &f.low, &f.high);
  const bool stored = f.clip && args.residual == nullptr && stage.out.storage == W::kStorage;
  const int residual = args.residual ? 1 + static_cast<int>(stage.residual.storage) : 0;
  const FinishDepthwiseFunction finish = kFinishDepthwise[residual][static_cast<int>(stage.out.storage)];
  const int64_t residual_bytes = BytesOf(stage.residual.storage), y_bytes = BytesOf(stage.out.storage);

  ChunkConstants constants;
  DepthwiseRow<W> r;
  const VI padding = W::Padding(args.zero);
  Element* zeros = reinterpret_cast<Element*>(scratch);
  _mm512_storeu_si512(zeros, padding);
  r.padding = {{padding, padding, padding, padding}};
  r.in_w = g.in_w, r.out_w = g.out_w, r.pad_left = g.pad_left, r.out_c = g.out_c;
  r.constants = &constants;
  r.sums = reinterpret_cast<float*>(scratch + 64);
  r.bounds = W::MakeBounds(stage.out, f.low, f.high);
  for (int64_t chunk = p.vectors * channel_part / p.channel_parts; chunk < p.vectors * (channel_part + 1) / p.channel_parts; ++chunk) {
    const int64_t first = chunk * W::kChannels, count = g.out_c - first < W::kChannels ? g.out_c - first : W::kChannels;
    const char* packed = static_cast<const char*>(args.packed) + chunk * kDepthwiseChunkBytes;
    r.channels = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    r.weights = packed;
    f.scale = stage.scale ? stage.scale + first : nullptr;
    f.bias = stage.bias ? stage.bias + first : nullptr;
    Spread<W::kSums>(f.scale, count, 1, constants.scale);
    Spread<W::kSums>(f.bias, count, 0, constants.bias);
    W::Prepare(stage.out, args.zero, packed + 12 * 64, constants);
    for (int64_t row = row_begin; row < row_end; ++row) {
      const int64_t n = row / g.out_h, y0 = (row - n * g.out_h) * g.stride_h - g.pad_top;
      const Element* image = static_cast<const Element*>(args.x) + n * g.in_h * g.in_w * g.in_c + first;
      for (int ky = 0; ky < 3; ++ky) {
        const int64_t iy = y0 + ky * g.dil_h;
        const bool inside = iy >= 0 && iy < g.in_h;
        r.line[ky] = inside ? image + iy * g.in_w * g.in_c : zeros;
        r.step[ky] = inside ? g.in_c : 0;
      }
      const int64_t at = row * g.out_w * g.out_c + first;
      r.y = static_cast<Element*>(args.y) + at;
      kRunRow<W>[g.stride_w - 1][stored][count == W::kChannels](r);
      for (int64_t ox = 0; ox < g.out_w && !stored; ++ox) {
        const int64_t element = at + ox * g.out_c;
        if (residual) f.residual = static_cast<const char*>(args.residual) + element * residual_bytes;
        f.y = static_cast<char*>(args.y) + element * y_bytes;
        finish(f, r.sums + ox * W::kChannels, count);
      }
    }
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
