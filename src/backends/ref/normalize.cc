// SPDX-License-Identifier: Apache-2.0
// Ops along the last axis.
#include <algorithm>
#include <cmath>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"

namespace tfengine::ref {

Status RunBatchNorm(const Call& c) {
  std::vector<double> x = Read<double>(c.in(0));
  const std::vector<double> scale = Read<double>(c.in(1)), offset = Read<double>(c.in(2)), mean = Read<double>(c.in(3)),
                            variance = Read<double>(c.in(4));
  const double epsilon = c.attrs.Float("epsilon");
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t ch = i % scale.size();
    x[i] = (x[i] - mean[ch]) / std::sqrt(variance[ch] + epsilon) * scale[ch] + offset[ch];
  }
  Write(x, c.out());
  return OkStatus();
}

Status RunLayerNorm(const Call& c) {
  std::vector<double> x = Read<double>(c.in(0));
  std::vector<double> gamma, beta;
  if (c.optional(1)) gamma = Read<double>(*c.optional(1));
  if (c.optional(2)) beta = Read<double>(*c.optional(2));
  if (c.optional(3)) {
    const std::vector<double> residual = Read<double>(*c.optional(3));
    for (size_t i = 0; i < x.size(); ++i) x[i] += residual[i];
  }
  const double epsilon = c.attrs.Float("epsilon");
  const size_t n = static_cast<size_t>(c.in(0).shape().back());
  for (size_t row = 0; row < x.size(); row += n) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < n; ++i) mean += x[row + i] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) variance += (x[row + i] - mean) * (x[row + i] - mean) / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) {
      double& v = x[row + i];
      v = (v - mean) / std::sqrt(variance + epsilon);
      if (!gamma.empty()) v *= gamma[i];
      if (!beta.empty()) v += beta[i];
    }
  }
  Write(x, c.out());
  return OkStatus();
}

Status RunSoftmax(const Call& c) {
  std::vector<double> x = Read<double>(c.in(0));
  const size_t n = static_cast<size_t>(c.in(0).shape().back());
  for (size_t row = 0; row < x.size(); row += n) {
    const double highest = *std::max_element(&x[row], &x[row] + n);
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += std::exp(x[row + i] - highest);
    for (size_t i = 0; i < n; ++i) {
      const double shifted = x[row + i] - highest;
      x[row + i] = c.op == Op::kLogSoftmax ? shifted - std::log(sum) : std::exp(shifted) / sum;
    }
  }
  Write(x, c.out());
  return OkStatus();
}

}  // namespace tfengine::ref
