// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"
#include "base/gang.h"

namespace tfengine::cpu {

// A transposed convolution: the gradient of a convolution y -> x with respect to its input (Conv2DBackpropInput).
//   y[n, iy, ix, o] = sum over taps and oy, ox with oy * stride_h + ky * dil_h - pad_top == iy (and so for x) of
//     x[n, oy, ox, i] * w[ky, kx, o, i]
// x [batch, in_h, in_w, in_c], w [k_h, k_w, out_c, in_c], y [batch, out_h, out_w, out_c]; pad_top and pad_left are those of
// the forward convolution.
struct ConvTransposeShape {
  int64_t batch = 1, in_h = 1, in_w = 1, in_c = 1;
  int64_t out_h = 1, out_w = 1, out_c = 1;
  int64_t k_h = 1, k_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dil_h = 1, dil_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  bool operator==(const ConvTransposeShape&) const = default;
};

struct ConvTransposeArgs {
  const float* x = nullptr;
  const void* packed = nullptr;
  const float* bias = nullptr;      // [out_c], or null
  const float* residual = nullptr;  // like y, added before the activation, or null; may be y
  Activation activation;
  float* y = nullptr;
  void* scratch = nullptr;
};

// Computed as stride_h * stride_w direct convolutions, one for each residue of the output position, so that no tap that
// meets a gap is multiplied. The packed filter serves all batch and image sizes and paddings. `packed` and `scratch`
// must be 64-byte aligned. The instruction set is part of the packed layout: give the same one to all four.
int64_t ConvTransposePackedBytes(const ConvTransposeShape& shape, CpuIsa isa);
void ConvTransposePack(const ConvTransposeShape& shape, CpuIsa isa, const float* w, void* packed);
int64_t ConvTransposeScratchBytes(const ConvTransposeShape& shape, CpuIsa isa, int threads);
void ConvTransposeRun(const ConvTransposeShape& shape, CpuIsa isa, const ConvTransposeArgs& args, Gang& gang);

}  // namespace tfengine::cpu
