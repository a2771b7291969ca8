// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_plan.h"

#include <algorithm>

namespace tfengine::cpu {
namespace {

// The share of (output row, filter row) pairs that lie in the padding: tiles within one output row skip them.
double PaddedRowShare(const ConvShape& s) {
  int64_t padded = 0;
  for (int64_t ky = 0; ky < s.k_h; ++ky) {
    const int64_t shift = ky * s.dil_h - s.pad_top;
    // Rows oy with 0 <= oy * stride + shift < in_h.
    const int64_t begin = shift < 0 ? CeilDiv(-shift, s.stride_h) : 0;
    const int64_t end = s.in_h > shift ? CeilDiv(s.in_h - shift, s.stride_h) : 0;
    padded += s.out_h - std::max<int64_t>(0, std::min(end, s.out_h) - std::min(begin, s.out_h));
  }
  return static_cast<double>(padded) / static_cast<double>(s.out_h * s.k_h);
}

}  // namespace

int64_t ChooseTile(const ConvShape& s, int64_t pixels, int64_t max_tile) {
  const double floor = 0.4 * static_cast<double>(max_tile);
  auto cost = [&](int64_t m) { return m == 0 ? 0.0 : std::max(floor, static_cast<double>(m)) + 0.25; };
  const double aligned_gain = s.k_h > 1 ? 1 - PaddedRowShare(s) : 1;
  int64_t best = std::min(max_tile, pixels);
  double best_cost = 1e300;
  for (int64_t t = best; t >= std::max<int64_t>(1, max_tile / 2); --t) {
    double c = static_cast<double>(pixels / t) * cost(t) + cost(pixels % t);
    if (s.out_w % t == 0) c *= aligned_gain;
    if (c < best_cost) {
      best_cost = c;
      best = t;
    }
  }
  return best;
}

Split ChooseSplit(int64_t groups, int64_t tiles, int64_t panels, double unit_cycles, double weight_bytes, double input_bytes,
                  int threads) {
  Split best;
  if (threads <= 1) return best;
  const double bytes_per_cycle = 8;
  const int64_t most = std::max<int64_t>(1, CeilDiv(4 * threads, groups));
  double best_cost = 1e300;
  for (int64_t q = 1; q <= std::min(panels, most); q = threads > 8 ? q * 2 : q + 1) {
    for (int64_t p = 1; p <= std::min(tiles, most / q); p = threads > 8 ? p * 2 : p + 1) {
      const int64_t tasks = groups * p * q;
      const int64_t rounds = CeilDiv(tasks, threads);
      const double unit = static_cast<double>(CeilDiv(tiles, p) * CeilDiv(panels, q));
      double cost = unit_cycles * unit * static_cast<double>(rounds);
      cost += (weight_bytes * static_cast<double>(p) + input_bytes * static_cast<double>(q)) * static_cast<double>(groups) /
              (bytes_per_cycle * threads);
      cost += 1000.0 * static_cast<double>(rounds);
      if (tasks < 2 * threads) cost *= 1.05;  // nothing left to even out
      if (cost < best_cost) {
        best_cost = cost;
        best = {p, q};
      }
    }
  }
  return best;
}

}  // namespace tfengine::cpu
