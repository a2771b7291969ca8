// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"
#include "base/gang.h"

namespace tfengine::cpu {

// A 2-D convolution: y[n, oy, ox, o] = sum over ky, kx, i of
//   x[n, oy * stride_h + ky * dil_h - pad_top, ox * stride_w + kx * dil_w - pad_left, g * in_c / groups + i] * w[ky, kx, i, o]
// with g = o / (out_c / groups). Points outside the image count as zero; padding below and right follows from out_h and out_w.
// Layouts: x [batch, in_h, in_w, in_c], w [k_h, k_w, in_c / groups, out_c], y [batch, out_h, out_w, out_c]; w is dense, the pixels
// of the others may lie further apart than they have channels (part of a wider tensor).
// A depthwise convolution has groups == in_c; TensorFlow's [k_h, k_w, in_c, multiplier] filter is w as it stands.
struct ConvShape {
  int64_t batch = 1, in_h = 1, in_w = 1, in_c = 1;
  int64_t out_h = 1, out_w = 1, out_c = 1;
  int64_t k_h = 1, k_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dil_h = 1, dil_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  int64_t groups = 1;
  // Elements from one pixel to the next; 0: in_c, out_c, out_c.
  int64_t x_pixel = 0, y_pixel = 0, residual_pixel = 0;

  int64_t Pixels() const { return batch * out_h * out_w; }
  int64_t WeightCount() const { return k_h * k_w * (in_c / groups) * out_c; }
  // Multiply-adds, padding included.
  int64_t Macs() const { return Pixels() * k_h * k_w * (in_c / groups) * out_c; }
  bool operator==(const ConvShape&) const = default;
};

// The operands of one run. y may not overlap anything else; residual may be y itself (added in place) if their pixels are
// equally far apart.
struct ConvArgs {
  const float* x = nullptr;
  const void* packed = nullptr;     // written by the same tactic's Pack
  const float* bias = nullptr;      // [out_c], or null
  const float* residual = nullptr;  // of y's shape, added before the activation, or null
  Activation activation;
  float* y = nullptr;
  void* scratch = nullptr;  // ScratchBytes(shape, gang.threads()) bytes
};

// One way to compute a convolution. Stateless; all members are thread-safe. `packed` and `scratch` must be 64-byte aligned.
// Supports, PackedBytes and Pack depend on channels, groups, kernel, stride and dilation only, never on batch, image
// size, padding or distances of pixels: one packed filter serves them all.
class ConvTactic {
 public:
  virtual ~ConvTactic() = default;
  ConvTactic(const ConvTactic&) = delete;
  ConvTactic& operator=(const ConvTactic&) = delete;

  const char* name() const { return name_; }  // stable, used in plans: "direct_avx512"
  CpuIsa isa() const { return isa_; }

  virtual bool Supports(const ConvShape& shape) const = 0;
  // A rough measure of a run's time, in vector multiply-adds: only for ordering tactics.
  virtual double EstimateWork(const ConvShape& shape) const = 0;
  virtual int64_t PackedBytes(const ConvShape& shape) const = 0;
  virtual void Pack(const ConvShape& shape, const float* hwio, void* packed) const = 0;
  virtual int64_t ScratchBytes(const ConvShape& shape, int threads) const = 0;
  // Reads only x, packed, bias and residual, within their exact sizes; does not allocate.
  virtual void Run(const ConvShape& shape, const ConvArgs& args, Gang& gang) const = 0;

 protected:
  ConvTactic(const char* name, CpuIsa isa) : name_(name), isa_(isa) {}

 private:
  const char* name_;
  CpuIsa isa_;
};

// Every tactic that this CPU can run for the shape, the likely fastest first; never empty for a valid shape.
std::vector<const ConvTactic*> ConvTactics(const ConvShape& shape);

// The tactic of that name if this CPU can run it, else null.
const ConvTactic* FindConvTactic(std::string_view name);

// All tactics, whatever this CPU can run.
const std::vector<const ConvTactic*>& AllConvTactics();

}  // namespace tfengine::cpu
