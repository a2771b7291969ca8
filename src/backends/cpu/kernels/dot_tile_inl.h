// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/dot_task_inl.h"

// The register tile of the products in reduced precision: `kPixels` x `kVectors` vectors of sums over words of x.
namespace tfengine::cpu::TFE_SIMD {

inline constexpr int kWordUnroll = 4;

// The output of a tile.
template <typename D, int kPixels, int kVectors>
TFE_INLINE void FinishDotTile(const DotCall& call, const typename D::Sum (&sum)[kPixels][kVectors]) {
  if constexpr (kWritesInRegisters) {
    if (call.writer == DotWriter::kStored) return call.full ? WriteTile<false, true>(call, sum) : WriteTile<false, false>(call, sum);
    if (call.writer == DotWriter::kResidual) return call.full ? WriteTile<true, true>(call, sum) : WriteTile<true, false>(call, sum);
  }
  if (call.writer == DotWriter::kSums) {
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) Store(static_cast<float*>(call.y) + m * call.y_stride + v * kLanes, D::Real(sum[m][v]));
    }
    return;
  }
  alignas(64) float buffer[kPixels * kVectors * kLanes];
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) Store(buffer + (m * kVectors + v) * kLanes, D::Real(sum[m][v]));
  }
  if (call.writer == DotWriter::kActivated) return ActivateTile(call, buffer, kPixels, kVectors * kLanes);
  call.out->finish(call, buffer, kPixels, kVectors * kLanes);
}

template <typename D, int kPixels, int kVectors>
__attribute__((noinline)) void DotTile(const DotCall& call) {
  using Sum = typename D::Sum;
  // Small tiles keep several sums per element, because a product takes several cycles and two start per cycle.
  constexpr int kChains = kPixels * kVectors >= 8 ? 1 : kPixels * kVectors >= 4 ? 2 : 4;
  constexpr int kStride = kVectors * kLanes * 4;
  Sum sum[kPixels][kVectors], more[kChains][kPixels][kVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    Sum start = D::None();
    if constexpr (D::kInteger) start = D::Start(LoadInt(call.weight_sums + v * kLanes), call.zero);
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) {
      sum[m][v] = start;
#pragma GCC unroll 4
      for (int h = 1; h < kChains; ++h) more[h][m][v] = D::None();
    }
  }

  const SegmentRow* row = call.rows;
  const char* w = call.w;
  const char* prefetch = call.prefetch;
  const int64_t step = call.prefetch_step, words = call.words, bytes = words * 4, last = call.last_word;
  for (int64_t s = call.segs; s > 0; --s, ++row) {
    if (call.skip_empty && row->empty) {
      w += words * kStride;
      continue;
    }
    const char* p[kPixels];
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) p[m] = static_cast<const char*>(row->at[m]) + call.shift;
    int64_t k = 0;
    for (; k + 4 * (kWordUnroll - 1) <= last; k += 4 * kWordUnroll) {
      __builtin_prefetch(prefetch, 0, 2);
      __builtin_prefetch(prefetch + 64, 0, 2);
      prefetch += step;
#pragma GCC unroll 4
      for (int u = 0; u < kWordUnroll; ++u) {
        VI b[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) b[v] = LoadWords(w + u * kStride + v * kLanes * 4);
#pragma GCC unroll 16
        for (int m = 0; m < kPixels; ++m) {
          const VI a = SetWord(p[m] + k + u * 4);
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) {
            Sum& to = u % kChains == 0 ? sum[m][v] : more[u % kChains][m][v];
            to = D::Dot(to, a, b[v]);
          }
        }
      }
      w += kWordUnroll * kStride;
    }
    for (; k < bytes; k += 4) {
      const int64_t at = k < last ? k : last;
      VI b[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) b[v] = LoadWords(w + v * kLanes * 4);
#pragma GCC unroll 16
      for (int m = 0; m < kPixels; ++m) {
        const VI a = SetWord(p[m] + at);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[m][v] = D::Dot(sum[m][v], a, b[v]);
      }
      w += kStride;
    }
  }
#pragma GCC unroll 4
  for (int h = 1; h < kChains; ++h) {
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[m][v] = D::Plus(sum[m][v], more[h][m][v]);
    }
  }

  FinishDotTile<D>(call, sum);
}

