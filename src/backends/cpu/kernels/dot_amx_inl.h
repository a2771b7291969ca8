// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/dot_pack_inl.h"
#include "backends/cpu/kernels/dot_task_inl.h"

// The products in tile registers (AMX): 16 pixels x tile_words words times tile_words words x 16 channels, accumulated in
// 16 x 16 sums. Two by two of them are computed together: registers 0 to 3 hold sums, 4 and 5 pixels, 6 and 7 weights.
//
// A register of pixels is loaded with one distance from pixel to pixel. Segments whose pixels do not lie so (at borders of
// the image, with strides) and incomplete tiles are copied once per block of tiles.
namespace tfengine::cpu::TFE_SIMD {

// The tile registers of this thread for products of `words` words, while it lives.
class TileRegisters {
 public:
  explicit TileRegisters(int64_t words) {
    Config c = {};
    c.palette = 1;
    for (int i = 0; i < 8; ++i) {
      c.rows[i] = static_cast<uint8_t>(i < 6 ? kTileRows : words);
      c.row_bytes[i] = static_cast<uint16_t>(i == 4 || i == 5 ? words * 4 : 64);
    }
    asm volatile("ldtilecfg %0" ::"m"(c));
  }
  ~TileRegisters() { asm volatile("tilerelease" ::: "memory"); }
  TileRegisters(const TileRegisters&) = delete;

 private:
  struct Config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
};

// Instructions are written out, because GCC's intrinsics do not say that they read memory.
template <int kTile>
TFE_INLINE void LoadRegister(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
TFE_INLINE void StoreRegister(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
TFE_INLINE void ZeroRegister() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <typename D, int kSum, int kX, int kW>
TFE_INLINE void Multiply() {
  if constexpr (D::kInteger) {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kX), "i"(kW));
  } else {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kX), "i"(kW));
  }
}

// Where the pixels of one register start in one segment.
struct TileRow {
  const char* at;
  int64_t stride;  // bytes
};
static_assert(2 * sizeof(TileRow) == kTileRowBytes);

struct TileProductsCall {
  const TileRow* rows;  // [segs][2]
  int64_t segs, steps;  // products per segment
  int64_t words;        // of a product
  const char* skip;     // segments that start here (padding of zeros) add nothing; or null
  const char* w;
  const int32_t* start;  // kInt8: of sums, [vectors][16]; null: 0
  const char* prefetch;
  int64_t prefetch_lines;  // per product
};

// kSubs x 16 pixels times kVectors vectors of channels to sums[pixel][vector][lane].
template <typename D, int kSubs, int kVectors>
__attribute__((noinline)) const char* TileProducts(const TileProductsCall& call, void* sums) {
  constexpr int64_t kRow = kVectors * 64;
  if (call.start != nullptr) {
    LoadRegister<0>(call.start, 0);
    if constexpr (kVectors == 2) LoadRegister<1>(call.start + 16, 0);
    if constexpr (kSubs == 2) LoadRegister<2>(call.start, 0);
    if constexpr (kSubs == 2 && kVectors == 2) LoadRegister<3>(call.start + 16, 0);
  } else {
    ZeroRegister<0>();
    if constexpr (kVectors == 2) ZeroRegister<1>();
    if constexpr (kSubs == 2) ZeroRegister<2>();
    if constexpr (kSubs == 2 && kVectors == 2) ZeroRegister<3>();
  }
  const int64_t x_step = call.words * 4, w_step = call.words * kRow;
  const char* w = call.w;
  const char* prefetch = call.prefetch;
  const TileRow* row = call.rows;
  for (int64_t s = call.segs; s > 0; --s, row += 2) {
    if (call.skip != nullptr && row[0].at == call.skip && (kSubs == 1 || row[1].at == call.skip)) {
      w += call.steps * w_step;
      continue;
    }
    const char* first = row[0].at;
    const char* second = kSubs == 2 ? row[1].at : nullptr;
    const int64_t first_stride = row[0].stride, second_stride = kSubs == 2 ? row[1].stride : 0;
    for (int64_t i = call.steps; i > 0; --i, w += w_step) {
      for (int64_t l = 0; l < call.prefetch_lines; ++l, prefetch += 64) __builtin_prefetch(prefetch, 0, 2);
      LoadRegister<4>(first, first_stride);
      LoadRegister<6>(w, kRow);
      Multiply<D, 0, 4, 6>();
      if constexpr (kVectors == 2) {
        LoadRegister<7>(w + 64, kRow);
        Multiply<D, 1, 4, 7>();
      }
      if constexpr (kSubs == 2) {
        LoadRegister<5>(second, second_stride);
        Multiply<D, 2, 5, 6>();
        if constexpr (kVectors == 2) Multiply<D, 3, 5, 7>();
      }
      first += x_step;
      second += x_step;
    }
  }
  char* to = static_cast<char*>(sums);
  StoreRegister<0>(to, kRow);
  if constexpr (kVectors == 2) StoreRegister<1>(to + 64, kRow);
  if constexpr (kSubs == 2) StoreRegister<2>(to + kTileRows * kRow, kRow);
  if constexpr (kSubs == 2 && kVectors == 2) StoreRegister<3>(to + kTileRows * kRow + 64, kRow);
  return prefetch;
}

