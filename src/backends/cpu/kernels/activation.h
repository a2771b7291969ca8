// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tfengine::cpu {

// Element-wise functions that kernels can apply to their result.
enum class ActivationKind : uint8_t {
  kNone = 0,
  kRelu,         // max(x, 0)
  kRelu6,        // min(max(x, 0), 6)
  kClip,         // min(max(x, alpha), beta)
  kLeakyRelu,    // x > 0 ? x : alpha * x
  kElu,          // x > 0 ? x : alpha * (exp(x) - 1)
  kSelu,         // 1.0507 * (x > 0 ? x : 1.67326 * (exp(x) - 1))
  kSigmoid,      // 1 / (1 + exp(-x))
  kTanh,         //
  kSilu,         // x * sigmoid(x), also called swish
  kGeluErf,      // x * (1 + erf(x / sqrt(2))) / 2
  kGeluTanh,     // x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2
  kHardSigmoid,  // min(max(alpha * x + beta, 0), 1)
  kHardSwish,    // x * min(max(x + 3, 0), 6) / 6
  kSoftplus,     // log(1 + exp(x))
  kSoftsign,     // x / (1 + |x|)
  kMish,         // x * tanh(softplus(x))
};

struct Activation {
  ActivationKind kind = ActivationKind::kNone;
  float alpha = 0;
  float beta = 0;

  bool operator==(const Activation&) const = default;
};

// "relu6", "clip", ...
const char* ActivationName(ActivationKind kind);

// y[i] = activation(x[i]) in plain code on any CPU, with libm: for tests and rare paths. x may be y.
// The vector forms are in activation_simd.h.
void ApplyActivationReference(const Activation& activation, const float* x, float* y, int64_t n);

}  // namespace tfengine::cpu
