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
  int64_t height, width;
  VF bias;
  float low, high;
  VTail tail;
};

template <int m>
TFE_INLINE void TransformOutput(const WinogradOutput& o) {
  constexpr int n = m + 2;
  VF t[m][n];
#pragma GCC unroll 8
  for (int x = 0; x < n; ++x) {
    VF d[n], column[m];
#pragma GCC unroll 8
    for (int y = 0; y < n; ++y) d[y] = Load(o.product + (y * n + x) * o.plane);
    OutputLine<m>(d, column);
#pragma GCC unroll 8
    for (int y = 0; y < m; ++y) t[y][x] = column[y];
  }
  const VF low = Set(o.low), high = Set(o.high);
#pragma GCC unroll 8
  for (int y = 0; y < m; ++y) {
    VF row[m];
    OutputLine<m>(t[y], row);
    if (y >= o.height) return;
#pragma GCC unroll 8
    for (int x = 0; x < m; ++x) {
      if (x >= o.width) break;
      const int64_t at = y * o.row + x * o.column;
      VF sum = Add(row[x], o.bias);
      if (o.residual != nullptr) sum = Add(sum, Load(o.residual + at, o.tail));
      Store(o.y + at, Min(high, Max(low, sum)), o.tail);
    }
  }
}

template <int m>
void WinogradTaskOf(const WinogradPlan& p, const ConvArgs& args, int64_t task, int worker) {
  constexpr int kPositions = (m + 2) * (m + 2);
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
    TransformBlock<m, Storage::kF32>(p, args.x, first, count, zeros, input);
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
  WinogradOutput out;
  const bool clip = IsClip(args.activation, &out.low, &out.high);
  out.row = g.out_w * g.out_c;
  out.column = g.out_c;
  const int64_t panel_end = p.panels * (part + 1) / p.panel_parts;
  for (int64_t panel = p.panels * part / p.panel_parts; panel < panel_end; ++panel) {
    const int64_t vector = panel * 2;
    const int64_t nv = panel + 1 == p.panels ? p.vectors - vector : 2;
    const int64_t width = nv * kLanes;
    const float* w = static_cast<const float*>(args.packed) + kPositions * g.in_c * vector * kLanes;
    call.ldc = width;
    call.prefetch_step = row_calls >= 2 ? 128 : 0;
    for (int64_t position = 0; position < kPositions; ++position) {
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
    out.plane = p.block_tiles * width;
    for (int64_t t = 0; t < count; ++t) {
      const TilePlace place = PlaceOf(p, first + t);
      const int64_t at = ((place.n * g.out_h + place.y) * g.out_w + place.x) * g.out_c + channel;
      out.height = g.out_h - place.y;
      out.width = g.out_w - place.x;
      for (int64_t c = 0; c < channels; c += kLanes) {
        out.tail = Tail(channels - c);
        out.product = product + t * width + c;
        out.y = args.y + at + c;
        out.residual = args.residual ? args.residual + at + c : nullptr;
        out.bias = args.bias ? Load(args.bias + channel + c, out.tail) : Zero();
        TransformOutput<m>(out);
      }
      if (clip) continue;
      for (int64_t y = 0; y < m && y < out.height; ++y) {
        for (int64_t x = 0; x < m && x < out.width; ++x) {
          float* pixel = args.y + at + y * out.row + x * out.column;
          ActivateRange(args.activation, pixel, pixel, channels);
        }
      }
    }
  }
}

void WinogradTask(const WinogradPlan& p, const ConvArgs& args, int64_t task, int worker) {
  if (p.m == 2) return WinogradTaskOf<2>(p, args, task, worker);
  WinogradTaskOf<4>(p, args, task, worker);
}

}  // namespace tfengine::cpu::TFE_SIMD
