// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/codegen.h"
#include "backends/cuda/device.h"

// Products of 16-bit matrices on tensor cores, with everything behind them in the same kernel: bias, residual, any activation.
// The rows of A may be the windows of an image, which makes it a convolution. What cuBLASLt and cuDNN do not do: exact GELU
// and other activations, sums shared out among the blocks of a cluster, loading weights while the kernel in front still runs,
// several products of one A at once.
namespace tfengine::cuda {

// How the work is cut. mma.sync (compute capability 8.0 and later) or wgmma (9.0): `warps` times 16 rows a warp of bm x bn.
struct TileShape {
  bool wgmma = false;
  int bm = 64, bn = 64;
  int warps_m = 2, warps_n = 2;  // wgmma: 4 warps per 64 rows, and 1
  int stages = 4;                // of 64 terms in shared memory, at most
  bool lean = false;             // fewer stages, so that several blocks share a multiprocessor and hide each other's ends
  bool deep = false;             // more stages: for few rows, whose weights should be on their way early
  int split = 1;                 // blocks of a cluster that share out the terms

  int threads() const { return 32 * warps_m * warps_n; }
  int StagesFor(int64_t k) const;
  size_t SharedBytes(int64_t k) const;
  std::string Name() const;  // "tile64x64", "wg128x256"; "l": lean; "d": deep; "/4": split
};

// out[m, n] = act(A[m, k] · B[n, k]' + bias[n] + residual[m, n]); k and n are multiples of 8.
struct TileProduct {
  DType type = DType::kFloat16;  // of A and B: f16 or bf16
  Elem out, residual_elem;       // f16, bf16 or f32
  int64_t m = 0, n = 0, k = 0;
  int groups = 1;  // products of one A with several B; results, B and biases lie one behind the other
  bool bias = false, residual = false;
  std::string act;  // expression in x, or ""

  // A's rows are windows: k = k_h * k_w * channels, m = batch * out_h * out_w.
  bool image = false;
  int64_t in_h = 0, in_w = 0, channels = 0, k_h = 1, k_w = 1, out_h = 0, out_w = 0;
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, pad_h = 0, pad_w = 0;  // pads: top and left

  std::shared_ptr<const DeviceBuffer> weights, bias_buffer;  // B; f32
};

// The shapes worth timing, best guess first. Empty: the device or the sizes are not for this kernel.
std::vector<TileShape> TileShapes(const TileProduct& p, int architecture, int processors);
// The names of all shapes, for tests.
std::vector<std::string> TileNames(int architecture);
// nullopt: no such name, or not for these sizes.
std::optional<TileShape> FindTileShape(const TileProduct& p, int architecture, const std::string& name);
// The kernel: inputs A, B, bias (if any), residual (if any).
Generated TileProductCode(const TileProduct& p, const TileShape& shape);

}  // namespace tfengine::cuda
