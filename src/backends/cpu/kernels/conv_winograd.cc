// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_winograd.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_plan.h"

namespace tfengine::cpu {

namespace {

template <int n>
const double* PointsOf() {
  return WinogradPoints<n>::at;
}
const double* PointsOf(int64_t n) { return n == 4 ? PointsOf<4>() : n == 6 ? PointsOf<6>() : PointsOf<8>(); }

}  // namespace

// G of Toom-Cook: rows of powers of the points, over the product of their differences from the others.
WinogradFilter::Axis WinogradFilter::MakeAxis(int64_t m, int64_t n) {
  Axis axis = {n, n - m + 1, {}};
  if (n == 1) {
    axis.g[0][0] = 1;
    return axis;
  }
  const double* points = PointsOf(n);
  const int64_t pairs = n / 2 - 1;
  double zero = 1;
  for (int64_t i = 0; i < pairs; ++i) zero *= -points[i] * points[i];
  axis.g[0][0] = 1 / zero;
  for (int64_t row = 1; row + 1 < n; ++row) {
    const double size = points[(row - 1) / 2];
    double power = 2 * size * size;
    for (int64_t i = 0; i < pairs; ++i)
      if (points[i] != size) power *= size * size - points[i] * points[i];
    power = 1 / power;
    for (int64_t k = 0; k < axis.r; ++k, power *= row % 2 == 1 ? size : -size) axis.g[row][k] = power;
  }
  axis.g[n - 1][axis.r - 1] = 1;
  return axis;
}

WinogradFilter::WinogradFilter(const WinogradTile& tile) : y_(MakeAxis(tile.m_y, tile.n_y)), x_(MakeAxis(tile.m_x, tile.n_x)) {}

void WinogradFilter::Transform(const float* hwio, int64_t in_c, int64_t out_c, int64_t i, int64_t o,
                               double (&to)[kMaxWinogradPositions]) const {
  double t[8][7] = {};
  for (int64_t row = 0; row < y_.n; ++row)
    for (int64_t y = 0; y < y_.r; ++y)
      for (int64_t x = 0; x < x_.r; ++x) t[row][x] += y_.g[row][y] * hwio[((y * x_.r + x) * in_c + i) * out_c + o];
  for (int64_t row = 0; row < y_.n; ++row) {
    for (int64_t column = 0; column < x_.n; ++column) {
      double sum = 0;
      for (int64_t x = 0; x < x_.r; ++x) sum += t[row][x] * x_.g[column][x];
      to[row * x_.n + column] = sum;
    }
  }
}

std::optional<WinogradTile> WinogradTileOf(const ConvShape& s, int64_t m) {
  if (s.stride_h != 1 || s.stride_w != 1 || s.dil_h != 1 || s.dil_w != 1 || s.groups != 1 || s.in_c < 8 || s.out_c < 8) return std::nullopt;
  const int64_t r = std::max(s.k_h, s.k_w), n = m + r - 1;
  const bool square = s.k_h == s.k_w, line = std::min(s.k_h, s.k_w) == 1;
  const bool has_form = square ? (r == 3 && n <= 6) || r == 5 : line && (r == 3 ? n == 6 : n == 8);
  if ((r != 3 && r != 5 && r != 7) || (m != 2 && m != 4) || !has_form) return std::nullopt;
  WinogradTile tile = {1, 1, 1, 1};
  if (s.k_h > 1) tile.m_y = m, tile.n_y = n;
  if (s.k_w > 1) tile.m_x = m, tile.n_x = n;
  return tile;
}

bool WinogradConv::Supports(const ConvShape& s) const { return WinogradTileOf(s, m_).has_value(); }

double WinogradConv::EstimateWork(const ConvShape& s) const {
  const WinogradTile tile = *WinogradTileOf(s, m_);
  const double tiles = static_cast<double>(s.batch * CeilDiv(s.out_h, tile.m_y) * CeilDiv(s.out_w, tile.m_x));
  const double vectors = static_cast<double>(CeilDiv(s.out_c, kernels_.lanes));
  const double transforms = 8 * (static_cast<double>(CeilDiv(s.in_c, kernels_.lanes)) + vectors);
  return tiles * static_cast<double>(tile.positions()) * (1.1 * static_cast<double>(s.in_c) * vectors + transforms) +
         kWorkPerWeightByte * static_cast<double>(PackedBytes(s));
}

int64_t WinogradConv::PackedBytes(const ConvShape& s) const {
  return WinogradTileOf(s, m_)->positions() * s.in_c * RoundUp(s.out_c, kernels_.lanes) * 4;
}

// [panel][position][input channel][panel's vectors]
void WinogradConv::Pack(const ConvShape& s, const float* hwio, void* packed) const {
  const WinogradTile tile = *WinogradTileOf(s, m_);
  const int64_t positions = tile.positions(), lanes = kernels_.lanes;
  const WinogradFilter filter(tile);
  const int64_t vectors = CeilDiv(s.out_c, lanes), panels = std::max<int64_t>(1, vectors / 2);
  float* panel_to = static_cast<float*>(packed);
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t first = panel * 2 * lanes;
    const int64_t width = (panel + 1 == panels ? vectors - panel * 2 : 2) * lanes;
    for (int64_t i = 0; i < s.in_c; ++i) {
      for (int64_t o = 0; o < width; ++o) {
        double t[kMaxWinogradPositions] = {};
        if (first + o < s.out_c) filter.Transform(hwio, s.in_c, s.out_c, i, first + o, t);
        for (int64_t p = 0; p < positions; ++p) panel_to[(p * s.in_c + i) * width + o] = static_cast<float>(t[p]);
      }
    }
    panel_to += positions * s.in_c * width;
  }
}

WinogradPlan WinogradConv::MakePlan(const ConvShape& s, int threads) const {
  const int64_t panels = std::max<int64_t>(1, CeilDiv(s.out_c, kernels_.lanes) / 2);
  return MakeWinogradPlan(s, *WinogradTileOf(s, m_), 4, kernels_.lanes, kernels_.max_tile, panels, PackedBytes(s), threads);
}

WinogradPlan MakeWinogradPlan(const ConvShape& s, const WinogradTile& tile, int64_t value_bytes, int64_t lanes, int64_t max_tile,
                              int64_t panels, int64_t filter_bytes, int threads) {
  WinogradPlan p = {};
  p.g = GeometryOf(s);
  p.tile = tile;
  p.tiles_y = CeilDiv(s.out_h, tile.m_y);
  p.tiles_x = CeilDiv(s.out_w, tile.m_x);
  p.tiles = s.batch * p.tiles_y * p.tiles_x;
  p.vectors = CeilDiv(s.out_c, lanes);
  p.panels = panels;
  p.padded_in = RoundUp(s.in_c, lanes);

  // A block's transformed input stays in the second-level cache while the filter passes by, or beside it if that is small. As
  // few blocks as that allows, as each reads the whole filter; then panels are cut to feed all threads.
  const int64_t positions = tile.positions();
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
