// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"

namespace tfengine::cpu {

// What the Winograd tactics share.

// The tile of m outputs along every axis that has a filter. nullopt: no such tile, or not stride 1, no dilation, one group and
// channels enough.
std::optional<WinogradTile> WinogradTileOf(const ConvShape& shape, int64_t m);

WinogradPlan MakeWinogradPlan(const ConvShape& shape, const WinogradTile& tile, int64_t value_bytes, int64_t lanes, int64_t max_tile,
                              int64_t panels, int64_t filter_bytes, int threads);

inline constexpr int kMaxWinogradPositions = 64;

// The filter transform G w G^T.
class WinogradFilter {
 public:
  explicit WinogradFilter(const WinogradTile& tile);
  // to[position]: of the filter from input channel i to output channel o.
  void Transform(const float* hwio, int64_t in_c, int64_t out_c, int64_t i, int64_t o, double (&to)[kMaxWinogradPositions]) const;

 private:
  struct Axis {
    int64_t n, r;
    double g[8][7];  // n x r
  };
  static Axis MakeAxis(int64_t m, int64_t n);
  Axis y_, x_;
};

// Stride 1, no dilation, no groups (A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015): 3x3 by
// F(2x2) or F(4x4), 5x5 by the same, and filters of one row or column: 3 and 5 by F(4), 7 by F(2).
// Points (conv_kernels.h): 0, +-3/4, +-3/2, infinity have a half to a quarter of the rounding error of 0, +-1, +-2, infinity at the
// same cost. Root mean square error over that of direct summation: F(2x2, 3x3) 0.7, F(4x4, 3x3) 2, F(2x2, 5x5) 1.4,
// F(4x4, 5x5) 4.4; along one axis about the root of its square. F(6x6, 3x3) would have 8.
class WinogradConv : public ConvTactic {
 public:
  WinogradConv(const char* name, const ConvKernels& kernels, int64_t m) : ConvTactic(name, kernels.isa), kernels_(kernels), m_(m) {}
  bool Supports(const ConvShape& shape) const override;
  double EstimateWork(const ConvShape& shape) const override;
  int64_t PackedBytes(const ConvShape& shape) const override;
  void Pack(const ConvShape& shape, const float* hwio, void* packed) const override;
  int64_t ScratchBytes(const ConvShape& shape, int threads) const override;
  void Run(const ConvShape& shape, const ConvArgs& args, Gang& gang) const override;

 private:
  WinogradPlan MakePlan(const ConvShape& shape, int threads) const;
  const ConvKernels& kernels_;
  const int64_t m_;
};

}  // namespace tfengine::cpu
