// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_winograd_dot.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_plan.h"
#include "backends/cpu/kernels/conv_winograd.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPositions = 16;
constexpr WinogradTile kTile = {2, 2, 4, 4};

}  // namespace

bool WinogradDotConv::Supports(const ConvShape& s) const { return s.k_h == 3 && s.k_w == 3 && WinogradTileOf(s, 2); }

double WinogradDotConv::EstimateWork(const ConvShape& s) const {
  const double tiles = static_cast<double>(s.batch * CeilDiv(s.out_h, 2) * CeilDiv(s.out_w, 2));
  const double vectors = static_cast<double>(CeilDiv(s.out_c, kernels_.lanes));
  const double transforms = 4 * (static_cast<double>(CeilDiv(s.in_c, kernels_.lanes)) + vectors);
  return tiles * static_cast<double>(kPositions) * (1.1 * static_cast<double>(CeilDiv(s.in_c, 2)) * vectors + transforms) +
         kWorkPerWeightByte * static_cast<double>(PackedBytes(s));
}

int64_t WinogradDotConv::PackedBytes(const ConvShape& s) const {
  return kPositions * CeilDiv(s.in_c, 2) * RoundUp(s.out_c, kernels_.lanes) * 4;
}

// [panel of two vectors, the last of one if their number is odd][position][word][vector][lane][2]
void WinogradDotConv::Pack(const ConvShape& s, const float* hwio, const float*, void* packed) const {
  const WinogradFilter filter(kTile);
  const int64_t lanes = kernels_.lanes, words = CeilDiv(s.in_c, 2), vectors = CeilDiv(s.out_c, lanes);
  std::memset(packed, 0, PackedBytes(s));
  uint16_t* panel = static_cast<uint16_t*>(packed);
  for (int64_t first = 0; first < vectors; first += 2) {
    const int64_t width = std::min<int64_t>(2, vectors - first) * lanes;
    const int64_t columns = std::min(width, s.out_c - first * lanes);
    for (int64_t i = 0; i < s.in_c; ++i) {
      for (int64_t o = 0; o < columns; ++o) {
        double t[kMaxWinogradPositions];
        filter.Transform(hwio, s.in_c, s.out_c, i, first * lanes + o, t);
        for (int64_t p = 0; p < kPositions; ++p) {
          panel[((p * words + i / 2) * width + o) * 2 + i % 2] = RoundToBf16(static_cast<float>(t[p]));
        }
      }
    }
    panel += kPositions * words * width * 2;
  }
}

WinogradPlan WinogradDotConv::MakePlan(const ConvShape& s, int threads) const {
  WinogradPlan p = MakeWinogradPlan(s, kTile, 2, kernels_.lanes, kernels_.max_tile, CeilDiv(CeilDiv(s.out_c, kernels_.lanes), 2), PackedBytes(s), threads);
  p.worker_bytes = RoundUp(p.table_offset + CeilDiv(p.block_tiles, p.row_tiles) * kSegmentRowBytes, kCacheLine);
  return p;
}

int64_t WinogradDotConv::ScratchBytes(const ConvShape& s, int threads) const { return MakePlan(s, threads).worker_bytes * threads; }

void WinogradDotConv::Run(const ConvShape& s, const DotConvArgs& args, Gang& gang) const {
  if (s.Pixels() == 0) return;
  const WinogradPlan plan = MakePlan(s, gang.threads());
  for (int worker = 0; worker < gang.threads(); ++worker) {
    const int64_t none = -1;
    std::memcpy(static_cast<char*>(args.scratch) + worker * plan.worker_bytes, &none, sizeof(none));
  }
  const DotArgs dot = {args.x, args.zero, args.packed, &args.stage, args.residual, args.y, args.scratch};
  gang.Run(plan.blocks * plan.panel_parts, [&](int64_t task, int worker) { kernels_.winograd(plan, dot, task, worker); });
}

}  // namespace tfengine::cpu
