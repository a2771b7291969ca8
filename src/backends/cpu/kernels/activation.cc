// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/activation.h"

#include <cmath>

#include "base/errors.h"

namespace tfengine::cpu {
namespace {

// NaN passes through, as in TensorFlow: every comparison is false for it and keeps x.
double Clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

double Evaluate(const Activation& a, double x) {
  switch (a.kind) {
    case ActivationKind::kNone: return x;
    case ActivationKind::kRelu: return x < 0 ? 0 : x;
    case ActivationKind::kRelu6: return Clip(x, 0, 6);
    case ActivationKind::kClip: return Clip(x, a.alpha, a.beta);
    case ActivationKind::kLeakyRelu: return x > 0 ? x : a.alpha * x;
    case ActivationKind::kElu: return x > 0 ? x : a.alpha * std::expm1(x);
    case ActivationKind::kSelu:
      return 1.0507009873554804934193 * (x > 0 ? x : 1.6732632423543772848170 * std::expm1(x));
    case ActivationKind::kSigmoid: return 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh: return std::tanh(x);
    case ActivationKind::kSilu: return x / (1 + std::exp(-x));
    case ActivationKind::kGeluErf: return 0.5 * x * std::erfc(-x * M_SQRT1_2);
    case ActivationKind::kGeluTanh:
      return x / (1 + std::exp(-2 * std::sqrt(M_2_PI) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kHardSigmoid: return Clip(a.alpha * x + a.beta, 0, 1);
    case ActivationKind::kHardSwish: return x * Clip(x + 3, 0, 6) / 6;
    case ActivationKind::kSoftplus: return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x)));
    case ActivationKind::kSoftsign: return x / (1 + std::fabs(x));
    case ActivationKind::kMish: {
      double softplus = (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x)));
      return x * std::tanh(softplus);
    }
  }
  return x;
}

}  // namespace

const char* ActivationName(ActivationKind kind) {
  static constexpr const char* kNames[] = {
      "none", "relu",     "relu6",     "clip",         "leaky_relu", "elu",      "selu",     "sigmoid", "tanh",
      "silu", "gelu_erf", "gelu_tanh", "hard_sigmoid", "hard_swish", "softplus", "softsign", "mish"};
  const size_t i = static_cast<size_t>(kind);
  TFE_CHECK(i < sizeof(kNames) / sizeof(kNames[0]));
  return kNames[i];
}

void ApplyActivationReference(const Activation& activation, const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(Evaluate(activation, x[i]));
}

}  // namespace tfengine::cpu
