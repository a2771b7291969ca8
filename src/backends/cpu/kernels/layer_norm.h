// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "base/gang.h"

namespace tfengine::cpu {

struct LayerNormArgs {
  const float* x = nullptr;         // [rows, cols]
  const float* residual = nullptr;  // [rows, cols] or null: normalises x + residual
  const float* gamma = nullptr;     // [cols] or null (1)
  const float* beta = nullptr;      // [cols] or null (0)
  float* y = nullptr;               // [rows, cols]; may be x or residual
  float* sum = nullptr;             // null, or receives x + residual; may be x or residual, not y
  int64_t rows = 0, cols = 0;
  float epsilon = 1e-3f;
};

// y = (v - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis, v = x + residual. Mean first, then the
// mean of squared differences: no cancellation.
void LayerNorm(const LayerNormArgs& args, Gang& gang,
               CpuIsa isa = HostCpu().isa);

// Formats of a norm whose x, residual and y are not all f32: the args' pointers to them are ignored in favour of these.
struct NormFormats {
  const void* x = nullptr;
  Format x_format;
  const void* residual = nullptr;
  Format residual_format;
  void* y = nullptr;  // may be x or residual if it is stored alike
  Format y_format;
};

// `scratch`: 64-byte aligned, LayerNormScratchBytes. args.sum is ignored.
size_t LayerNormScratchBytes(int64_t cols, int threads);
void LayerNorm(const LayerNormArgs& args, const NormFormats& typed, void* scratch, Gang& gang, CpuIsa isa = HostCpu().isa);

struct BatchNormArgs {
  const float* x = nullptr;  // [rows, cols]
  const float* scale = nullptr;
  const float* offset = nullptr;
  const float* mean = nullptr;
  const float* variance = nullptr;  // the four: [cols]
  float* y = nullptr;               // may be x
  int64_t rows = 0, cols = 0;
  float epsilon = 1e-3f;
};

// y = (x - mean) * (scale / sqrt(variance + epsilon)) + offset per column, TensorFlow's inference form.
void BatchNorm(const BatchNormArgs& args, Gang& gang,
               CpuIsa isa = HostCpu().isa);
void BatchNorm(const BatchNormArgs& args, const NormFormats& typed, Gang& gang, CpuIsa isa = HostCpu().isa);

}  // namespace tfengine::cpu
