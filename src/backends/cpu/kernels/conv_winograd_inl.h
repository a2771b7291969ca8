// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/conv_tile_inl.h"
#include "backends/cpu/kernels/conv_winograd_transform_inl.h"

// Winograd convolution: one task of a WinogradPlan. Input transform of a block of tiles (kept from the worker's task
// before, if that was the same block), products per position, output transform, panel by panel.
namespace tfengine::cpu::TFE_SIMD {

struct WinogradOutput {
  const float* product;  // of one tile and vector, position planes apart
  int64_t plane;
  float* y;
  const float* residual;
  int64_t row, column;  // distance of output rows and columns
  int64_t residual_row, residual_column;
  int64_t height, width;
  VF bias;
  float low, high;
  VTail tail;
};

template <int m_y, int n_y, int m_x, int n_x>
TFE_INLINE void TransformOutput(const WinogradOutput& o) {
  VF t[m_y][n_x];
#pragma GCC unroll 8
  for (int x = 0; x < n_x; ++x) {
    VF d[n_y], column[m_y];
#pragma GCC unroll 8
    for (int y = 0; y < n_y; ++y) d[y] = Load(o.product + (y * n_x + x) * o.plane);
    OutputLine<m_y, n_y>(d, column);
#pragma GCC unroll 8
    for (int y = 0; y < m_y; ++y) t[y][x] = column[y];
  }
  const VF low = Set(o.low), high = Set(o.high);
#pragma GCC unroll 8
  for (int y = 0; y < m_y; ++y) {
    VF row[m_x];
    OutputLine<m_x, n_x>(t[y], row);
    if (y >= o.height) return;
#pragma GCC unroll 8
    for (int x = 0; x < m_x; ++x) {
      if (x >= o.width) break;
      VF sum = Add(row[x], o.bias);
      if (o.residual != nullptr) sum = Add(sum, Load(o.residual + y * o.residual_row + x * o.residual_column, o.tail));
      Store(o.y + y * o.row + x * o.column, Min(high, Max(low, sum)), o.tail);
    }
  }
}

// The outputs of tiles [first, first + count) in channels [channel, channel + channels) from the products of that panel.
template <int m_y, int n_y, int m_x, int n_x>
__attribute__((noinline)) void FinishBlock(const WinogradPlan& p, const ConvArgs& args, int64_t first, int64_t count, const float* product,
                                           int64_t width, int64_t channel, int64_t channels) {
  const ConvGeometry& g = p.g;
  WinogradOutput out;
  const bool clip = IsClip(args.activation, &out.low, &out.high);
  out.row = g.out_w * g.y_pixel;
  out.column = g.y_pixel;
  out.residual_row = g.out_w * g.residual_pixel;
  out.residual_column = g.residual_pixel;
  out.plane = p.block_tiles * width;
  for (int64_t t = 0; t < count; ++t) {
    const TilePlace place = PlaceOf(p, first + t);
    const int64_t pixel = (place.n * g.out_h + place.y) * g.out_w + place.x;
    float* y = args.y + pixel * g.y_pixel + channel;
    const float* residual = args.residual ? args.residual + pixel * g.residual_pixel + channel : nullptr;
    out.height = g.out_h - place.y;
    out.width = g.out_w - place.x;
    for (int64_t c = 0; c < channels; c += kLanes) {
      out.tail = Tail(channels - c);
      out.product = product + t * width + c;
      out.y = y + c;
      out.residual = residual ? residual + c : nullptr;
      out.bias = args.bias ? Load(args.bias + channel + c, out.tail) : Zero();
      TransformOutput<m_y, n_y, m_x, n_x>(out);
    }
    if (clip) continue;
    for (int64_t i = 0; i < m_y && i < out.height; ++i) {
      for (int64_t j = 0; j < m_x && j < out.width; ++j) {
        float* at = y + i * out.row + j * out.column;
        ActivateRange(args.activation, at, at, channels);
      }
    }
  }
}

// The transforms of one kind of tile.
struct WinogradForm {
  int64_t m_y, n_y, m_x, n_x;
  void (*input)(const WinogradPlan& p, const float* x, int64_t first, int64_t count, const float* zeros, float* v);
  void (*output)(const WinogradPlan& p, const ConvArgs& args, int64_t first, int64_t count, const float* product, int64_t width,
                 int64_t channel, int64_t channels);
};

template <int m_y, int n_y, int m_x, int n_x>
inline constexpr WinogradForm kWinogradForm = {
    m_y, n_y, m_x, n_x, &TransformBlock<n_y, n_x, Storage::kF32>, &FinishBlock<m_y, n_y, m_x, n_x>};

// As WinogradTileOf gives them.
inline constexpr WinogradForm kWinogradForms[] = {
    kWinogradForm<2, 4, 2, 4>, kWinogradForm<4, 6, 4, 6>,                             // 3x3
    kWinogradForm<2, 6, 2, 6>, kWinogradForm<4, 8, 4, 8>,                             // 5x5
    kWinogradForm<1, 1, 4, 6>, kWinogradForm<1, 1, 4, 8>, kWinogradForm<1, 1, 2, 8>,  // rows of 3, 5, 7
    kWinogradForm<4, 6, 1, 1>, kWinogradForm<4, 8, 1, 1>, kWinogradForm<2, 8, 1, 1>,  // columns
};

void WinogradTask(const WinogradPlan& p, const ConvArgs& args, int64_t task, int worker) {
  const WinogradForm* form = kWinogradForms;
  while (form->m_y != p.tile.m_y || form->n_y != p.tile.n_y || form->m_x != p.tile.m_x || form->n_x != p.tile.n_x) ++form;
  const int64_t positions = p.tile.n_y * p.tile.n_x;
  const ConvGeometry& g = p.g;
  // Neighbouring tasks are different blocks: threads start apart and stay with a block.
  const int64_t block = task % p.blocks, part = task / p.blocks;
  const int64_t first = p.tiles * block / p.blocks;
  const int64_t count = p.tiles * (block + 1) / p.blocks - first;
  const int64_t row_calls = (count + p.row_tiles - 1) / p.row_tiles;
  char* scratch = static_cast<char*>(args.scratch) + worker * p.worker_bytes;
  int64_t* held = reinterpret_cast<int64_t*>(scratch);
  float* zeros = reinterpret_cast<float*>(scratch + p.zero_offset);
  float* input = reinterpret_cast<float*>(scratch + p.input_offset);
  float* product = reinterpret_cast<float*>(scratch + p.product_offset);
  SegmentRow* table = reinterpret_cast<SegmentRow*>(scratch + p.table_offset);
  if (*held != block) {
    __builtin_memset(zeros, 0, p.padded_in * sizeof(float));
    form->input(p, args.x, first, count, zeros, input);
    for (int64_t t = 0; t < count; ++t) table[t / p.row_tiles].at[t % p.row_tiles] = input + t * p.padded_in;
    for (int64_t r = 0; r < row_calls; ++r) table[r].empty = 0;
    *held = block;
  }

  TileCall call = {};
  call.segs = 1;
  call.len = g.in_c;
  call.seg_stride = g.in_c;
  call.first = true;
  call.full = true;
  call.tail = Tail(kLanes);
  const int64_t panel_end = p.panels * (part + 1) / p.panel_parts;
  for (int64_t panel = p.panels * part / p.panel_parts; panel < panel_end; ++panel) {
    const int64_t vector = panel * 2;
    const int64_t nv = panel + 1 == p.panels ? p.vectors - vector : 2;
    const int64_t width = nv * kLanes;
    const float* w = static_cast<const float*>(args.packed) + positions * g.in_c * vector * kLanes;
    call.ldc = width;
    call.prefetch_step = row_calls >= 2 ? 128 : 0;
    for (int64_t position = 0; position < positions; ++position) {
      call.w = w + position * g.in_c * width;
      call.shift = position * p.block_tiles * p.padded_in * static_cast<int64_t>(sizeof(float));
      const char* next = reinterpret_cast<const char*>(call.w + g.in_c * width);
      for (int64_t r = 0; r < row_calls; ++r) {
        const int64_t row = r * p.row_tiles;
        call.rows = table + r;
        call.c = product + (position * p.block_tiles + row) * width;
        call.prefetch = next + r * (g.in_c / kUnroll) * call.prefetch_step;
        RunTile(static_cast<int>(nv), count - row < p.row_tiles ? count - row : p.row_tiles, call);
      }
    }
    const int64_t channel = vector * kLanes;
    const int64_t channels = g.out_c - channel < width ? g.out_c - channel : width;
    form->output(p, args, first, count, product, width, channel, channels);
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
