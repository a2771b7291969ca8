// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/conv_tile_inl.h"

// Direct convolution: one task of a DirectPlan. Every tile of output pixels gets a table of pointers to its input
// segments (the "indirection buffer" of M. Dukhan, "The Indirect Convolution Algorithm", 2019), which makes all strides,
// dilations and paddings one kernel and copies nothing but the borders of whole-row segments.
namespace tfengine::cpu::TFE_SIMD {

// The zero-padded copy of a filter row's input that crosses the image's left or right border.
TFE_INLINE void CopyPatch(const DirectPlan& p, const float* image, int64_t iy, int64_t ix, float* patch) {
  const ConvGeometry& g = p.g;
  const int64_t begin = (ix < 0 ? -ix : 0) * g.in_c;
  const int64_t end = (ix + g.k_w > g.in_w ? g.in_w - ix : g.k_w) * g.in_c;
  const float* from = image + (iy * g.in_w + ix) * g.in_c;
  for (int64_t i = 0; i < p.seg_len; ++i) patch[i] = i >= begin && i < end ? from[i] : 0.0f;
}

// Fills the table of one tile: the input segments of `count` pixels from `first_pixel` on.
TFE_INLINE void BuildTile(const DirectPlan& p, const float* x, int64_t first_pixel, int64_t count,
                          const float* zeros, float* patches, SegmentRow* row) {
  const ConvGeometry& g = p.g;
  if (p.dense) {  // 1x1, stride 1: input pixels are output pixels
    row->empty = 0;
    for (int64_t m = 0; m < count; ++m) row->at[m] = x + (first_pixel + m) * g.in_c;
    return;
  }
  const float* image[kMaxTile];
  const float* origin[kMaxTile];  // where tap (0, 0) reads, may lie outside
  int64_t y0[kMaxTile], x0[kMaxTile];
  int64_t y_min = INT64_MAX, y_max = INT64_MIN, x_min = INT64_MAX, x_max = INT64_MIN;
  int64_t line = first_pixel / g.out_w;  // output row, counted over all images
  int64_t ox = first_pixel - line * g.out_w;
  for (int64_t m = 0; m < count; ++line, ox = 0) {
    const int64_t n = line / g.out_h;
    const int64_t run_end = m + (g.out_w - ox < count - m ? g.out_w - ox : count - m);
    const int64_t iy = (line - n * g.out_h) * g.stride_h - g.pad_top;
    int64_t ix = ox * g.stride_w - g.pad_left;
    const float* at = x + n * g.in_h * g.in_w * g.in_c;
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
          float* patch = patches + (ky * kMaxTile + m) * p.seg_len;
          CopyPatch(p, image[m], iy, ix, patch);
          row->at[m] = patch;
        }
      }
      row->empty = real == 0;
    }
  }
}

