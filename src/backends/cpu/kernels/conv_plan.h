// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"

// What the planning sides of the convolution tactics share.
namespace tfengine::cpu {

inline constexpr int64_t kCacheLine = 64;

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

// Weights read from memory cost about this many vector multiply-adds per byte.
inline constexpr double kWorkPerWeightByte = 0.3;

inline ConvGeometry GeometryOf(const ConvShape& s) {
  return {s.in_h, s.in_w, s.in_c, s.out_h, s.out_w, s.out_c, s.k_h, s.k_w, s.stride_h, s.stride_w, s.dil_h, s.dil_w, s.pad_top, s.pad_left};
}

}  // namespace tfengine::cpu
