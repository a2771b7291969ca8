// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv_table_inl.h"
#include "backends/cpu/kernels/simd.h"

// The register tile of the convolutions: `pixels` x `nv` vectors of output channels, accumulated over input segments.
namespace tfengine::cpu::TFE_SIMD {

inline constexpr int kUnroll = 4;

struct TileCall {
  const SegmentRow* rows;
  int64_t row_shift;          // the tile's first pixel in each row
  int64_t shift;              // bytes from where the rows point to the first values
  int64_t segs, len;          // segments; values used of each
  int64_t seg_stride;         // values of a whole segment in w
  const float* w;             // [segment][value][nv vectors]
  float* c;
  int64_t ldc, ld_residual;
  const float* bias;      // null: none
  const float* residual;  // of c's shape; null: none; may be c
  float low, high;        // applied in the last reduction block
  bool first, last;       // first: starts with bias and residual, else with c; last: bounds are applied
  bool full;              // the last vector is whole
  VTail tail;             // its valid lanes
  const char* prefetch;   // read-ahead of other weights
  int64_t prefetch_step;
};

// kFull: the last vector is whole.
template <bool kFull, int kPixels, int kVectors>
TFE_INLINE void StartTile(const TileCall& call, VF (&sum)[kPixels][kVectors]) {
  const int64_t ld = call.first ? call.ld_residual : call.ldc;
  const VTail tail = call.tail;
  auto load = [=](const float* at, int v) __attribute__((always_inline)) {
    return kFull || v + 1 < kVectors ? Load(at + v * kLanes) : Load(at + v * kLanes, tail);
  };
  const float* bias = call.first ? call.bias : nullptr;
  const float* from = call.first ? call.residual : call.c;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const VF start = bias == nullptr ? Zero() : load(bias, v);
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) sum[m][v] = start;
  }
  if (from == nullptr) return;
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m, from += ld) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[m][v] = Add(sum[m][v], load(from, v));
  }
}

// Bounds and stores. Nothing is read from `call` between stores, which could change it for all the compiler knows.
template <bool kFull, int kPixels, int kVectors>
TFE_INLINE void FinishTile(const TileCall& call, const VF (&sum)[kPixels][kVectors]) {
  const int64_t ldc = call.ldc;
  const VTail tail = call.tail;
  float* c = call.c;
  auto store = [=](float* at, int v, VF value) __attribute__((always_inline)) {
    kFull || v + 1 < kVectors ? Store(at + v * kLanes, value) : Store(at + v * kLanes, value, tail);
  };
  if (!call.last) {
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m, c += ldc) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) store(c, v, sum[m][v]);
    }
    return;
  }
  const VF low = Set(call.low), high = Set(call.high);
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m, c += ldc) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(c, v, Min(high, Max(low, sum[m][v])));
  }
}

template <int kPixels, int kVectors>
__attribute__((noinline)) void Tile(const TileCall& call) {
  VF sum[kPixels][kVectors];
  call.full ? StartTile<true>(call, sum) : StartTile<false>(call, sum);

  const SegmentRow* row = call.rows;
  const float* segment_weights = call.w;
  const int64_t len = call.len;
  const int64_t step = call.prefetch_step;
  const char* prefetch = call.prefetch;
  for (int64_t s = call.segs; s > 0; --s, ++row, segment_weights += call.seg_stride * kVectors * kLanes) {
    if (row->empty) continue;
    const float* w = segment_weights;
    const float* p[kPixels];
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) {
      p[m] = reinterpret_cast<const float*>(static_cast<const char*>(row->at[call.row_shift + m]) + call.shift);
    }
    int64_t k = 0;
    for (; k + kUnroll <= len; k += kUnroll) {
      __builtin_prefetch(prefetch, 0, 2);
      __builtin_prefetch(prefetch + 64, 0, 2);
      prefetch += step;
#pragma GCC unroll 8
      for (int u = 0; u < kUnroll; ++u) {
        VF b[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) b[v] = Load(w + (u * kVectors + v) * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < kPixels; ++m) {
          const VF a = Set(p[m][k + u]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) sum[m][v] = Fma(a, b[v], sum[m][v]);
        }
      }
      w += kUnroll * kVectors * kLanes;
    }
    for (; k < len; ++k) {
      VF b[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) b[v] = Load(w + v * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < kPixels; ++m) {
        const VF a = Set(p[m][k]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[m][v] = Fma(a, b[v], sum[m][v]);
      }
      w += kVectors * kLanes;
    }
  }

  call.full ? FinishTile<true>(call, sum) : FinishTile<false>(call, sum);
}

using TileFunction = void (*)(const TileCall&);

template <int kVectors, int kPixels>
struct TileTable {
  // entries[m]: the tile of m pixels.
  TileFunction entries[kPixels + 1];
  constexpr TileTable() : entries() { Fill<kPixels>(); }
  template <int m>
  constexpr void Fill() {
    if constexpr (m > 0) {
      entries[m] = &Tile<m, kVectors>;
      Fill<m - 1>();
    }
  }
};

inline constexpr TileTable<1, kMaxTile> kTiles1;
inline constexpr TileTable<2, kMaxTile> kTiles2;
inline constexpr TileTable<3, (kMaxTile + 1) / 2> kTiles3;

// One tile of `pixels` (at most kMaxTile) and nv (1 to 3) vectors.
TFE_INLINE void RunTile(int nv, int64_t pixels, TileCall& call) {
  if (nv == 2) return kTiles2.entries[pixels](call);
  if (nv == 1) return kTiles1.entries[pixels](call);
  if (pixels <= (kMaxTile + 1) / 2) return kTiles3.entries[pixels](call);
  // Three vectors leave registers for half the pixels: two calls.
  const int64_t half = (pixels + 1) / 2;
  kTiles3.entries[half](call);
  TileCall rest = call;
  rest.row_shift = half;
  rest.c += half * call.ldc;
  if (call.residual) rest.residual = call.residual + half * call.ld_residual;
  kTiles3.entries[pixels - half](rest);
}

}  // namespace tfengine::cpu::TFE_SIMD
