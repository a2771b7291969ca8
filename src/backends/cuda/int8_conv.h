// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/codegen.h"
#include "backends/cuda/device.h"

// Convolutions and matrix products of 8 bit operands in one kernel: an implicit product of u8 codes with signed 8 bit
// weights and int32 sums, or of E4M3 with E4M3 and f32 sums, and everything up to the stored result in its epilogue.
namespace tfengine::cuda {

// How a product is cut into blocks. Sums of a block are kept in registers, interleaved such that a thread has
// neighbours in channels: results leave in vectors without passing through shared memory.
struct Int8Tile {
  int bm, bn, bk;        // pixels, channels and bytes of the reduction that a block holds at a time
  int warps_m, warps_n;
  int stages;            // of the ring of shared memory that loads run ahead in
  int splits = 1;        // blocks that share one tile's reduction: a cluster, which adds up through shared memory
  bool group = false;    // a warp group's instructions (wgmma, compute capability 9.0), which read shared memory themselves

  int threads() const { return warps_m * warps_n * 32; }
  int warp_columns() const { return bn / warps_n; }
  // Channels that one thread has next to each other: 16 or 8.
  int run() const { return warp_columns() >= 64 ? 16 : warp_columns() / 4; }
  size_t shared_bytes() const;
  // Sums of a thread.
  int sums() const { return bm * bn / threads(); }
  // Blocks of a multiprocessor that run at once; registers are limited accordingly. `fp8`: of a product of E4M3.
  int resident(bool fp8 = false) const;
  std::string name() const;
  bool operator==(const Int8Tile&) const = default;
};

// y = act(conv(x, w) * scale + bias + residual) on images in NHWC.
struct Int8Conv {
  int64_t batch = 1, in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  int64_t pixel = 0;            // bytes from a pixel of x to the next
  int64_t k_h = 1, k_w = 1;     // taps; a tap is `run` bytes that lie together in x
  int64_t run = 0;
  int64_t filters = 0;
  int64_t columns = 0;          // > 0: filters are several products' of so many each, whose results lie one behind the other
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, pad_h = 0, pad_w = 0;  // outside lies the code of zero
  int zero = 0;                 // of x
  bool fp8 = false;             // x and weights are E4M3; no zero then
  Elem y;                       // how results are stored
  std::optional<Elem> residual;
  std::string act;              // an expression in x, or empty
  // Bounds of the codes that the activation leaves, where it is a clip; `act` is empty then.
  int lo = 0, hi = 255;
  // The same of E4M3: reals, in units of y.
  float least = -INFINITY, most = INFINITY;

  DType codes() const { return fp8 ? DType::kFloat8E4m3 : DType::kUint8; }
  // Whether the residual is stored as the results of such products are.
  bool code_residual() const { return residual && residual->quant.quantized() && residual->dtype == codes(); }
  // A clip as activation and a residual in 8 bits: everything is in units of the result from the start.
  bool folded() const { return y.quant.quantized() && act.empty() && (!residual || code_residual()); }
  int64_t rows() const { return batch * out_h * out_w; }
  int64_t reduction() const { return k_h * k_w * run; }
  // Rows of a product: no window, no padding.
  bool plain() const {
    return k_h == 1 && k_w == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0 && in_h == out_h && in_w == out_w;
  }
  // Bytes that x is copied in: the most that always lie aligned, 16, 8 or 4.
  int unit() const;
};

// Whether kernels exist for this product: sizes and alignments, and the instructions of the device.
bool Int8Possible(const Int8Conv& conv, const Device& device);
// Tiles worth a trial, the best guess first; never empty where Int8Possible.
std::vector<Int8Tile> Int8Tiles(const Int8Conv& conv, const Device& device);

// CUDA C++ of the kernel. Sizes are arguments: layers with the same kind of epilogue share the code.
std::string Int8Source(const Int8Conv& conv, const Int8Tile& tile);
// The part of it that depends on the kind of operands: the type of sums, products, rounding (int8_arithmetic.cc).
std::string Int8Arithmetic(const Int8Conv& conv, const Int8Tile& tile);

// Rows and bytes of a row of packed weights.
int64_t Int8PackedRows(const Int8Conv& conv);
int64_t Int8PackedPitch(const Int8Conv& conv);
// `code(channel, at)`: the byte of a channel's weight at a place of the reduction. `run`: of the tile.
void PackInt8Weights(const Int8Conv& conv, int run, FunctionRef<signed char(int64_t, int64_t)> code, signed char* to);

// What the epilogue needs of each channel.
struct Int8Channels {
  std::vector<float> scale, bias;  // per channel: of a sum, and the real bias
  std::vector<int64_t> sum;        // of the channel's weights as integers; 0 where x has no zero
};
// The same of one channel, in units of the result if the convolution is folded.
struct Int8Channel {
  float scale, bias;
  int32_t zero;  // added to a sum, it makes up for the zero of x
};
Int8Channel ChannelOf(const Int8Conv& conv, const Int8Channels& channels, size_t channel);
// The kernel: input 0 is x, input 1 the residual if there is one.
Result<std::shared_ptr<const DeviceKernel>> MakeInt8Conv(Device& device, const std::string& cache_dir, const Int8Conv& conv,
                                                         const Int8Tile& tile, std::shared_ptr<const DeviceBuffer> weights,
                                                         const Int8Channels& channels);

}  // namespace tfengine::cuda
