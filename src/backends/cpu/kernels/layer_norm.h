// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
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

}  // namespace tfengine::cpu
