// SPDX-License-Identifier: Apache-2.0
#pragma once

// 3x3 depthwise convolution with instructions that add up products inside 32-bit lanes. The values of the three input rows of
// a column are interleaved once, so that a lane holds one channel's column of the window (bytes; bf16 needs two lanes, the
// second half empty) and is multiplied with a filter column at once. Unpacking spreads channels over vectors: lane l of sums k
// of n has channel 4 * n * (l / 4) + 4 * k + l % 4; packing sums to outputs undoes exactly that. Weights, scales and biases
// are in the same order. A last chunk of few channels takes two or four rows at once: their values lie side by side in the
// vectors, each row in kParts-th of the 64 bytes. A window type W has:
//   Element, kStorage, kChannels of a chunk (64 bytes), kSums vectors of sums,
//   Interleave, Add (words times weights), Start (what sums begin with), Real (sums as f32), Outputs (stored like inputs),
//   Activated (null, or what writes a row's sums, left in the order of vectors, through the activation), Fits (which it asks
//   of the constants of all channels)
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

inline constexpr int kMaxParts = 4;

// Where the sums of a column go.
enum RowTarget {
  kRowSums,     // sums, channels in order
  kRowVectors,  // sums, vector by vector
  kRowOutputs,  // y, by Outputs()
};

// One or more output rows of a chunk.
template <typename W>
struct DepthwiseRow {
  const char* line[3][kMaxParts];  // of the chunk's first channel, at column 0
  int64_t step[3][kMaxParts];      // bytes between columns; 0: a row of padding
  int64_t in_w, out_w, pad_left;
  uint64_t bytes;                  // bit i: byte i of a part exists
  Words padding;                   // of a column
  const char* weights;             // [column of the filter][vector]
  const ChunkConstants* constants;
  char* y[kMaxParts];              // null: no such row
  int64_t y_step;                  // bytes between columns
  float* sums;                     // [column][kChannels], if outputs are not stored like inputs
  typename W::Bounds bounds;
};

template <int kParts, bool kFull>
TFE_INLINE VI LoadParts(const char* const* line, const int64_t* step, int64_t ix, uint64_t bytes) {
  if constexpr (kParts == 1) {
    const char* p = line[0] + ix * step[0];
    return kFull ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(bytes, p);
  } else if constexpr (kParts == 2) {
    __m256i half[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const char* p = line[i] + ix * step[i];
      half[i] = kFull ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)) : _mm256_maskz_loadu_epi8(static_cast<__mmask32>(bytes), p);
    }
    return _mm512_inserti64x4(_mm512_castsi256_si512(half[0]), half[1], 1);
  } else {
    __m128i quarter[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const char* p = line[i] + ix * step[i];
      quarter[i] = kFull ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)) : _mm_maskz_loadu_epi8(static_cast<__mmask16>(bytes), p);
    }
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(quarter[0]), quarter[1], 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(quarter[2]), quarter[3], 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
}

template <int kParts, bool kFull>
TFE_INLINE void StoreParts(char* const* y, int64_t at, uint64_t bytes, VI v) {
  if constexpr (kParts == 1) {
    kFull ? _mm512_storeu_si512(y[0] + at, v) : _mm512_mask_storeu_epi8(y[0] + at, bytes, v);
  } else if constexpr (kParts == 2) {
    const __m256i half[2] = {_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)};
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      if (y[i] != nullptr) _mm256_mask_storeu_epi8(y[i] + at, static_cast<__mmask32>(bytes), half[i]);
  } else {
    const __m128i quarter[4] = {_mm512_castsi512_si128(v), _mm512_extracti32x4_epi32(v, 1), _mm512_extracti32x4_epi32(v, 2),
                                _mm512_extracti32x4_epi32(v, 3)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      if (y[i] != nullptr) _mm_mask_storeu_epi8(y[i] + at, static_cast<__mmask16>(bytes), quarter[i]);
  }
}

template <typename W, int kParts, bool kFull>
TFE_INLINE Words Column(const DepthwiseRow<W>& r, int64_t ix) {
  if (ix < 0 || ix >= r.in_w) return r.padding;
  auto load = [&](int ky) __attribute__((always_inline)) { return LoadParts<kParts, kFull>(r.line[ky], r.step[ky], ix, r.bytes); };
  return W::Interleave(load(0), load(1), load(2));
}

