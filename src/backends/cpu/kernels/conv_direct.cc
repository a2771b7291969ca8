// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_direct.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_plan.h"

namespace tfengine::cpu {
namespace {

// Whether the last panel takes a vector and at most a half.
bool HalfLast(int64_t group_out, int64_t lanes) {
  const int64_t tail = group_out % (2 * lanes);
  return lanes == 16 && tail > lanes && tail <= lanes + lanes / 2;
}

constexpr int64_t kPaddedBytes = 16 << 10;  // of a copy of input rows, if possible

}  // namespace

bool DirectConv::Supports(const ConvShape& s) const {
  return s.groups > 0 && s.in_c % s.groups == 0 && s.out_c % s.groups == 0;
}

double DirectConv::EstimateWork(const ConvShape& s) const {
  const double vectors = static_cast<double>(CeilDiv(s.out_c / s.groups, kernels_.lanes) * s.groups);
  const double terms = static_cast<double>(s.k_h * s.k_w * (s.in_c / s.groups)) + 4;  // 4: loads and stores of the sums
  return static_cast<double>(s.Pixels()) * terms * vectors + kWorkPerWeightByte * static_cast<double>(PackedBytes(s));
}

int64_t DirectConv::PackedBytes(const ConvShape& s) const {
  const int64_t padded = RoundUp(s.out_c / s.groups, kernels_.lanes);
  return RoundUp(s.k_h * s.k_w * (s.in_c / s.groups) * padded * s.groups * 4, kCacheLine);
}

// [group][panel][tap][input channel][panel's vectors]
void DirectConv::Pack(const ConvShape& s, const float* hwio, void* packed) const {
  const int64_t lanes = kernels_.lanes;
  const int64_t k_total = s.k_h * s.k_w * (s.in_c / s.groups);
  const int64_t group_out = s.out_c / s.groups;
  const int64_t vectors = CeilDiv(group_out, lanes);
  const int64_t panels = std::max<int64_t>(1, vectors / 2);
  float* to = static_cast<float*>(packed);
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t first = panel * 2 * lanes;
      const int64_t width = (panel + 1 == panels ? vectors - panel * 2 : 2) * lanes;
      const int64_t real = std::min(width, group_out - first);
      for (int64_t k = 0; k < k_total; ++k, to += width) {
        std::memcpy(to, hwio + k * s.out_c + g * group_out + first, real * sizeof(float));
        std::memset(to + real, 0, (width - real) * sizeof(float));
      }
    }
  }
}

