// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv_winograd_transform_inl.h"
#include "backends/cpu/kernels/dot_tile_inl.h"

// Winograd's F(2x2, 3x3) in bf16: transforms in f32, transformed inputs and filters rounded to bf16, sums in f32. One task of
// a WinogradPlan as in conv_winograd_inl.h.
namespace tfengine::cpu::TFE_SIMD {

// Output tiles of one row that are finished together.
inline constexpr int64_t kWinogradRun = 16;

// The sums of `count` tiles next to each other to rows of outputs: sums[row][2 * tile + column][width].
TFE_INLINE void TransformRun(const float* product, int64_t plane, int64_t count, int64_t width, float* sums) {
  const int64_t row = 2 * kWinogradRun * width;
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t c = 0; c < width; c += kLanes) {
      const float* from = product + t * width + c;
      float* to = sums + 2 * t * width + c;
      VF half[2][4];
#pragma GCC unroll 4
      for (int x = 0; x < 4; ++x) {
        VF d[4], column[2];
#pragma GCC unroll 4
        for (int y = 0; y < 4; ++y) d[y] = Load(from + (y * 4 + x) * plane);
        OutputLine<2, 4>(d, column);
        half[0][x] = column[0];
        half[1][x] = column[1];
      }
#pragma GCC unroll 2
      for (int y = 0; y < 2; ++y) {
        VF line[2];
        OutputLine<2, 4>(half[y], line);
        Store(to + y * row, line[0]);
        Store(to + y * row + width, line[1]);
      }
    }
  }
}

void WinogradDotTask(const WinogradPlan& p, const DotArgs& args, int64_t task, int worker) {
  constexpr int kPositions = 16;
  const ConvGeometry& g = p.g;
  // Neighbouring tasks are different blocks: threads start apart and stay with a block.
  const int64_t block = task % p.blocks, part = task / p.blocks;
  const int64_t first = p.tiles * block / p.blocks;
  const int64_t count = p.tiles * (block + 1) / p.blocks - first;
  const int64_t row_calls = (count + p.row_tiles - 1) / p.row_tiles;
  char* scratch = static_cast<char*>(args.scratch) + worker * p.worker_bytes;
  int64_t* held = reinterpret_cast<int64_t*>(scratch);
  uint16_t* zeros = reinterpret_cast<uint16_t*>(scratch + p.zero_offset);
  uint16_t* input = reinterpret_cast<uint16_t*>(scratch + p.input_offset);
  float* product = reinterpret_cast<float*>(scratch + p.product_offset);
  SegmentRow* table = reinterpret_cast<SegmentRow*>(scratch + p.table_offset);
  const int64_t plane_bytes = p.block_tiles * p.padded_in * 2;
  if (*held != block) {
    __builtin_memset(zeros, 0, p.padded_in * sizeof(uint16_t));
    TransformBlock<4, 4, Storage::kBf16>(p, static_cast<const uint16_t*>(args.x), first, count, zeros, input);
    for (int64_t t = 0; t < count; ++t) table[t / p.row_tiles].at[t % p.row_tiles] = input + t * p.padded_in;
    *held = block;
  }

  const OutputStage& stage = *args.stage;
  const OutputConstants constants = MakeConstants(stage, args.residual != nullptr, false, Storage::kBf16);
  auto bytes = [](Storage s) { return s == Storage::kF32 ? 4 : s == Storage::kBf16 ? 2 : 1; };
  const int64_t y_bytes = bytes(stage.out.storage), residual_bytes = bytes(stage.residual.storage);
  DotCall call = {};
  call.writer = DotWriter::kSums;
  call.segs = 1;
  call.words = (g.in_c + 1) / 2;
  call.last_word = (call.words - 1) * 4;
  DotCall finish = {};
  finish.stage = &stage;
  finish.out = &constants;
  finish.y_stride = g.y_pixel;
  finish.residual_stride = g.residual_pixel;
  const int64_t word_bytes = call.words * kLanes * 4;  // of one vector and position
  alignas(64) float sums[2 * 2 * kWinogradRun * 2 * kLanes];
  const int64_t panel_end = p.panels * (part + 1) / p.panel_parts;
  for (int64_t panel = p.panels * part / p.panel_parts; panel < panel_end; ++panel) {
    const int64_t vector = panel * 2;
    const int64_t nv = p.vectors - vector < 2 ? p.vectors - vector : 2;
    const int64_t width = nv * kLanes, channel = vector * kLanes;
    const char* w = static_cast<const char*>(args.packed) + kPositions * vector * word_bytes;
    call.y_stride = width;
    call.prefetch_step = row_calls >= 2 ? (row_calls >= 4 * nv ? 64 : 128) : 0;
    for (int64_t position = 0; position < kPositions; ++position) {
      call.w = w + position * nv * word_bytes;
      call.shift = position * plane_bytes;
      const char* next = call.w + nv * word_bytes;
      for (int64_t r = 0; r < row_calls; ++r) {
        const int64_t row = r * p.row_tiles;
        call.rows = table + r;
        call.y = product + (position * p.block_tiles + row) * width;
        call.prefetch = next + r * (call.words / kWordUnroll) * call.prefetch_step;
        const int64_t tiles = count - row < p.row_tiles ? count - row : p.row_tiles;
        (nv == 2 ? kDotTiles<Bf16Dot, 2>.entries : kDotTiles<Bf16Dot, 1>.entries)[tiles](call);
      }
    }
    finish.width = g.out_c - channel < width ? g.out_c - channel : width;
    finish.tail = Tail(finish.width - (nv - 1) * kLanes);
    finish.scale = stage.scale ? stage.scale + channel : nullptr;
    finish.bias = stage.bias ? stage.bias + channel : nullptr;
    for (int64_t t = 0, run; t < count; t += run) {
      const TilePlace place = PlaceOf(p, first + t);
      const int64_t in_row = p.tiles_x - place.x / 2;
      run = count - t < kWinogradRun ? count - t : kWinogradRun;
      run = run < in_row ? run : in_row;
      TransformRun(product + t * width, p.block_tiles * width, run, width, sums);
      const int64_t pixels = g.out_w - place.x < 2 * run ? g.out_w - place.x : 2 * run;
      for (int64_t y = 0; y < 2 && place.y + y < g.out_h; ++y) {
        const int64_t pixel = (place.n * g.out_h + place.y + y) * g.out_w + place.x;
        finish.y = static_cast<char*>(args.y) + (pixel * g.y_pixel + channel) * y_bytes;
        if (args.residual) finish.residual = static_cast<const char*>(args.residual) + (pixel * g.residual_pixel + channel) * residual_bytes;
        constants.finish(finish, sums + y * 2 * kWinogradRun * width, pixels, width);
      }
    }
  }
}

}  // namespace tfengine::cpu::TFE_SIMD
