// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/format_simd.h"

// The transforms of Winograd convolutions, whatever their products are made of.
namespace tfengine::cpu::TFE_SIMD {

// B^T of the input transform, applied to one line of m + 2 vectors.
template <int m>
TFE_INLINE void InputLine(const VF (&d)[m + 2], VF (&t)[m + 2]) {
  if constexpr (m == 2) {
    t[0] = Sub(d[0], d[2]);
    t[1] = Add(d[1], d[2]);
    t[2] = Sub(d[2], d[1]);
    t[3] = Sub(d[3], d[1]);
  } else {
    constexpr float a = kWinogradA, b = kWinogradB;
    const VF aa = Set(a * a), bb = Set(b * b), aabb = Set(a * a * b * b), sum = Set(a * a + b * b);
    const VF even_a = Fnma(bb, d[2], d[4]), odd_a = Mul(Set(a), Fnma(bb, d[1], d[3]));
    const VF even_b = Fnma(aa, d[2], d[4]), odd_b = Mul(Set(b), Fnma(aa, d[1], d[3]));
    t[0] = Fma(aabb, d[0], Fnma(sum, d[2], d[4]));
    t[1] = Add(even_a, odd_a);
    t[2] = Sub(even_a, odd_a);
    t[3] = Add(even_b, odd_b);
    t[4] = Sub(even_b, odd_b);
    t[5] = Fma(aabb, d[1], Fnma(sum, d[3], d[5]));
  }
}

// A^T of the output transform.
template <int m>
TFE_INLINE void OutputLine(const VF (&d)[m + 2], VF (&y)[m]) {
  const VF plus = Add(d[1], d[2]), minus = Sub(d[1], d[2]);
  if constexpr (m == 2) {
    y[0] = Add(d[0], plus);
    y[1] = Add(minus, d[3]);
  } else {
    constexpr float a = kWinogradA, b = kWinogradB;
    const VF plus_b = Add(d[3], d[4]), minus_b = Sub(d[3], d[4]);
    y[0] = Add(d[0], Add(plus, plus_b));
    y[1] = Fma(Set(a), minus, Mul(Set(b), minus_b));
    y[2] = Fma(Set(a * a), plus, Mul(Set(b * b), plus_b));
    y[3] = Fma(Set(a * a * a), minus, Fma(Set(b * b * b), minus_b, d[5]));
  }
}

// The transformed inputs of one tile, in f32 and rounded to what is stored: v[position * plane + channel], whole vectors.
template <int m, Storage storage>
TFE_INLINE void TransformInput(const typename Stored<storage>::Element* const* pixels, int64_t channels,
                               typename Stored<storage>::Element* v, int64_t plane) {
  constexpr int n = m + 2;
  const Stored<storage> stored({});
  for (int64_t c = 0; c < channels; c += kLanes) {
    const VTail tail = Tail(channels - c);
    const bool whole = channels - c >= kLanes;
    VF t[n][n];
#pragma GCC unroll 8
    for (int x = 0; x < n; ++x) {
      VF d[n], column[n];
#pragma GCC unroll 8
      for (int y = 0; y < n; ++y) d[y] = whole ? stored.Read(pixels[y * n + x] + c) : stored.Read(pixels[y * n + x] + c, tail);
      InputLine<m>(d, column);
#pragma GCC unroll 8
      for (int y = 0; y < n; ++y) t[y][x] = column[y];
    }
#pragma GCC unroll 8
    for (int y = 0; y < n; ++y) {
      VF row[n];
      InputLine<m>(t[y], row);
#pragma GCC unroll 8
      for (int x = 0; x < n; ++x) stored.Write(v + (y * n + x) * plane + c, row[x]);
    }
  }
}

// The place of a tile: image, and output row and column of its corner.
struct TilePlace {
  int64_t n, y, x;
};

TFE_INLINE TilePlace PlaceOf(const WinogradPlan& p, int64_t tile) {
  const int64_t line = tile / p.tiles_x;
  const int64_t n = line / p.tiles_y;
  return {n, (line - n * p.tiles_y) * p.m, (tile - line * p.tiles_x) * p.m};
}

template <int m, Storage storage>
__attribute__((noinline)) void TransformBlock(const WinogradPlan& p, const typename Stored<storage>::Element* x, int64_t first,
                                              int64_t count, const typename Stored<storage>::Element* zeros,
                                              typename Stored<storage>::Element* v) {
  constexpr int n = m + 2;
  const ConvGeometry& g = p.g;
  for (int64_t t = 0; t < count; ++t) {
    const TilePlace place = PlaceOf(p, first + t);
    const auto* image = x + place.n * g.in_h * g.in_w * g.in_c;
    const typename Stored<storage>::Element* pixels[n * n];
    for (int y = 0; y < n; ++y) {
      const int64_t iy = place.y + y - g.pad_top;
      for (int i = 0; i < n; ++i) {
        const int64_t ix = place.x + i - g.pad_left;
        const bool inside = iy >= 0 && iy < g.in_h && ix >= 0 && ix < g.in_w;
        pixels[y * n + i] = inside ? image + (iy * g.in_w + ix) * g.in_c : zeros;
      }
    }
    TransformInput<m, storage>(pixels, g.in_c, v + t * p.padded_in, p.block_tiles * p.padded_in);
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