DirectPlan DirectConv::MakePlan(const ConvShape& s, int threads) const {
  DirectPlan p = {};
  p.g = GeometryOf(s);
  p.groups = s.groups;
  p.group_in = s.in_c / s.groups;
  p.group_out = s.out_c / s.groups;
  p.dense = s.k_h == 1 && s.k_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
            s.out_h == s.in_h && s.out_w == s.in_w;
  // Few channels: one segment per filter row keeps the inner loop long.
  p.whole_rows = s.groups == 1 && s.dil_w == 1 && s.k_w > 1 && s.in_c < 16 && p.g.x_pixel == s.in_c;
  p.seg_count = p.whole_rows ? s.k_h : s.k_h * s.k_w;
  p.seg_len = p.whole_rows ? s.k_w * s.in_c : p.group_in;
  const int64_t k_total = p.seg_count * p.seg_len;
  p.pixels = s.Pixels();
  p.tile = ChooseTile(s, p.pixels, kernels_.max_tile);
  p.tiles = CeilDiv(p.pixels, p.tile);
  p.vectors = CeilDiv(p.group_out, kernels_.lanes);
  p.panels = std::max<int64_t>(1, p.vectors / 2);
  p.half_last = HalfLast(p.group_out, kernels_.lanes);

  const int64_t weight_bytes = k_total * p.vectors * kernels_.lanes * 4;
  const int64_t input_bytes = s.batch * s.in_h * s.in_w * p.group_in * 4;
  const Split split = ChooseSplit(s.groups, p.tiles, p.panels, static_cast<double>(p.tile * k_total),
                                  static_cast<double>(weight_bytes), static_cast<double>(input_bytes), threads);
  p.pixel_parts = split.pixel_parts;
  p.panel_parts = split.panel_parts;
  p.panels_inside = false;
  p.tasks = p.groups * p.pixel_parts * p.panel_parts;

  // Weights that fit the second-level cache stay there while tiles pass; otherwise a block of tiles stays there while
  // weights pass, in reduction blocks whose panel is small against that cache.
  const int64_t task_weights = CeilDiv(weight_bytes, p.panel_parts);
  p.block_tiles = 1;
  p.block_segs = p.seg_count;
  p.seg_parts = 1;
  p.part_len = p.seg_len;
  if (task_weights > (320 << 10)) {
    const int64_t most_k = (128 << 10) / (2 * kernels_.lanes * 4);
    if (k_total > most_k * 3 / 2) {
      if (p.seg_len > most_k) {
        p.part_len = RoundUp(CeilDiv(p.seg_len, CeilDiv(p.seg_len, most_k)), 4);
        p.seg_parts = CeilDiv(p.seg_len, p.part_len);
        p.block_segs = 1;
      } else {
        p.block_segs = CeilDiv(p.seg_count, CeilDiv(k_total, most_k));
      }
    }
    // What one tile reads in one pass (taps share pixels), writes, and its table.
    const int64_t all_taps = std::min(CeilDiv(input_bytes, p.tiles), p.tile * k_total * 4);
    const int64_t tile_bytes = CeilDiv(all_taps * p.part_len, p.seg_len) + p.tile * 8 * kernels_.lanes + p.seg_count * kSegmentRowBytes;
    p.block_tiles = std::clamp<int64_t>((512 << 10) / tile_bytes, 1, CeilDiv(p.tiles, p.pixel_parts));
  }

  // Short rows of few channels are copied with their padding, as every other tile or so would need a table of its own.
  p.padded_w = (s.out_w - 1) * s.stride_w + s.k_w;
  const bool has_padding = s.pad_top > 0 || s.pad_left > 0 || p.padded_w > s.in_w || (s.out_h - 1) * s.stride_h + (s.k_h - 1) * s.dil_h >= s.in_h;
  int64_t padded_bytes = 0;
  if (p.whole_rows && has_padding && s.pad_left >= 0 && s.out_w % p.tile == 0 && s.out_w <= 4 * p.tile && p.block_tiles == 1) {
    const int64_t row_bytes = p.padded_w * s.in_c * 4, window = (s.k_h - 1) * s.dil_h + 1;
    p.padded_rows = std::clamp<int64_t>((kPaddedBytes / row_bytes - window) / s.stride_h + 1, 1, s.out_h);
    padded_bytes = ((p.padded_rows - 1) * s.stride_h + window) * row_bytes;
  }

  const int64_t patch_bytes = p.whole_rows ? s.k_h * kernels_.max_tile * p.seg_len * 4 : 0;
  p.source_bytes = RoundUp(p.block_tiles * kTileSourceBytes, kCacheLine);
  p.table_bytes = (1 + (p.dense ? 0 : p.block_tiles)) * p.seg_count * kSegmentRowBytes;
  p.zero_bytes = RoundUp(p.seg_len * 4, kCacheLine);
  p.worker_bytes = p.source_bytes + p.table_bytes + p.zero_bytes + RoundUp(std::max(padded_bytes, p.block_tiles * patch_bytes), kCacheLine);
  return p;
}

int64_t DirectConv::ScratchBytes(const ConvShape& shape, int threads) const {
  return MakePlan(shape, threads).worker_bytes * threads;
}

void DirectConv::Run(const ConvShape& shape, const ConvArgs& args, Gang& gang) const {
  if (shape.Pixels() == 0 || shape.out_c == 0) return;
  const DirectPlan plan = MakePlan(shape, gang.threads());
  gang.Run(plan.tasks, [&](int64_t task, int worker) { kernels_.direct(plan, args, task, worker); });
}

}  // namespace tfengine::cpu
