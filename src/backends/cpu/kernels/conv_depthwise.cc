// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_plan.h"

namespace tfengine::cpu {

bool DepthwiseConv::Supports(const ConvShape& s) const {
  return s.groups == s.in_c && s.in_c > 0 && s.out_c % s.in_c == 0 && s.k_h * s.k_w <= kMaxDepthwiseTaps;
}

double DepthwiseConv::EstimateWork(const ConvShape& s) const {
  const double vectors = static_cast<double>(CeilDiv(s.out_c, kernels_.lanes));
  return 2 * static_cast<double>(s.Pixels() * s.k_h * s.k_w) * vectors;
}

int64_t DepthwiseConv::PackedBytes(const ConvShape& s) const {
  return RoundUp(s.k_h * s.k_w * RoundUp(s.out_c, kernels_.lanes) * 4, kCacheLine);
}

// [tap][channel], channels padded to whole vectors
void DepthwiseConv::Pack(const ConvShape& s, const float* hwio, void* packed) const {
  const int64_t padded = RoundUp(s.out_c, kernels_.lanes);
  float* to = static_cast<float*>(packed);
  for (int64_t tap = 0; tap < s.k_h * s.k_w; ++tap, to += padded) {
    std::memcpy(to, hwio + tap * s.out_c, s.out_c * sizeof(float));
    std::memset(to + s.out_c, 0, (padded - s.out_c) * sizeof(float));
  }
}

int64_t DepthwiseConv::ScratchBytes(const ConvShape& s, int threads) const {
  return RoundUp(s.in_c * 4, kCacheLine) * threads;
}

DepthwisePlan MakeDepthwisePlan(const ConvShape& s, int lanes, int threads) {
  DepthwisePlan p = {};
  p.g = GeometryOf(s);
  p.rows = s.batch * s.out_h;
  p.multiplier = s.out_c / s.in_c;
  p.columns = CeilDiv(s.out_w, CeilDiv(s.out_w, kMaxDepthwiseColumns));
  p.vectors = CeilDiv(s.out_c, lanes);
  // Rows first; channels only where there are too few rows to go round.
  const int64_t want = threads == 1 ? 1 : 4 * threads;
  p.row_parts = std::min(p.rows, want);
  p.channel_parts = std::min(p.vectors, CeilDiv(want, p.row_parts));
  return p;
}

void DepthwiseConv::Run(const ConvShape& s, const ConvArgs& args, Gang& gang) const {
  if (s.Pixels() == 0 || s.out_c == 0) return;
  const DepthwisePlan p = MakeDepthwisePlan(s, kernels_.lanes, gang.threads());
  const int64_t zero_floats = RoundUp(s.in_c * 4, kCacheLine) / 4;
  gang.Run(p.row_parts * p.channel_parts, [&](int64_t task, int worker) {
    kernels_.depthwise(p, args, task, static_cast<float*>(args.scratch) + worker * zero_floats);
  });
}

}  // namespace tfengine::cpu