// The rows of 16 pixels (or `count`) from first_pixel on, one entry per segment at to[0], to[2], ...; what must be copied goes to
// `copies`, a pixel every gather_stride bytes.
template <typename D>
void BuildTileRows(const DotPlan& plan, const typename D::Value* x, int64_t first_pixel, int64_t count, const typename D::Value* zeros,
                   typename D::Value* patches, const SegmentRow* inside, SegmentRow* tables, char* copies, TileRow* to) {
  const DirectPlan& p = plan.d;
  constexpr int64_t kHalf = 8, kValue = sizeof(typename D::Value);  // as tables have no room for 16
  int64_t values;
  if (!plan.gather && count == kTileRows && IsInside(p, first_pixel, count, &values)) {
    const int64_t stride = p.g.stride_w * p.g.x_pixel * kValue;
    for (int64_t s = 0; s < p.seg_count; ++s) to[2 * s] = {static_cast<const char*>(inside[s].at[0]) + values * kValue, stride};
    return;
  }
  const int64_t patch_values = p.whole_rows ? p.g.k_h * kMaxTile * p.seg_len : 0;
  const int64_t low = count < kHalf ? count : kHalf;
  const TileSource first = FindTile(p, x, first_pixel, low, zeros, patches, inside, tables);
  TileSource second = first;
  if (count > low) second = FindTile(p, x, first_pixel + low, count - low, zeros, patches + patch_values, inside, tables + p.seg_count);
  // In ascending order, as copies may write beyond their end.
  for (int64_t s = 0; s < p.seg_count; ++s) {
    const void* at[kTileRows];
    for (int64_t m = 0; m < low; ++m) at[m] = static_cast<const char*>(first.rows[s].at[m]) + first.shift;
    for (int64_t m = low; m < count; ++m) at[m] = static_cast<const char*>(second.rows[s].at[m - low]) + second.shift;
    for (int64_t m = count; m < kTileRows; ++m) at[m] = at[count - 1];
    char* copy = copies + s * p.seg_len * kValue;
    if (!plan.gather) {
      const int64_t stride = static_cast<const char*>(at[1]) - static_cast<const char*>(at[0]);
      bool regular = true;
      for (int64_t m = 2; m < kTileRows; ++m) {
        regular = regular && static_cast<const char*>(at[m]) - static_cast<const char*>(at[m - 1]) == stride;
      }
      to[2 * s] = regular ? TileRow{static_cast<const char*>(at[0]), stride} : TileRow{copy, plan.gather_stride};
      if (regular) continue;
    }
    CopyOperands<D>(at, 0, p.seg_len, kTileRows, copy, plan.gather_stride);
  }
  if (!plan.gather) return;
  *to = {copies, plan.gather_stride};
  const int64_t used = p.seg_count * p.seg_len * kValue, rest = plan.words * 4 - used;
  for (int64_t m = 0; m < kTileRows && rest > 0; ++m) __builtin_memset(copies + m * plan.gather_stride + used, 0, rest);
}

template <typename D, bool kResidual, int kVectors>
TFE_INLINE void WriteInRegisters(const DotCall& call, const void* sums) {
  const auto& tile = *static_cast<const typename D::Sum(*)[kTileRows][kVectors]>(sums);
  call.full ? WriteTile<kResidual, true>(call, tile) : WriteTile<kResidual, false>(call, tile);
}

template <typename D, int kVectors>
void WriteTiles(const DotCall& call, void* sums, int64_t pixels) {
  if ((call.writer == DotWriter::kStored || call.writer == DotWriter::kResidual) && pixels == kTileRows) {
    return call.writer == DotWriter::kResidual ? WriteInRegisters<D, true, kVectors>(call, sums)
                                               : WriteInRegisters<D, false, kVectors>(call, sums);
  }
  float* reals = static_cast<float*>(sums);
  if constexpr (D::kInteger) {
    const int32_t* integers = static_cast<const int32_t*>(sums);
    for (int64_t i = 0; i < pixels * kVectors * kLanes; i += kLanes) Store(reals + i, ToFloat(LoadInt(integers + i)));
  }
  if (call.writer == DotWriter::kActivated) return ActivateTile(call, reals, pixels, kVectors * kLanes);
  call.out->finish(call, reals, pixels, kVectors * kLanes);
}

