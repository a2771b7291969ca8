// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/simd.h"

// Every tile of output pixels gets a table of pointers to its input segments (the "indirection buffer" of M. Dukhan, "The
// Indirect Convolution Algorithm", 2019), which makes all strides, dilations and paddings one kernel and copies nothing but
// the borders of whole-row segments.
namespace tfengine::cpu::TFE_SIMD {

// Accumulators plus one vector of weights per column and one broadcast fill the registers.
inline constexpr int kMaxTile = kRegisters == 32 ? 14 : kLanes == 8 ? 6 : 4;

// Where one segment starts for each pixel of a tile.
struct SegmentRow {
  const void* at[15];
  int64_t empty;  // not 0: all pixels are padding, the segment adds nothing
};

// The table of one tile: every pointer of `rows` moved by `shift` bytes.
struct TileSource {
  const SegmentRow* rows;
  int64_t shift;
};

// Whether the tile of `count` pixels reads no padding, copies nothing and lies in one output row. All such tiles read the same
// pattern, which starts *values values behind x.
TFE_INLINE bool IsInside(const DirectPlan& p, int64_t first_pixel, int64_t count, int64_t* values) {
  const ConvGeometry& g = p.g;
  *values = first_pixel * g.x_pixel;
  if (p.dense) return true;
  if (p.copies_rows) return false;
  const int64_t line = first_pixel / g.out_w, n = line / g.out_h;
  const int64_t ox = first_pixel - line * g.out_w;
  const int64_t iy = (line - n * g.out_h) * g.stride_h - g.pad_top, ix = ox * g.stride_w - g.pad_left;
  *values = ((n * g.in_h + iy) * g.in_w + ix) * g.x_pixel;
  return ox + count <= g.out_w && iy >= 0 && iy + (g.k_h - 1) * g.dil_h < g.in_h && ix >= 0 &&
         ix + (count - 1) * g.stride_w + (g.k_w - 1) * g.dil_w < g.in_w;
}

// The pattern of IsInside, in an image of in_w columns.
template <typename T>
TFE_INLINE void BuildInside(const DirectPlan& p, const T* x, int64_t in_w, SegmentRow* row) {
  const ConvGeometry& g = p.g;
  const int64_t taps = p.whole_rows ? 1 : g.k_w;
  for (int64_t ky = 0; ky < g.k_h; ++ky) {
    for (int64_t kx = 0; kx < taps; ++kx, ++row) {
      const int64_t tap = (ky * g.dil_h * in_w + kx * g.dil_w) * g.x_pixel;
      row->empty = 0;
      for (int64_t m = 0; m < kMaxTile; ++m) row->at[m] = x + tap + m * g.stride_w * g.x_pixel;
    }
  }
}

// The padded copy of a filter row's input `from` column ix on that crosses the image's left or right border, or whose pixels
// lie apart.
template <typename T>
TFE_INLINE void CopyPatch(const DirectPlan& p, const T* from, int64_t ix, T padding, T* patch) {
  const ConvGeometry& g = p.g;
  const int64_t begin = (ix < 0 ? -ix : 0) * g.in_c;
  const int64_t end = (ix + g.k_w > g.in_w ? g.in_w - ix : g.k_w) * g.in_c;
  int64_t i = 0;
  for (; i < begin; ++i) patch[i] = padding;
  if (p.copies_rows) {
    for (int64_t pixel = i / g.in_c; i < end; ++pixel) {
      for (int64_t c = 0; c < g.in_c; ++c, ++i) patch[i] = from[pixel * g.x_pixel + c];
    }
  }
  for (; i < end; ++i) patch[i] = from[i];
  for (; i < p.seg_len; ++i) patch[i] = padding;
}

// Fills the table of one tile: the input segments of `count` pixels from `first_pixel` on. `zeros`: a segment of padding.
template <typename T>
TFE_INLINE void BuildTile(const DirectPlan& p, const T* x, int64_t first_pixel, int64_t count, const T* zeros, T* patches,
                          SegmentRow* table) {
  const ConvGeometry& g = p.g;
  const int64_t taps = p.whole_rows ? 1 : g.k_w, tap_width = p.whole_rows ? g.k_w : 1, step = g.stride_w * g.x_pixel;
  int64_t line = first_pixel / g.out_w;  // output row, counted over all images
  int64_t ox = first_pixel - line * g.out_w;
  for (int64_t i = 0; i < p.seg_count; ++i) table[i].empty = 1;
  for (int64_t begin = 0, run; begin < count; begin += run, ++line, ox = 0) {  // pixels of one output row
    run = g.out_w - ox < count - begin ? g.out_w - ox : count - begin;
    const int64_t n = line / g.out_h;
    const int64_t top = (line - n * g.out_h) * g.stride_h - g.pad_top, left = ox * g.stride_w - g.pad_left;
    const T* image = x + n * g.in_h * g.in_w * g.x_pixel;
    SegmentRow* row = table;
    for (int64_t ky = 0; ky < g.k_h; ++ky) {
      const int64_t iy = top + ky * g.dil_h;
      for (int64_t kx = 0; kx < taps; ++kx, ++row) {
        const void** at = row->at + begin;
        if (iy < 0 || iy >= g.in_h) {
          for (int64_t m = 0; m < run; ++m) at[m] = zeros;
          continue;
        }
        const int64_t first = left + kx * g.dil_w;
        const T* from = image + (iy * g.in_w + first) * g.x_pixel;  // may lie outside
        for (int64_t m = 0; m < run; ++m) at[m] = from + m * step;
        bool real = false;
        auto copy = [&](int64_t m) __attribute__((always_inline)) {  // a segment not all inside, or in pieces
          const int64_t ix = first + m * g.stride_w;
          at[m] = zeros;
          if (ix + tap_width <= 0 || ix >= g.in_w) return;
          T* patch = patches + (ky * kMaxTile + begin + m) * p.seg_len;
          CopyPatch(p, from + m * step, ix, *zeros, patch);
          at[m] = patch;
          real = true;
        };
        int64_t m = 0, end = run;
        for (; m < end && (p.copies_rows || first + m * g.stride_w < 0); ++m) copy(m);
        for (; end > m && first + (end - 1) * g.stride_w + tap_width > g.in_w; --end) copy(end - 1);
        if (real || end > m) row->empty = 0;
      }
    }
  }
}

// The source of one tile: `inside`, built by BuildInside, or a table of its own in `own`.
template <typename T>
TFE_INLINE TileSource FindTile(const DirectPlan& p, const T* x, int64_t first_pixel, int64_t count, const T* zeros, T* patches,
                               const SegmentRow* inside, SegmentRow* own) {
  int64_t values;
  if (IsInside(p, first_pixel, count, &values)) return {inside, values * static_cast<int64_t>(sizeof(T))};
  BuildTile(p, x, first_pixel, count, zeros, patches, own);
  return {own, 0};
}

}  // namespace tfengine::cpu::TFE_SIMD
