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

// Whether the tile of `count` pixels reads no padding and lies in one output row. All such tiles read the same pattern, which
// starts *values values behind x.
TFE_INLINE bool IsInside(const DirectPlan& p, int64_t first_pixel, int64_t count, int64_t* values) {
  const ConvGeometry& g = p.g;
  *values = first_pixel * g.in_c;
  if (p.dense) return true;
  const int64_t line = first_pixel / g.out_w, n = line / g.out_h;
  const int64_t ox = first_pixel - line * g.out_w;
  const int64_t iy = (line - n * g.out_h) * g.stride_h - g.pad_top, ix = ox * g.stride_w - g.pad_left;
  *values = ((n * g.in_h + iy) * g.in_w + ix) * g.in_c;
  return ox + count <= g.out_w && iy >= 0 && iy + (g.k_h - 1) * g.dil_h < g.in_h && ix >= 0 &&
         ix + (count - 1) * g.stride_w + (g.k_w - 1) * g.dil_w < g.in_w;
}

// The pattern of IsInside.
template <typename T>
TFE_INLINE void BuildInside(const DirectPlan& p, const T* x, SegmentRow* row) {
  const ConvGeometry& g = p.g;
  const int64_t taps = p.whole_rows ? 1 : g.k_w;
  for (int64_t ky = 0; ky < g.k_h; ++ky) {
    for (int64_t kx = 0; kx < taps; ++kx, ++row) {
      const int64_t tap = (ky * g.dil_h * g.in_w + kx * g.dil_w) * g.in_c;
      row->empty = 0;
      for (int64_t m = 0; m < kMaxTile; ++m) row->at[m] = x + tap + m * g.stride_w * g.in_c;
    }
  }
}

// The padded copy of a filter row's input that crosses the image's left or right border.
template <typename T>
TFE_INLINE void CopyPatch(const DirectPlan& p, const T* image, int64_t iy, int64_t ix, T padding, T* patch) {
  const ConvGeometry& g = p.g;
  const int64_t begin = (ix < 0 ? -ix : 0) * g.in_c;
  const int64_t end = (ix + g.k_w > g.in_w ? g.in_w - ix : g.k_w) * g.in_c;
  const T* from = image + (iy * g.in_w + ix) * g.in_c;
  for (int64_t i = 0; i < p.seg_len; ++i) patch[i] = i >= begin && i < end ? from[i] : padding;
}

// Fills the table of one tile: the input segments of `count` pixels from `first_pixel` on. `zeros`: a segment of padding.
template <typename T>
TFE_INLINE void BuildTile(const DirectPlan& p, const T* x, int64_t first_pixel, int64_t count, const T* zeros, T* patches,
                          SegmentRow* row) {
  const ConvGeometry& g = p.g;
  const T* image[kMaxTile];
  const T* origin[kMaxTile];  // where tap (0, 0) reads, may lie outside
  int64_t y0[kMaxTile], x0[kMaxTile];
  int64_t y_min = INT64_MAX, y_max = INT64_MIN, x_min = INT64_MAX, x_max = INT64_MIN;
  int64_t line = first_pixel / g.out_w;  // output row, counted over all images
  int64_t ox = first_pixel - line * g.out_w;
  for (int64_t m = 0; m < count; ++line, ox = 0) {
    const int64_t n = line / g.out_h;
    const int64_t run_end = m + (g.out_w - ox < count - m ? g.out_w - ox : count - m);
    const int64_t iy = (line - n * g.out_h) * g.stride_h - g.pad_top;
    int64_t ix = ox * g.stride_w - g.pad_left;
    const T* at = x + n * g.in_h * g.in_w * g.in_c;
    const int64_t row_offset = iy * g.in_w;
    y_min = iy < y_min ? iy : y_min;
    y_max = iy > y_max ? iy : y_max;
    x_min = ix < x_min ? ix : x_min;
    for (; m < run_end; ++m, ix += g.stride_w) {
      image[m] = at;
      y0[m] = iy;
      x0[m] = ix;
      origin[m] = at + (row_offset + ix) * g.in_c;
    }
    x_max = ix - g.stride_w > x_max ? ix - g.stride_w : x_max;
  }
  const int64_t taps = p.whole_rows ? 1 : g.k_w;
  const int64_t tap_width = p.whole_rows ? g.k_w : 1;
  for (int64_t ky = 0; ky < g.k_h; ++ky) {
    const int64_t dy = ky * g.dil_h;
    for (int64_t kx = 0; kx < taps; ++kx, ++row) {
      const int64_t dx = kx * g.dil_w;
      row->empty = 0;
      if (y_min + dy >= 0 && y_max + dy < g.in_h && x_min + dx >= 0 && x_max + dx + tap_width <= g.in_w) {
        const int64_t delta = (dy * g.in_w + dx) * g.in_c;
        for (int64_t m = 0; m < count; ++m) row->at[m] = origin[m] + delta;
        continue;
      }
      int64_t real = 0;
      for (int64_t m = 0; m < count; ++m) {
        const int64_t iy = y0[m] + dy, ix = x0[m] + dx;
        row->at[m] = zeros;
        if (iy < 0 || iy >= g.in_h || ix + tap_width <= 0 || ix >= g.in_w) continue;
        ++real;
        if (ix >= 0 && ix + tap_width <= g.in_w) {
          row->at[m] = image[m] + (iy * g.in_w + ix) * g.in_c;
        } else {
          T* patch = patches + (ky * kMaxTile + m) * p.seg_len;
          CopyPatch(p, image[m], iy, ix, *zeros, patch);
          row->at[m] = patch;
        }
      }
      row->empty = real == 0;
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
