// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv_tile_inl.h"

// The register tile of a vector and a half of output channels: two pixels share the second vector, so that no product is
// wasted on channels that are not there. The half of the weights is loaded twice into one register.
namespace tfengine::cpu::TFE_SIMD {

#if defined(__AVX512F__)

template <int kPixels>
__attribute__((noinline)) void HalfTile(const TileCall& call) {
  constexpr int kPairs = (kPixels + 1) / 2;
  constexpr __mmask16 kUpper = 0xff00;
  const int64_t ldc = call.ldc;
  const VTail low_half = call.tail, high_half = static_cast<VTail>(call.tail << 8);
  // Of the second vector: the first pixel's channels in the first half, the second's in the other.
  auto load = [=](const float* first, const float* second) __attribute__((always_inline)) {
    return _mm512_mask_loadu_ps(Load(first + kLanes, low_half), high_half, second + kLanes / 2);
  };
  VF sum[kPixels], half[kPairs];
  const float* bias = call.first ? call.bias : nullptr;
  const VF start = bias ? Load(bias) : Zero(), half_start = bias ? load(bias, bias) : Zero();
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m) sum[m] = start;
#pragma GCC unroll 16
  for (int i = 0; i < kPairs; ++i) half[i] = half_start;
  if (const float* from = call.first ? call.residual : call.c; from != nullptr) {
    const int64_t ld = call.first ? call.ld_residual : call.ldc;
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) sum[m] = Add(sum[m], Load(from + m * ld));
#pragma GCC unroll 16
    for (int i = 0; i < kPairs; ++i) {
      const int second = 2 * i + 1 < kPixels ? 2 * i + 1 : 2 * i;
      half[i] = Add(half[i], load(from + 2 * i * ld, from + second * ld));
    }
  }

  const SegmentRow* row = call.rows;
  const float* segment_weights = call.w;
  const int64_t len = call.len, step = call.prefetch_step;
  const char* prefetch = call.prefetch;
  for (int64_t s = call.segs; s > 0; --s, ++row, segment_weights += call.seg_stride * 2 * kLanes) {
    if (row->empty) continue;
    const float* w = segment_weights;
    const float* p[kPixels];
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) {
      p[m] = reinterpret_cast<const float*>(static_cast<const char*>(row->at[call.row_shift + m]) + call.shift);
    }
    auto add = [&](int64_t k, const float* weights) __attribute__((always_inline)) {
      const VF b = Load(weights), b_half = _mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_loadu_pd(reinterpret_cast<const double*>(weights + kLanes))));
#pragma GCC unroll 16
      for (int i = 0; i < kPairs; ++i) {
        const VF first = Set(p[2 * i][k]);
        sum[2 * i] = Fma(first, b, sum[2 * i]);
        VF both = first;
        if (2 * i + 1 < kPixels) {
          const VF second = Set(p[2 * i + 1][k]);
          sum[2 * i + 1] = Fma(second, b, sum[2 * i + 1]);
          both = _mm512_mask_blend_ps(kUpper, first, second);
        }
        half[i] = Fma(both, b_half, half[i]);
      }
    };
    int64_t k = 0;
    for (; k + kUnroll <= len; k += kUnroll) {
      __builtin_prefetch(prefetch, 0, 2);
      __builtin_prefetch(prefetch + 64, 0, 2);
      prefetch += step;
#pragma GCC unroll 8
      for (int u = 0; u < kUnroll; ++u) add(k + u, w + u * 2 * kLanes);
      w += kUnroll * 2 * kLanes;
    }
    for (; k < len; ++k, w += 2 * kLanes) add(k, w);
  }

  const VF low = Set(call.low), high = Set(call.high);
  const bool last = call.last;
  auto bounded = [=](VF v) __attribute__((always_inline)) { return last ? Min(high, Max(low, v)) : v; };
  float* c = call.c;
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m, c += ldc) {
    Store(c, bounded(sum[m]));
    if (m % 2 == 0) {
      half[m / 2] = bounded(half[m / 2]);
      Store(c + kLanes, half[m / 2], low_half);
    } else {
      Store(c + kLanes / 2, half[m / 2], high_half);
    }
  }
}

struct HalfTileTable {
  TileFunction entries[kMaxTile + 1];  // [m]: the tile of m pixels
  constexpr HalfTileTable() : entries() { Fill<kMaxTile>(); }
  template <int m>
  constexpr void Fill() {
    if constexpr (m > 0) {
      entries[m] = &HalfTile<m>;
      Fill<m - 1>();
    }
  }
};
inline constexpr HalfTileTable kHalfTiles;

TFE_INLINE void RunHalfTile(int64_t pixels, const TileCall& call) { kHalfTiles.entries[pixels](call); }

#else

TFE_INLINE void RunHalfTile(int64_t pixels, TileCall& call) { RunTile(2, pixels, call); }

#endif

}  // namespace tfengine::cpu::TFE_SIMD
