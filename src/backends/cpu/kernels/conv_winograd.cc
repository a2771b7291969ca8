// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_winograd.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_plan.h"

namespace tfengine::cpu {

// G, (m + 2) x 3.
WinogradFilter::WinogradFilter(int64_t m) : n_(m + 2) {
  auto point = [&](int row, double p, double norm) {
    g_[row][0] = 1 / norm;
    g_[row][1] = p / norm;
    g_[row][2] = p * p / norm;
  };
  if (m == 2) {
    point(0, 0, 1);
    point(1, 1, 2);
    point(2, -1, 2);
  } else {
    const double a = kWinogradA, b = kWinogradB;
    point(0, 0, a * a * b * b);
    point(1, a, 2 * a * a * (a * a - b * b));
    point(2, -a, 2 * a * a * (a * a - b * b));
    point(3, b, 2 * b * b * (b * b - a * a));
    point(4, -b, 2 * b * b * (b * b - a * a));
  }
  g_[m + 1][0] = g_[m + 1][1] = 0;
  g_[m + 1][2] = 1;
}

void WinogradFilter::Transform(const float* hwio, int64_t in_c, int64_t out_c, int64_t i, int64_t o, double (&to)[36]) const {
  double w[3][3], t[6][3];
  for (int64_t k = 0; k < 9; ++k) w[k / 3][k % 3] = hwio[(k * in_c + i) * out_c + o];
  for (int64_t r = 0; r < n_; ++r) {
    for (int64_t x = 0; x < 3; ++x) t[r][x] = g_[r][0] * w[0][x] + g_[r][1] * w[1][x] + g_[r][2] * w[2][x];
  }
  for (int64_t r = 0; r < n_; ++r) {
    for (int64_t c = 0; c < n_; ++c) to[r * n_ + c] = t[r][0] * g_[c][0] + t[r][1] * g_[c][1] + t[r][2] * g_[c][2];
  }
}

bool WinogradApplies(const ConvShape& s) {
  return s.k_h == 3 && s.k_w == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dil_h == 1 && s.dil_w == 1 && s.groups == 1 &&
         s.in_c >= 8 && s.out_c >= 8;
}

bool WinogradConv::Supports(const ConvShape& s) const { return WinogradApplies(s); }

double WinogradConv::EstimateWork(const ConvShape& s) const {
  const double tiles = static_cast<double>(s.batch * CeilDiv(s.out_h, m_) * CeilDiv(s.out_w, m_));
  const double positions = static_cast<double>((m_ + 2) * (m_ + 2));
  const double vectors = static_cast<double>(CeilDiv(s.out_c, kernels_.lanes));
  const double transforms = 8 * (static_cast<double>(CeilDiv(s.in_c, kernels_.lanes)) + vectors);
  return tiles * positions * (1.1 * static_cast<double>(s.in_c) * vectors + transforms) +
         kWorkPerWeightByte * static_cast<double>(PackedBytes(s));
}

int64_t WinogradConv::PackedBytes(const ConvShape& s) const {
  return (m_ + 2) * (m_ + 2) * s.in_c * RoundUp(s.out_c, kernels_.lanes) * 4;
}

// [panel][position][input channel][panel's vectors]
void WinogradConv::Pack(const ConvShape& s, const float* hwio, void* packed) const {
  const int64_t positions = (m_ + 2) * (m_ + 2), lanes = kernels_.lanes;
  const WinogradFilter filter(m_);
  const int64_t vectors = CeilDiv(s.out_c, lanes), panels = std::max<int64_t>(1, vectors / 2);
  float* panel_to = static_cast<float*>(packed);
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t first = panel * 2 * lanes;
    const int64_t width = (panel + 1 == panels ? vectors - panel * 2 : 2) * lanes;
    for (int64_t i = 0; i < s.in_c; ++i) {
      for (int64_t o = 0; o < width; ++o) {
        double t[36] = {};
        if (first + o < s.out_c) filter.Transform(hwio, s.in_c, s.out_c, i, first + o, t);
        for (int64_t p = 0; p < positions; ++p) panel_to[(p * s.in_c + i) * width + o] = static_cast<float>(t[p]);
      }
    }
    panel_to += positions * s.in_c * width;
  }
}

WinogradPlan WinogradConv::MakePlan(const ConvShape& s, int threads) const {
  const int64_t panels = std::max<int64_t>(1, CeilDiv(s.out_c, kernels_.lanes) / 2);
  return MakeWinogradPlan(s, m_, 4, kernels_.lanes, kernels_.max_tile, panels, PackedBytes(s), threads);
}

WinogradPlan MakeWinogradPlan(const ConvShape& s, int64_t m, int64_t value_bytes, int64_t lanes, int64_t max_tile, int64_t panels,
                              int64_t filter_bytes, int threads) {
  WinogradPlan p = {};
  p.g = GeometryOf(s);
  p.m = m;
  p.tiles_y = CeilDiv(s.out_h, m);
  p.tiles_x = CeilDiv(s.out_w, m);
  p.tiles = s.batch * p.tiles_y * p.tiles_x;
  p.vectors = CeilDiv(s.out_c, lanes);
  p.panels = panels;
  p.padded_in = RoundUp(s.in_c, lanes);

  // A block's transformed input stays in the second-level cache while the filter passes by, or beside it if that is small. As
  // few blocks as that allows, as each reads the whole filter; then panels are cut to feed all threads.
  const int64_t positions = (m + 2) * (m + 2);
  const int64_t tile_bytes = positions * p.padded_in * value_bytes;
  const int64_t budget = filter_bytes <= (640 << 10) ? (256 << 10) : (700 << 10);
  const int64_t most_tiles = std::max<int64_t>(max_tile, budget / tile_bytes);
  p.blocks = CeilDiv(p.tiles, most_tiles);
  if (p.blocks > threads) p.blocks = std::min(p.tiles, RoundUp(p.blocks, threads));
  p.block_tiles = CeilDiv(p.tiles, p.blocks);
  p.panel_parts = threads == 1 ? 1 : std::min(p.panels, CeilDiv(3 * threads, p.blocks));
  p.row_tiles = CeilDiv(p.block_tiles, CeilDiv(p.block_tiles, max_tile));

  p.zero_offset = kCacheLine;
  p.input_offset = RoundUp(p.zero_offset + p.padded_in * value_bytes, kCacheLine);
  // Position planes are set off against each other in the cache.
  p.product_offset = p.input_offset + RoundUp(p.block_tiles * tile_bytes, kCacheLine);
  p.table_offset = p.product_offset + positions * p.block_tiles * 3 * lanes * 4;
  p.worker_bytes = RoundUp(p.table_offset + CeilDiv(p.block_tiles, p.row_tiles) * kSegmentRowBytes, kCacheLine);
  return p;
}

int64_t WinogradConv::ScratchBytes(const ConvShape& s, int threads) const { return MakePlan(s, threads).worker_bytes * threads; }

void WinogradConv::Run(const ConvShape& s, const ConvArgs& args, Gang& gang) const {
  if (s.Pixels() == 0) return;
  const WinogradPlan plan = MakePlan(s, gang.threads());
  for (int worker = 0; worker < gang.threads(); ++worker) {
    const int64_t none = -1;
    std::memcpy(static_cast<char*>(args.scratch) + worker * plan.worker_bytes, &none, sizeof(none));
  }
  gang.Run(plan.blocks * plan.panel_parts, [&](int64_t task, int worker) { kernels_.winograd(plan, args, task, worker); });
}

}  // namespace tfengine::cpu