template <typename W, int kParts, RowTarget kTarget, bool kFull>
TFE_INLINE void FinishColumn(const DepthwiseRow<W>& r, const typename W::Sums& sum, int64_t ox) {
  if constexpr (kTarget == kRowOutputs) {
    StoreParts<kParts, kFull>(r.y, ox * r.y_step, r.bytes, W::Outputs(sum, *r.constants, r.bounds));
  } else if constexpr (kTarget == kRowVectors) {
#pragma GCC unroll 4
    for (int k = 0; k < W::kSums; ++k) Store(r.sums + ox * W::kChannels + k * kLanes, W::Real(sum, k));
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
template <typename W, int kParts, int kStride, RowTarget kTarget, bool kFull>
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
  W::Add(a, Column<W, kParts, kFull>(r, ix++), w[0]);
  if constexpr (kStride == 2) {
    for (int64_t ox = 0; ox < r.out_w; ++ox) {
      W::Add(a, Column<W, kParts, kFull>(r, ix++), w[1]);
      const Words x = Column<W, kParts, kFull>(r, ix++);
      W::Add(a, x, w[2]);
      FinishColumn<W, kParts, kTarget, kFull>(r, a, ox);
      a = W::Start(*r.constants);
      W::Add(a, x, w[0]);
    }
  } else {
    Sums b = W::Start(*r.constants), c;
    {
      const Words x = Column<W, kParts, kFull>(r, ix++);
      W::Add(a, x, w[1]);
      W::Add(b, x, w[0]);
    }
    // Completes output ox in `first`.
    auto step = [&](int64_t ox, Sums& first, Sums& second, Sums& third) __attribute__((always_inline)) {
      const Words x = Column<W, kParts, kFull>(r, ix++);
      W::Add(first, x, w[2]);
      W::Add(second, x, w[1]);
      third = W::Start(*r.constants);
      W::Add(third, x, w[0]);
      FinishColumn<W, kParts, kTarget, kFull>(r, first, ox);
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
using RunRowFunction = void (*)(const DepthwiseRow<W>&);
template <typename W, int kParts>
inline constexpr RunRowFunction<W> kRunRow[2][3][2] = {  // [stride - 1][target][full]
    {{RunRow<W, kParts, 1, kRowSums, false>, RunRow<W, kParts, 1, kRowSums, true>},
     {RunRow<W, kParts, 1, kRowVectors, false>, RunRow<W, kParts, 1, kRowVectors, true>},
     {RunRow<W, kParts, 1, kRowOutputs, false>, RunRow<W, kParts, 1, kRowOutputs, true>}},
    {{RunRow<W, kParts, 2, kRowSums, false>, RunRow<W, kParts, 2, kRowSums, true>},
     {RunRow<W, kParts, 2, kRowVectors, false>, RunRow<W, kParts, 2, kRowVectors, true>},
     {RunRow<W, kParts, 2, kRowOutputs, false>, RunRow<W, kParts, 2, kRowOutputs, true>}}};

template <typename W>
using ActivateRowFunction = void (*)(const DepthwiseRow<W>& r, const OutputStage& stage);

// The `count` channels from p in the order of the vectors, once for each part; `missing` beyond them and where p is null.
template <int kSums>
TFE_INLINE void Spread(const float* p, int64_t count, int parts, float missing, float (&to)[4][16]) {
  alignas(64) float channels[16 * kSums];
  const int width = 16 * kSums / parts;
  for (int i = 0; i < width; i += kLanes) {
    const VTail tail = p == nullptr || count <= i ? Tail(0) : Tail(count - i);
    Store(channels + i, _mm512_mask_loadu_ps(Set(missing), tail, p + i));
  }
  for (int i = width; i < 16 * kSums; ++i) channels[i] = channels[i - width];
#pragma GCC unroll 16
  for (int j = 0; j < 4 * kSums; ++j) _mm_store_ps(to[j % kSums] + j / kSums * 4, _mm_load_ps(channels + 4 * j));
}

template <typename W>
void DepthwiseWindowTask(const DepthwisePlan& p, const DotArgs& args, int64_t task, char* scratch) {
  constexpr int64_t kBytes = sizeof(typename W::Element);
  const ConvGeometry& g = p.g;
  const OutputStage& stage = *args.stage;
  const int64_t row_part = task / p.channel_parts, channel_part = task % p.channel_parts;
  const int64_t row_begin = p.rows * row_part / p.row_parts, row_end = p.rows * (row_part + 1) / p.row_parts;
  DepthwiseFinish f;
  f.stage = &stage;
  f.clip = IsClip(stage.activation, &f.low, &f.high);
  const bool own = args.residual == nullptr && stage.out.storage == W::kStorage;
  const bool activated = own && !f.clip && W::template Activated<1>(stage) != nullptr && W::Fits(stage, g.out_c);
  const RowTarget target = own && f.clip ? kRowOutputs : activated ? kRowVectors : kRowSums;
  const int residual = args.residual ? 1 + static_cast<int>(stage.residual.storage) : 0;
  const FinishDepthwiseFunction finish = kFinishDepthwise[residual][static_cast<int>(stage.out.storage)];
  const int64_t residual_bytes = BytesOf(stage.residual.storage), y_bytes = BytesOf(stage.out.storage);

  ChunkConstants constants;
  DepthwiseRow<W> r;
  const VI padding = W::Padding(args.zero);
  _mm512_storeu_si512(scratch, padding);
  r.padding = {{padding, padding, padding, padding}};
  r.in_w = g.in_w, r.out_w = g.out_w, r.pad_left = g.pad_left, r.y_step = g.y_pixel * kBytes;
  r.constants = &constants;
  r.sums = reinterpret_cast<float*>(scratch + 64);
  r.bounds = W::MakeBounds(stage.out, f.low, f.high);
  for (int64_t chunk = p.vectors * channel_part / p.channel_parts; chunk < p.vectors * (channel_part + 1) / p.channel_parts; ++chunk) {
    const int64_t first = chunk * W::kChannels, count = g.out_c - first < W::kChannels ? g.out_c - first : W::kChannels;
    const char* packed = static_cast<const char*>(args.packed) + chunk * kDepthwiseChunkBytes;
    const int parts = chunk + 1 == p.vectors ? p.last_parts : 1;
    const int64_t width = W::kChannels / parts;
    r.bytes = count * kBytes == 64 ? ~uint64_t{0} : (uint64_t{1} << count * kBytes) - 1;
    r.weights = packed;
    f.scale = stage.scale ? stage.scale + first : nullptr;
    f.bias = stage.bias ? stage.bias + first : nullptr;
    Spread<W::kSums>(f.scale, count, parts, 1, constants.scale);
    Spread<W::kSums>(f.bias, count, parts, 0, constants.bias);
    W::Prepare(stage.out, args.zero, packed + 12 * 64, target == kRowOutputs, constants);
    const auto& functions = parts == 4 ? kRunRow<W, 4> : parts == 2 ? kRunRow<W, 2> : kRunRow<W, 1>;
    const auto run = functions[g.stride_w - 1][target][count == width];
    const ActivateRowFunction<W> activate = !activated   ? nullptr
                                            : parts == 4 ? W::template Activated<4>(stage)
                                            : parts == 2 ? W::template Activated<2>(stage)
                                                         : W::template Activated<1>(stage);
    for (int64_t row = row_begin; row < row_end; row += parts) {
      const int rows = row_end - row < parts ? static_cast<int>(row_end - row) : parts;
      for (int i = 0; i < parts; ++i) {
        const int64_t n = (row + i) / g.out_h, y0 = (row + i - n * g.out_h) * g.stride_h - g.pad_top;
        const char* image = static_cast<const char*>(args.x) + (n * g.in_h * g.in_w * g.x_pixel + first) * kBytes;
        for (int ky = 0; ky < 3; ++ky) {
          const int64_t iy = y0 + ky * g.dil_h;
          const bool inside = i < rows && iy >= 0 && iy < g.in_h;
          r.line[ky][i] = inside ? image + iy * g.in_w * g.x_pixel * kBytes : scratch;
          r.step[ky][i] = inside ? g.x_pixel * kBytes : 0;
        }
        r.y[i] = i < rows ? static_cast<char*>(args.y) + ((row + i) * g.out_w * g.y_pixel + first) * y_bytes : nullptr;
      }
      run(r);
      if (activate != nullptr) activate(r, stage);
      for (int64_t j = 0; j < rows * g.out_w && target == kRowSums; ++j) {
        const int64_t i = j / g.out_w, ox = j - i * g.out_w, pixel = (row + i) * g.out_w + ox;
        if (residual) f.residual = static_cast<const char*>(args.residual) + (pixel * g.residual_pixel + first) * residual_bytes;
        f.y = static_cast<char*>(args.y) + (pixel * g.y_pixel + first) * y_bytes;
        finish(f, r.sums + ox * W::kChannels + i * width, count);
      }
    }
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