// One task of a DotPlan.
template <typename D>
void TiledDotTask(const DotPlan& plan, const DotArgs& args, int64_t task, int worker) {
  using Value = typename D::Value;
  const DirectPlan& p = plan.d;
  const DotTaskView<D> view(plan, args, task);
  char* scratch = static_cast<char*>(args.scratch) + worker * p.worker_bytes;
  SegmentRow* inside = reinterpret_cast<SegmentRow*>(scratch + p.source_bytes);
  Value* zeros = reinterpret_cast<Value*>(scratch + plan.zeros_at);
  Value* patches = reinterpret_cast<Value*>(scratch + plan.patches_at);
  TileRow* rows = reinterpret_cast<TileRow*>(scratch + plan.rows_at);
  char* copies = scratch + plan.gathered_at;
  for (int64_t i = 0; i < p.seg_len; ++i) zeros[i] = view.padding;

  BuildInside(p, view.x, p.g.in_w, inside);
  char* sums = scratch + plan.sums_at;
  alignas(64) int32_t start[2 * kLanes];
  DotCall call = view.Call();
  TileProductsCall products = {};
  products.segs = plan.gather ? 1 : p.seg_count;
  products.words = plan.tile_words;
  products.steps = plan.words > 0 ? plan.words / plan.tile_words : 0;
  products.skip = !plan.gather && view.padding == 0 ? reinterpret_cast<const char*>(zeros) : nullptr;
  products.start = D::kInteger && args.zero != 0 ? start : nullptr;
  const bool copies_tiles = plan.gather || !p.dense;
  const TileRegisters registers(plan.tile_words > 0 ? plan.tile_words : 1);

  for (int64_t block = view.tile_begin; block < view.tile_end; block += p.block_tiles) {
    const int64_t tiles = view.tile_end - block < p.block_tiles ? view.tile_end - block : p.block_tiles;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t pixel = (block + t) * p.tile, count = view.Pixels(pixel);
      char* own_copies = copies + (copies_tiles ? t * p.tile * plan.gather_stride : 0);
      for (int64_t sub = 0; sub * kTileRows < count; ++sub) {
        const int64_t first = sub * kTileRows, pixels = count - first < kTileRows ? count - first : kTileRows;
        BuildTileRows<D>(plan, view.x, pixel + first, pixels, zeros, patches, inside, inside + p.seg_count,
                         own_copies + first * plan.gather_stride, rows + t * products.segs * 2 + sub);
      }
    }
    for (int64_t panel = view.panel_begin; panel < view.panel_end; ++panel) {
      const int64_t nv = view.Vectors(panel);
      view.SetPanel(panel, call);
      products.w = call.w;
      if constexpr (D::kInteger) {
        for (int64_t i = 0; i < nv * kLanes; ++i) {
          start[i] = static_cast<int32_t>(-static_cast<int64_t>(args.zero) * call.weight_sums[i]);
        }
      }
      // The next panel's weights are fetched a share per product.
      const bool fetches = tiles >= 2 && panel + 1 < view.panel_end;
      products.prefetch = call.w + nv * view.word_bytes;
      products.prefetch_lines = fetches ? (plan.tile_words * nv + tiles - 1) / tiles : 0;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t pixel = (block + t) * p.tile, count = view.Pixels(pixel);
        products.rows = rows + t * products.segs * 2;
        if (count > kTileRows) {
          products.prefetch = nv == 2 ? TileProducts<D, 2, 2>(products, sums) : TileProducts<D, 2, 1>(products, sums);
        } else {
          products.prefetch = nv == 2 ? TileProducts<D, 1, 2>(products, sums) : TileProducts<D, 1, 1>(products, sums);
        }
        for (int64_t first = 0; first < count; first += kTileRows) {
          const int64_t pixels = count - first < kTileRows ? count - first : kTileRows;
          view.SetOutput(panel, pixel + first, call);
          nv == 2 ? WriteTiles<D, 2>(call, sums + first * 128, pixels) : WriteTiles<D, 1>(call, sums + first * 64, pixels);
        }
      }
    }
  }
}

// As PackPanel, words padded with zeros.
template <typename D>
void PackTiledPanel(const void* values, int64_t row_stride, int64_t col_stride, int64_t k, int64_t columns, int64_t vectors, char* to) {
  PackPanel<D>(values, row_stride, col_stride, k, columns, vectors, to);
  const int64_t words = (k + kPerWord<D> - 1) / kPerWord<D>, steps = (words + kTileRows - 1) / kTileRows;
  const int64_t padded = steps == 0 ? 0 : (words + steps - 1) / steps * steps;
  __builtin_memset(to + words * vectors * 64, 0, (padded - words) * vectors * 64);
}

}  // namespace tfengine::cpu::TFE_SIMD
