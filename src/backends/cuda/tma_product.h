// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/codegen.h"
#include "backends/cuda/device.h"

// Products of many rows on compute capability 9.0. One warp lets the tensor memory accelerator fill a ring of shared memory
// with tiles of A and B; the other warp groups multiply (wgmma), finish their sums and put them where the residual was, from
// where the accelerator stores them. Blocks stay and take tile after tile, so that the next tile is on its way while a tile is
// finished. The rows of A may be the windows of an image (the accelerator's im2col mode), which makes it a convolution. Blocks that
// share their rows can be a cluster: they tell each other what their rows amount to, and normalise them.
namespace tfengine::cuda {

// How the work is cut.
struct TmaShape {
  int warp_groups = 2;  // of 64 rows each
  int bn = 128;         // columns
  int resident = 1;     // blocks of a multiprocessor: one multiplies while another finishes
  bool normalises = false;  // for TmaProduct::norm
  bool pairs = false;       // two blocks of a cluster, with neighbouring rows, load half of B's tile each, for both
  int split = 1;            // blocks of a cluster that share out the terms of one tile, then its elements: 1, 2 or 4

  int bm() const { return 64 * warp_groups; }
  int threads() const { return 128 * warp_groups + 32; }
  // Shared memory is a ring of slots.
  int Slots(const struct TmaProduct& p) const;
  int SlotBytes(const struct TmaProduct& p) const;
  int Cluster(const struct TmaProduct& p) const;  // blocks of a cluster
  int ClusterBytes(const struct TmaProduct& p) const;
  size_t SharedBytes(const struct TmaProduct& p) const;
  std::string Name() const;  // "tma128x256", "tma128x128r2": two blocks a multiprocessor; "norm128x192", "tma128x192p", "tma128x192/4"
  bool operator==(const TmaShape&) const = default;
};

// out[m, n] = act((A[m, k] · B[n, k]' + zero[n]) * scale[n] + bias[n] + residual[m, n]); scale of 8-bit operands, zero of codes only.
struct TmaProduct {
  DType type = DType::kFloat16;  // of A and B: f16, bf16, f8e4m3, or u8: codes, and signed codes in B
  Elem out;                      // f16, bf16, f32; of 8-bit operands also their type
  std::optional<Elem> residual;
  int64_t m = 0, n = 0;
  int groups = 1;  // products of one A with several B; results, B and biases lie one behind the other
  bool bias = false;
  std::string act;  // expression in x, or ""
  // The rows are normalised: (row - mean) / sqrt(variance + epsilon) [* scale[n]] [+ offset[n]]. Of 16 bits.
  struct Norm {
    float epsilon = 0;
    bool scale = false, offset = false;
  };
  std::optional<Norm> norm;
  // A product whose A is this one's result, as one kernel (piece_conv.h); with this one's type as its own, and no `then`. Its B has
  // columns in the order of ChannelInRegisters().
  std::shared_ptr<const TmaProduct> then;

  // A's rows: k_h * k_w runs of `channels` elements each. Without an image: one run, rows one behind the other.
  bool image = false;
  int64_t channels = 0, batch = 1, in_h = 1, in_w = 1, k_h = 1, k_w = 1, out_h = 1, out_w = 1;
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, pad_h = 0, pad_w = 0;  // pads: top and left; there are zeros

  // Of codes and E4M3, in steps of the result: bounds that the activation leaves where it is a clip (`act` is empty then).
  int lo = 0, hi = 255;
  float least = -INFINITY, most = INFINITY;
  bool folded = false;       // 8 bits: everything is in steps of the result from the start (Int8Conv::folded)
  bool compensates = false;  // A's codes have a zero that is not 0: zero[n] makes up for it

  // B: rows of k elements in the order of RowOfColumn(n, run()), `b_rows` of them a group, `b_pitch` bytes apart.
  int64_t b_rows = 0, b_pitch = 0;
  std::shared_ptr<const DeviceBuffer> weights;
  // f32 per column of all groups: the biases, scales and offsets of rows; of 8-bit operands: scales, biases, and zeros as integers, `table` of each.
  std::shared_ptr<const DeviceBuffer> columns;
  int64_t table = 0;

  bool codes() const { return type == DType::kUint8; }
  bool fp8() const { return type == DType::kFloat8E4m3; }
  size_t size() const { return DTypeSize(type); }
  // Numbers of each column.
  int tables() const { return size() == 2 ? bias + (norm ? norm->scale + norm->offset : 0) : compensates ? 3 : 2; }
  // Columns next to each other that one thread finishes: 16 bytes of the operands' type.
  int run() const { return 16 / static_cast<int>(size()); }
  // Bytes of a row of A or B in shared memory.
  int row_bytes() const;
  int out_row_bytes(int bn) const;  // of a piece of a result's row
};

// The shapes worth timing, best guess first. Empty: the device or the sizes are not for this kernel.
std::vector<TmaShape> TmaShapes(const TmaProduct& p, const Device& device);
// nullopt: no such name, or not for these sizes.
std::optional<TmaShape> FindTmaShape(const TmaProduct& p, const Device& device, const std::string& name);
// All names of those that normalise rows, or do not; for tests.
std::vector<std::string> TmaNames(bool normalises);

// The kernel: inputs A, B, columns (if any), residual (if any).
Generated TmaProductCode(const TmaProduct& p, const TmaShape& shape, int processors);

}  // namespace tfengine::cuda
