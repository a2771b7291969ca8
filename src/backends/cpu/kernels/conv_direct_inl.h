// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/conv_half_tile_inl.h"
#include "backends/cpu/kernels/conv_tile_inl.h"

// Direct convolution: one task of a DirectPlan.
namespace tfengine::cpu::TFE_SIMD {

// The input of output rows [line, end), counted over all images but of one, with its padding.
struct PaddedRows {
  float* rows;
  int64_t line, end;
};

// Rows from `line` on, at most p.padded_rows and not beyond last_line.
__attribute__((noinline)) void CopyPaddedRows(const DirectPlan& p, const float* x, int64_t line, int64_t last_line, PaddedRows* to) {
  const ConvGeometry& g = p.g;
  const int64_t n = line / g.out_h, oy = line - n * g.out_h;
  int64_t count = p.padded_rows < g.out_h - oy ? p.padded_rows : g.out_h - oy;
  if (count > last_line + 1 - line) count = last_line + 1 - line;
  to->line = line;
  to->end = line + count;
  const int64_t top = oy * g.stride_h - g.pad_top, rows = (count - 1) * g.stride_h + (g.k_h - 1) * g.dil_h + 1;
  const int64_t width = p.padded_w * g.in_c, left = (g.pad_left < p.padded_w ? g.pad_left : p.padded_w) * g.in_c;
  const int64_t middle = g.in_w * g.in_c < width - left ? g.in_w * g.in_c : width - left;
  float* row = to->rows;
  for (int64_t i = 0; i < rows; ++i, row += width) {
    const int64_t iy = top + i;
    if (iy < 0 || iy >= g.in_h) {
      __builtin_memset(row, 0, width * sizeof(float));
      continue;
    }
    const float* from = x + (n * g.in_h + iy) * g.in_w * g.in_c;
    for (int64_t k = 0; k < left; ++k) row[k] = 0;
    for (int64_t k = 0; k < middle; k += kLanes) {
      const VTail tail = Tail(middle - k);
      Store(row + left + k, Load(from + k, tail), tail);
    }
    for (int64_t k = left + middle; k < width; ++k) row[k] = 0;
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
  TileSource* sources = reinterpret_cast<TileSource*>(scratch);
  scratch += p.source_bytes;
  SegmentRow* inside = reinterpret_cast<SegmentRow*>(scratch);
  SegmentRow* tables = inside + p.seg_count;
  float* zeros = reinterpret_cast<float*>(scratch + p.table_bytes);
  float* patches = reinterpret_cast<float*>(scratch + p.table_bytes + p.zero_bytes);
  __builtin_memset(zeros, 0, p.zero_bytes);

  const int64_t k_total = p.seg_count * p.seg_len;
  const float* weights = static_cast<const float*>(args.packed) + group * k_total * p.vectors * kLanes;
  const float* x = args.x + group * p.group_in;
  PaddedRows padded = {patches, 0, 0};
  BuildInside(p, p.padded_rows ? padded.rows : x, p.padded_rows ? p.padded_w : g.in_w, inside);
  const int64_t out_first = group * p.group_out;
  const int64_t patch_floats = p.whole_rows ? g.k_h * kMaxTile * p.seg_len : 0;
  const int64_t k_blocks = p.seg_parts > 1 ? p.seg_count * p.seg_parts : (p.seg_count + p.block_segs - 1) / p.block_segs;

  TileCall call;
  call.row_shift = 0;
  call.ldc = g.y_pixel;
  call.ld_residual = g.residual_pixel;
  const bool clip = IsClip(args.activation, &call.low, &call.high);

  for (int64_t block = tile_begin; block < tile_end; block += p.block_tiles) {
    const int64_t tiles = tile_end - block < p.block_tiles ? tile_end - block : p.block_tiles;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t pixel = (block + t) * p.tile;
      const int64_t count = p.pixels - pixel < p.tile ? p.pixels - pixel : p.tile;
      if (p.padded_rows) {  // a tile lies within one row
        const int64_t line = pixel / g.out_w;
        if (line >= padded.end) CopyPaddedRows(p, x, line, (tile_end * p.tile - 1) / g.out_w, &padded);
        const int64_t value = ((line - padded.line) * g.stride_h * p.padded_w + (pixel - line * g.out_w) * g.stride_w) * g.in_c;
        sources[t] = {inside, value * static_cast<int64_t>(sizeof(float))};
        continue;
      }
      sources[t] = FindTile(p, x, pixel, count, zeros, patches + t * patch_floats, inside, tables + t * p.seg_count);
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
          call.rows = sources[t].rows + seg;
          call.shift = sources[t].shift + offset * static_cast<int64_t>(sizeof(float));
          call.c = args.y + pixel * g.y_pixel + channel;
          call.residual = args.residual ? args.residual + pixel * g.residual_pixel + channel : nullptr;
          call.prefetch = reinterpret_cast<const char*>(next) + t * segs * (len / kUnroll) * call.prefetch_step;
          if (p.half_last && panel + 1 == p.panels) {
            RunHalfTile(count, call);
          } else {
            RunTile(static_cast<int>(nv), count, call);
          }
          if (call.last && !clip) {
            for (int64_t m = 0; m < count; ++m) {
              ActivateRange(args.activation, call.c + m * g.y_pixel, call.c + m * g.y_pixel, width);
            }
          }
        }
      }
    }
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
