// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/device.h"
#include "tfengine/types.h"

namespace tfengine::cuda {

// y = relu(conv(x, w) + residual + bias) on images in NHWC, as one cuDNN graph. The filter is [K, KH, KW, C].
struct DnnConv {
  DType type = DType::kFloat32;  // of x, w, bias, residual and y: f16, bf16 or f32; sums are f32
  int64_t batch = 0, in_h = 0, in_w = 0, channels = 0, filters = 0, k_h = 0, k_w = 0, out_h = 0, out_w = 0;
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, pad_h = 0, pad_w = 0;  // the same on both sides
  bool bias = false, residual = false, relu = false;
  float relu_upper = 0;  // > 0: the result is clipped there
  bool tf32 = false;
  int64_t workspace_bytes = int64_t{64} << 20;  // at most

  int x_at = 0, residual_at = 1;  // numbers of the step's inputs
  std::shared_ptr<const DeviceBuffer> filter_buffer, bias_buffer;  // bias in `type`
};

// The names of the engines, with their settings, that cuDNN proposes for this convolution; the best guess first. Those
// that would round f32 more than f32 does are left out. Empty: cuDNN cannot run it as one graph.
Result<std::vector<std::string>> DnnConvPlans(const Device& device, const DnnConv& conv);

// The kernel of the plan called `name`, or of the first that works; *chosen is its name. nullptr: there is none.
Result<std::shared_ptr<const DeviceKernel>> MakeDnnConv(const Device& device, const DnnConv& conv, const std::string& name,
                                                        std::string* chosen);

}  // namespace tfengine::cuda