void DirectTask(const DirectPlan& p, const ConvArgs& args, int64_t task, int worker_index) {
  const ConvGeometry& g = p.g;
  const int64_t per_group = p.pixel_parts * p.panel_parts;
  const int64_t group = task / per_group;
  task -= group * per_group;
  const int64_t pixel_part = p.panels_inside ? task / p.panel_parts : task % p.pixel_parts;
  const int64_t panel_part = p.panels_inside ? task % p.panel_parts : task / p.pixel_parts;
  const int64_t tile_begin = p.tiles * pixel_part / p.pixel_parts;
  const int64_t tile_end = p.tiles * (pixel_part + 1) / p.pixel_parts;
  const int64_t panel_begin = p.panels * panel_part / p.panel_parts;
  const int64_t panel_end = p.panels * (panel_part + 1) / p.panel_parts;

  char* scratch = static_cast<char*>(args.scratch) + worker_index * p.worker_bytes;
  SegmentRow* table = reinterpret_cast<SegmentRow*>(scratch);
  float* zeros = reinterpret_cast<float*>(scratch + p.table_bytes);
  float* patches = reinterpret_cast<float*>(scratch + p.table_bytes + p.zero_bytes);
  __builtin_memset(zeros, 0, p.zero_bytes);

  const int64_t k_total = p.seg_count * p.seg_len;
  const float* weights = static_cast<const float*>(args.packed) + group * k_total * p.vectors * kLanes;
  const float* x = args.x + group * p.group_in;
  const int64_t out_first = group * p.group_out;
  const int64_t patch_floats = p.whole_rows ? g.k_h * kMaxTile * p.seg_len : 0;
  const int64_t k_blocks = p.seg_parts > 1 ? p.seg_count * p.seg_parts : (p.seg_count + p.block_segs - 1) / p.block_segs;

  TileCall call;
  call.row_shift = 0;
  call.ldc = g.out_c;
  const bool clip = IsClip(args.activation, &call.low, &call.high);

  for (int64_t block = tile_begin; block < tile_end; block += p.block_tiles) {
    const int64_t tiles = tile_end - block < p.block_tiles ? tile_end - block : p.block_tiles;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t pixel = (block + t) * p.tile;
      const int64_t count = p.pixels - pixel < p.tile ? p.pixels - pixel : p.tile;
      BuildTile(p, x, pixel, count, zeros, patches + t * patch_floats, table + t * p.seg_count);
    }
    for (int64_t kb = 0; kb < k_blocks; ++kb) {
      int64_t seg = kb * p.block_segs, segs = p.block_segs;
      int64_t offset = 0, len = p.seg_len;
      if (p.seg_parts > 1) {
        seg = kb / p.seg_parts;
        segs = 1;
        offset = (kb % p.seg_parts) * p.part_len;
        len = p.seg_len - offset < p.part_len ? p.seg_len - offset : p.part_len;
      } else if (seg + segs > p.seg_count) {
        segs = p.seg_count - seg;
      }
      call.segs = segs;
      call.len = len;
      call.offset = offset;
      call.seg_stride = p.seg_len;
      call.first = kb == 0;
      call.last = kb + 1 == k_blocks;
      for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
        // All panels have two vectors, but the last has three if the number is odd (one if there is only one).
        const int64_t vector = panel * 2;
        const int64_t nv = panel + 1 == p.panels ? p.vectors - vector : 2;
        const int64_t channel = out_first + vector * kLanes;
        const int64_t width = p.group_out - vector * kLanes < nv * kLanes ? p.group_out - vector * kLanes : nv * kLanes;
        call.tail = Tail(width - (nv - 1) * kLanes);
        call.full = width == nv * kLanes;
        call.w = weights + vector * kLanes * k_total + (seg * p.seg_len + offset) * nv * kLanes;
        call.bias = args.bias ? args.bias + channel : nullptr;
        // The weights that come next, fetched a share per tile: the next panel's, or the next reduction block's of the
        // first panel.
        const int64_t lines = segs * len * nv * kLanes * 4 / 64;
        const float* next = call.w + k_total * nv * kLanes;
        if (panel + 1 == panel_end) {
          const int64_t next_nv = panel_begin + 1 == p.panels ? p.vectors - panel_begin * 2 : 2;
          const int64_t k = p.seg_parts > 1 ? (kb + 1) / p.seg_parts * p.seg_len + (kb + 1) % p.seg_parts * p.part_len : (seg + segs) * p.seg_len;
          next = call.last ? call.w : weights + panel_begin * 2 * kLanes * k_total + k * next_nv * kLanes;
        }
        call.prefetch_step = tiles >= 2 && lines > 128 ? (tiles >= 4 * nv ? 64 : 128) : 0;
        for (int64_t t = 0; t < tiles; ++t) {
          const int64_t pixel = (block + t) * p.tile;
          const int64_t count = p.pixels - pixel < p.tile ? p.pixels - pixel : p.tile;
          call.rows = table + t * p.seg_count + seg;
          const int64_t at = pixel * g.out_c + channel;
          call.c = args.y + at;
          call.residual = args.residual ? args.residual + at : nullptr;
          call.prefetch = reinterpret_cast<const char*>(next) + t * segs * (len / kUnroll) * call.prefetch_step;
          RunTile(static_cast<int>(nv), count, call);
          if (call.last && !clip) {
            for (int64_t m = 0; m < count; ++m) {
              ActivateRange(args.activation, call.c + m * g.out_c, call.c + m * g.out_c, width);
            }
          }
        }
      }
    }
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
