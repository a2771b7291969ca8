// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"

// What the planning sides of the convolution tactics share.
namespace tfengine::cpu {

inline constexpr int64_t kCacheLine = 64;

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

inline constexpr int64_t kSegmentRowBytes = 128;  // of a table of input segments
inline constexpr int64_t kTileSourceBytes = 16;

// Pixels per tile: the time of a tile grows with its pixels but has a floor (too few independent sums).
int64_t ChooseTile(const ConvShape& s, int64_t pixels, int64_t max_tile);

struct Split {
  int64_t pixel_parts = 1, panel_parts = 1;
};
// How to cut tiles x panels into tasks: the longest thread's arithmetic plus what each cut makes the caches read again.
Split ChooseSplit(int64_t groups, int64_t tiles, int64_t panels, double unit_cycles, double weight_bytes, double input_bytes,
                  int threads);

// Weights read from memory cost about this many vector multiply-adds per byte.
inline constexpr double kWorkPerWeightByte = 0.3;

inline ConvGeometry GeometryOf(const ConvShape& s) {
  return {s.in_h, s.in_w, s.in_c, s.out_h, s.out_w, s.out_c, s.k_h, s.k_w, s.stride_h, s.stride_w, s.dil_h, s.dil_w, s.pad_top, s.pad_left,
          s.x_pixel > 0 ? s.x_pixel : s.in_c, s.y_pixel > 0 ? s.y_pixel : s.out_c, s.residual_pixel > 0 ? s.residual_pixel : s.out_c};
}

}  // namespace tfengine::cpu