using DotTileFunction = void (*)(const DotCall&);

template <typename D, int kVectors>
struct DotTileTable {
  DotTileFunction entries[kMaxTile + 1];  // [m]: the tile of m pixels
  constexpr DotTileTable() : entries() { Fill<kMaxTile>(); }
  template <int m>
  constexpr void Fill() {
    if constexpr (m > 0) {
      entries[m] = &DotTile<D, m, kVectors>;
      Fill<m - 1>();
    }
  }
};

template <typename D, int kVectors>
inline constexpr DotTileTable<D, kVectors> kDotTiles;

#if defined(__AVX512F__)

// The tile of a vector and at most a half: two pixels share the second vector, so that no product is wasted on channels that
// are not there.
template <typename D, int kPixels>
__attribute__((noinline)) void DotHalfTile(const DotCall& call) {
  using Sum = typename D::Sum;
  constexpr int kPairs = (kPixels + 1) / 2;
  auto twice = [](const void* p) __attribute__((always_inline)) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  };
  Sum whole[kPixels], half[kPairs], start = D::None(), half_start = D::None();
  if constexpr (D::kInteger) {
    start = D::Start(LoadInt(call.weight_sums), call.zero);
    half_start = D::Start(twice(call.weight_sums + kLanes), call.zero);
  }
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m) whole[m] = start;
#pragma GCC unroll 16
  for (int i = 0; i < kPairs; ++i) half[i] = half_start;

  const SegmentRow* row = call.rows;
  const char* w = call.w;
  const int64_t bytes = call.words * 4, last = call.last_word;
  for (int64_t s = call.segs; s > 0; --s, ++row) {
    if (call.skip_empty && row->empty) {
      w += bytes * 2 * kLanes;
      continue;
    }
    const char* p[kPixels];
#pragma GCC unroll 16
    for (int m = 0; m < kPixels; ++m) p[m] = static_cast<const char*>(row->at[m]) + call.shift;
    auto add = [&](int64_t at, const char* weights) __attribute__((always_inline)) {
      const VI b = LoadWords(weights), b_half = twice(weights + kLanes * 4);
#pragma GCC unroll 16
      for (int i = 0; i < kPairs; ++i) {
        VI both = SetWord(p[2 * i] + at);
        whole[2 * i] = D::Dot(whole[2 * i], both, b);
        if (2 * i + 1 < kPixels) {
          const VI second = SetWord(p[2 * i + 1] + at);
          whole[2 * i + 1] = D::Dot(whole[2 * i + 1], second, b);
          both = _mm512_mask_blend_epi32(0xff00, both, second);
        }
        half[i] = D::Dot(half[i], both, b_half);
      }
    };
    int64_t k = 0;
    for (; k + 4 * (kWordUnroll - 1) <= last; k += 4 * kWordUnroll, w += kWordUnroll * 8 * kLanes) {
#pragma GCC unroll 4
      for (int u = 0; u < kWordUnroll; ++u) add(k + u * 4, w + u * 8 * kLanes);
    }
    for (; k < bytes; k += 4, w += 8 * kLanes) add(k < last ? k : last, w);
  }

  Sum sum[kPixels][2];
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m) {
    sum[m][0] = whole[m];
    sum[m][1] = m % 2 == 0 ? half[m / 2] : (Sum)_mm512_shuffle_i64x2((VI)half[m / 2], (VI)half[m / 2], 0x4e);
  }
  FinishDotTile<D>(call, sum);
}

template <typename D>
struct DotHalfTileTable {
  DotTileFunction entries[kMaxTile + 1];  // [m]: the tile of m pixels
  constexpr DotHalfTileTable() : entries() { Fill<kMaxTile>(); }
  template <int m>
  constexpr void Fill() {
    if constexpr (m > 0) {
      entries[m] = &DotHalfTile<D, m>;
      Fill<m - 1>();
    }
  }
};

template <typename D>
inline constexpr DotHalfTileTable<D> kDotHalfTiles;

