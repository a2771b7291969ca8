// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backends/cuda/codegen.h"
#include "backends/cuda/device.h"

// The first layer of an image network as one kernel: the conversion of the image to 16 bits or to codes, a convolution over few
// channels on tensor cores, bias, activation, and a max pooling behind it. A block keeps its piece of the image in shared memory,
// where the windows of a row of pixels lie one behind the other: nothing is gathered, and channels are not padded to 8.
// Codes are multiplied in f16, less their zero: products of them with codes of weights are exact, and so are their sums in f32.
namespace tfengine::cuda {

struct FirstLayer {
  DType type = DType::kFloat16;  // of the products: f16 or bf16; of codes f16
  Elem in;                       // of the image: f32, `type` or codes
  std::optional<Elem> codes;     // what the image is converted to, or is, where the layer multiplies codes
  Elem out;                      // of the result: `type`, codes or, without pooling, f32
  int64_t batch = 0, in_h = 0, in_w = 0, channels = 0, filters = 0, out_h = 0, out_w = 0;  // of the convolution
  int64_t k_h = 0, k_w = 0, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;              // pads: top and left
  bool warp_groups = false;  // multiply (wgmma, compute capability 9.0)
  bool bias = false;
  std::string act;  // expression in x, or ""
  // Max pooling of the result; 1 x 1: none.
  int64_t pool_h = 1, pool_w = 1, pool_stride_h = 1, pool_stride_w = 1, pool_pad_h = 0, pool_pad_w = 0, pooled_h = 0, pooled_w = 0;

  std::shared_ptr<const DeviceBuffer> weights, bias_buffer;  // as FillWeights makes them; f32
  std::shared_ptr<const DeviceBuffer> scale_buffer;          // of codes: what a sum is worth, by filter

  // Whether scales and bias are to be in steps of the result's codes.
  bool in_steps() const;
  bool Fits(int architecture, int processors) const;
  // `to`: WeightCount() floats in the order in which threads read them. `filter`: [k_h, k_w, channels, filters].
  int64_t WeightCount() const;
  void FillWeights(const float* filter, float* to) const;
};

// The kernel: inputs image, weights, scales (of codes), bias (if any).
Generated FirstLayerCode(const FirstLayer& layer, int architecture, int processors);

}  // namespace tfengine::cuda
