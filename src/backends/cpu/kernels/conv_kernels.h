// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"

// The parts of the convolutions that are compiled once per instruction set, and the plain structs that describe the
// work to them. Only plain data crosses this line: see simd.h.
namespace tfengine::cpu {

struct ConvArgs;

// Geometry of one image and its filter.
struct ConvGeometry {
  int64_t in_h, in_w, in_c;
  int64_t out_h, out_w, out_c;
  int64_t k_h, k_w, stride_h, stride_w, dil_h, dil_w, pad_top, pad_left;
  int64_t x_pixel, y_pixel, residual_pixel;  // elements from one pixel to the next
};

// A direct convolution as a matrix product: rows are output pixels (all images in a row), columns output channels of
// one group, and the reduction runs over segments: stretches of `seg_len` input values that lie together in memory
// for every pixel. Columns are cut into panels of one to three vectors, rows into tiles of `tile` pixels.
struct DirectPlan {
  ConvGeometry g;
  int64_t group_in, group_out;
  bool dense;                     // 1x1, stride 1, no padding
  bool whole_rows;                // a segment is a whole filter row (k_w * in_c values), else one tap
  bool copies_rows;               // whole rows do not lie together in x: each is copied
  int64_t seg_count, seg_len;
  int64_t pixels, tile, tiles;
  int64_t vectors, panels;        // per group
  bool half_last;                 // the last panel is a vector and a half (conv_half_tile_inl.h)
  int64_t groups, pixel_parts, panel_parts;
  bool panels_inside;             // order of tasks: the panel part varies fastest
  int64_t block_tiles;            // tiles that share one pass over the weights
  int64_t block_segs, seg_parts;  // reduction block: block_segs segments, or one of seg_parts parts of one segment
  int64_t part_len;
  int64_t padded_rows;            // output rows whose input is copied with its padding before they are computed; 0: none
  int64_t padded_w;               // columns of such a copy
  // Per worker scratch: sources of a block's tiles, the table of tiles inside the image, others' tables, zeros, patches or copy.
  int64_t source_bytes, table_bytes, zero_bytes, worker_bytes;
  int64_t tasks;
};

// A convolution with one input channel per group. Tasks are ranges of output rows (of all images) times ranges of
// output channel vectors.
struct DepthwisePlan {
  ConvGeometry g;
  int64_t rows;        // batch * out_h
  int64_t multiplier;  // output channels per input channel
  int64_t columns;     // output columns per step
  int64_t vectors;     // of output channels; packed is [tap][vectors]
  int64_t row_parts, channel_parts;
  int last_parts;      // of conv_depthwise_window_inl.h: rows at once of the last vectors
};

inline constexpr int64_t kMaxDepthwiseTaps = 256;
inline constexpr int64_t kMaxDepthwiseColumns = 8;

// The tiles of Winograd's F(m_y x m_x, r_y x r_x): m_y x m_x outputs from n_y x n_x inputs, n = m + r - 1. An axis without a
// filter has m = n = 1.
struct WinogradTile {
  int64_t m_y, m_x, n_y, n_x;
  int64_t positions() const { return n_y * n_x; }
};

// n interpolation points: 0, infinity, and these with both signs.
template <int n>
struct WinogradPoints {};
template <>
struct WinogradPoints<4> {
  static constexpr double at[1] = {1};
};
template <>
struct WinogradPoints<6> {
  static constexpr double at[2] = {0.75, 1.5};
};
template <>
struct WinogradPoints<8> {
  static constexpr double at[3] = {0.5, 1, 1.75};
};

// A convolution of stride 1 by Winograd's algorithm: at each position, tiles x in_c times in_c x out_c is multiplied. A task is
// a block of tiles times a range of panels.
struct WinogradPlan {
  ConvGeometry g;
  WinogradTile tile;
  int64_t tiles_y, tiles_x, tiles;  // per image; over all images
  int64_t blocks, panel_parts;
  int64_t block_tiles;              // most tiles of a block
  int64_t row_tiles;                // tiles per register tile
  int64_t vectors, panels;          // of output channels; panels as in DirectPlan
  int64_t padded_in;                // in_c rounded up to vectors
  // Per worker scratch: block whose transformed input it holds (-1: none), zeros, transformed input, products, tables.
  int64_t zero_offset, input_offset, product_offset, table_offset, worker_bytes;
};

struct ConvKernels {
  CpuIsa isa;
  int lanes;     // floats per vector
  int max_tile;  // most pixels per tile
  void (*direct)(const DirectPlan& plan, const ConvArgs& args, int64_t task, int worker);
  void (*depthwise)(const DepthwisePlan& plan, const ConvArgs& args, int64_t task, float* zeros);
  void (*winograd)(const WinogradPlan& plan, const ConvArgs& args, int64_t task, int worker);
  void (*activate)(const Activation& activation, const float* x, float* y, int64_t n);
};

const ConvKernels& ConvKernelsPortable();
const ConvKernels& ConvKernelsAvx2();
const ConvKernels& ConvKernelsAvx512();

}  // namespace tfengine::cpu
