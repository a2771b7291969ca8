// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/format_simd.h"

// The transforms of Winograd convolutions, whatever their products are made of.
namespace tfengine::cpu::TFE_SIMD {

// The polynomials of B^T, from the constant term: products of x^2 - p^2 over the points p, all[..] of all points, but[i] of all
// but the i-th.
template <int n>
struct WinogradPolynomials {
  static constexpr int kPairs = n / 2 - 1;
  float all[kPairs + 1] = {};
  float but[kPairs][kPairs] = {};
  constexpr WinogradPolynomials() {
    for (int skip = -1; skip < kPairs; ++skip) {
      double c[kPairs + 1] = {1};
      int degree = 0;
      for (int i = 0; i < kPairs; ++i) {
        if (i == skip) continue;
        const double p = WinogradPoints<n>::at[i];
        ++degree;
        for (int k = degree; k >= 0; --k) c[k] = (k > 0 ? c[k - 1] : 0) - (k < degree ? p * p * c[k] : 0);
      }
      for (int k = 0; k <= degree; ++k) (skip < 0 ? all : but[skip])[k] = static_cast<float>(c[k]);
    }
  }
};

// B^T of the input transform, applied to one line of n vectors.
template <int n>
TFE_INLINE void InputLine(const VF (&d)[n], VF (&t)[n]) {
  if constexpr (n == 1) {
    t[0] = d[0];
  } else {
    constexpr WinogradPolynomials<n> polynomials;
    constexpr int kPairs = n / 2 - 1;
    VF first = d[n - 2], last = d[n - 1];
#pragma GCC unroll 8
    for (int k = kPairs - 1; k >= 0; --k) {
      first = Fma(Set(polynomials.all[k]), d[2 * k], first);
      last = Fma(Set(polynomials.all[k]), d[2 * k + 1], last);
    }
    t[0] = first;
    t[n - 1] = last;
#pragma GCC unroll 8
    for (int i = 0; i < kPairs; ++i) {
      VF even = d[n - 2], odd = d[n - 3];
#pragma GCC unroll 8
      for (int k = kPairs - 2; k >= 0; --k) {
        even = Fma(Set(polynomials.but[i][k]), d[2 * k + 2], even);
        odd = Fma(Set(polynomials.but[i][k]), d[2 * k + 1], odd);
      }
      odd = Mul(Set(static_cast<float>(WinogradPoints<n>::at[i])), odd);
      t[1 + 2 * i] = Add(even, odd);
      t[2 + 2 * i] = Sub(even, odd);
    }
  }
}

// A^T: at[k][i] is the k-th power of the i-th point.
template <int m, int n>
struct WinogradPowers {
  float at[m][n / 2 - 1] = {};
  constexpr WinogradPowers() {
    for (int i = 0; i < n / 2 - 1; ++i) {
      double power = 1;
      for (int k = 0; k < m; ++k, power *= WinogradPoints<n>::at[i]) at[k][i] = static_cast<float>(power);
    }
  }
};

// A^T of the output transform: n vectors to m.
template <int m, int n>
TFE_INLINE void OutputLine(const VF (&d)[n], VF (&y)[m]) {
  if constexpr (n == 1) {
    y[0] = d[0];
  } else {
    constexpr WinogradPowers<m, n> powers;
    constexpr int kPairs = n / 2 - 1;
    VF plus[kPairs], minus[kPairs];
#pragma GCC unroll 8
    for (int i = 0; i < kPairs; ++i) {
      plus[i] = Add(d[1 + 2 * i], d[2 + 2 * i]);
      minus[i] = Sub(d[1 + 2 * i], d[2 + 2 * i]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < m; ++k) {
      VF sum = k == 0 ? d[0] : k == m - 1 ? d[n - 1] : Zero();
#pragma GCC unroll 8
      for (int i = kPairs - 1; i >= 0; --i) {
        const VF term = k % 2 == 0 ? plus[i] : minus[i];
        sum = powers.at[k][i] == 1 ? Add(sum, term) : Fma(Set(powers.at[k][i]), term, sum);
      }
      y[k] = sum;
    }
  }
}

// The transformed inputs of one tile, in f32 and rounded to what is stored: v[position * plane + channel], whole vectors.
template <int n_y, int n_x, Storage storage>
TFE_INLINE void TransformInput(const typename Stored<storage>::Element* const* pixels, int64_t channels,
                               typename Stored<storage>::Element* v, int64_t plane) {
  const Stored<storage> stored({});
  for (int64_t c = 0; c < channels; c += kLanes) {
    const VTail tail = Tail(channels - c);
    const bool whole = channels - c >= kLanes;
    VF t[n_y][n_x];
#pragma GCC unroll 8
    for (int x = 0; x < n_x; ++x) {
      VF d[n_y], column[n_y];
#pragma GCC unroll 8
      for (int y = 0; y < n_y; ++y) d[y] = whole ? stored.Read(pixels[y * n_x + x] + c) : stored.Read(pixels[y * n_x + x] + c, tail);
      InputLine<n_y>(d, column);
#pragma GCC unroll 8
      for (int y = 0; y < n_y; ++y) t[y][x] = column[y];
    }
#pragma GCC unroll 8
    for (int y = 0; y < n_y; ++y) {
      VF row[n_x];
      InputLine<n_x>(t[y], row);
#pragma GCC unroll 8
      for (int x = 0; x < n_x; ++x) stored.Write(v + (y * n_x + x) * plane + c, row[x]);
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
  return {n, (line - n * p.tiles_y) * p.tile.m_y, (tile - line * p.tiles_x) * p.tile.m_x};
}

template <int n_y, int n_x, Storage storage>
__attribute__((noinline)) void TransformBlock(const WinogradPlan& p, const typename Stored<storage>::Element* x, int64_t first,
                                              int64_t count, const typename Stored<storage>::Element* zeros,
                                              typename Stored<storage>::Element* v) {
  const ConvGeometry& g = p.g;
  for (int64_t t = 0; t < count; ++t) {
    const TilePlace place = PlaceOf(p, first + t);
    const auto* image = x + place.n * g.in_h * g.in_w * g.x_pixel;
    const typename Stored<storage>::Element* pixels[n_y * n_x];
    for (int y = 0; y < n_y; ++y) {
      const int64_t iy = place.y + y - g.pad_top;
      for (int i = 0; i < n_x; ++i) {
        const int64_t ix = place.x + i - g.pad_left;
        const bool inside = iy >= 0 && iy < g.in_h && ix >= 0 && ix < g.in_w;
        pixels[y * n_x + i] = inside ? image + (iy * g.in_w + ix) * g.x_pixel : zeros;
      }
    }
    TransformInput<n_y, n_x, storage>(pixels, g.in_c, v + t * p.padded_in, p.block_tiles * p.padded_in);
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