// The tiles of a panel of `width` channels.
template <typename D>
TFE_INLINE const DotTileFunction* DotTilesOf(int64_t width) {
  if (width > kLanes && width <= kLanes + kLanes / 2) return kDotHalfTiles<D>.entries;
  return width > kLanes ? kDotTiles<D, 2>.entries : kDotTiles<D, 1>.entries;
}

#else

template <typename D>
TFE_INLINE const DotTileFunction* DotTilesOf(int64_t width) {
  return width > kLanes ? kDotTiles<D, 2>.entries : kDotTiles<D, 1>.entries;
}

#endif

// One task of a DotPlan.
template <typename D>
void DotTask(const DotPlan& plan, const DotArgs& args, int64_t task, int worker) {
  using Value = typename D::Value;
  const DirectPlan& p = plan.d;
  const DotTaskView<D> view(plan, args, task);

  char* scratch = static_cast<char*>(args.scratch) + worker * p.worker_bytes;
  TileSource* sources = reinterpret_cast<TileSource*>(scratch);
  SegmentRow* inside = reinterpret_cast<SegmentRow*>(scratch + p.source_bytes);
  SegmentRow* tables = inside + p.seg_count;
  SegmentRow* rows = reinterpret_cast<SegmentRow*>(scratch + plan.rows_at);
  Value* zeros = reinterpret_cast<Value*>(scratch + plan.zeros_at);
  Value* patches = reinterpret_cast<Value*>(scratch + plan.patches_at);
  for (int64_t i = 0; i < (p.dense ? 0 : p.seg_len); ++i) zeros[i] = view.padding;

  const int64_t patch_values = p.whole_rows ? p.g.k_h * kMaxTile * p.seg_len : 0;
  BuildInside(p, view.x, p.g.in_w, inside);

  DotCall call = view.Call();
  call.segs = plan.gather ? 1 : p.seg_count;
  call.words = plan.words;
  call.last_word = plan.last_word;
  call.skip_empty = !plan.gather && view.padding == 0;

  for (int64_t block = view.tile_begin; block < view.tile_end; block += p.block_tiles) {
    const int64_t tiles = view.tile_end - block < p.block_tiles ? view.tile_end - block : p.block_tiles;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t pixel = (block + t) * p.tile;
      const int64_t count = view.Pixels(pixel);
      if (!plan.gather) {
        sources[t] = FindTile(p, view.x, pixel, count, zeros, patches + t * patch_values, inside, tables + t * p.seg_count);
        continue;
      }
      const TileSource from = FindTile(p, view.x, pixel, count, zeros, patches, inside, tables);
      rows[t].empty = 0;
      sources[t] = {rows + t, 0};
      char* to = scratch + plan.gathered_at + t * p.tile * plan.gather_stride;
      for (int64_t m = 0; m < count; ++m) {
        rows[t].at[m] = to + m * plan.gather_stride;
        if (plan.words > 0) __builtin_memset(to + m * plan.gather_stride + plan.words * 4 - 4, 0, 4);  // pads the last word
      }
      // In ascending order, as copies may write beyond their end.
      for (int64_t s = 0; s < p.seg_count; ++s, to += p.seg_len * static_cast<int64_t>(sizeof(typename D::Operand))) {
        CopyOperands<D>(from.rows[s].at, from.shift, p.seg_len, count, to, plan.gather_stride);
      }
    }
    for (int64_t panel = view.panel_begin; panel < view.panel_end; ++panel) {
      const int64_t nv = view.Vectors(panel);
      view.SetPanel(panel, call);
      const DotTileFunction* tile_functions = DotTilesOf<D>(call.width);
      // The next panel's weights are fetched a share per tile.
      const char* next = call.w + nv * view.word_bytes;
      const char* next_end = panel + 1 < view.panel_end && tiles >= 2 ? next + nv * view.word_bytes : next;
      const int64_t step = tiles >= 4 * nv ? 64 : 128;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t pixel = (block + t) * p.tile;
        call.rows = sources[t].rows;
        call.shift = sources[t].shift;
        view.SetOutput(panel, pixel, call);
        call.prefetch_step = next < next_end ? step : 0;
        call.prefetch = next < next_end ? next : call.w;
        next += call.segs * (plan.words / kWordUnroll) * step;
        tile_functions[view.Pixels(pixel)](call);
      }
    }
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
