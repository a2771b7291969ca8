// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/activation_lines.h"
#include "backends/cpu/kernels/format.h"

// What the convolutions and matrix products in reduced precision share: how operands are multiplied, how sums are written.
namespace tfengine::cpu {

enum class DotType : uint8_t {
  kInt8,  // u8 codes with a zero point times signed codes in [-127, 127], summed exactly in 32 bits
  kBf16,  // bf16 times bf16, summed in f32
  kF32,   // f32 times f32: for outputs or residuals that are not f32 (else conv.h and matmul.h have more ways)
};

// How a sum becomes an element of the output: real = sum * scale[c] + bias[c]; + residual; activation; rounded to `out`.
// For kInt8 the sum is that of (x - zero of x) * w code, so scale is x's scale times the channel's weight step.
struct OutputStage {
  const float* scale = nullptr;  // [channels]; null: 1
  const float* bias = nullptr;   // [channels]; null: 0
  Format residual;               // used if there is one
  Activation activation;
  Format out;
  const ActivationLines* lines = nullptr;  // of activation and out: may be used instead
  bool bounded = false;  // kInt8: results in units of out are known to be below 1e9, whatever the sums
};

// The longest reduction whose kInt8 sums cannot overflow.
inline constexpr int64_t kMaxInt8Terms = 66000;

// Round to nearest even; NaN stays NaN.
uint16_t RoundToBf16(float v);
// clamp(round_half_even(w / step), -127, 127); 0 if that is NaN.
int8_t WeightCode(float w, float step);

}  // namespace tfengine::cpu
