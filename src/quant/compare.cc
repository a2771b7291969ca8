// SPDX-License-Identifier: Apache-2.0
#include "quant/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tfengine::quant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The first greatest element; NaN is never greatest.
int64_t ArgMax(const float* data, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i)
    if (data[i] > data[best] || (std::isnan(data[best]) && !std::isnan(data[i]))) best = i;
  return best;
}

}  // namespace

void Comparison::Add(const float* reference, const float* candidate, int64_t n, int64_t row) {
  for (int64_t i = 0; i < n; ++i) {
    const double a = reference[i], b = candidate[i];
    ++count_;
    if (!std::isfinite(a) || !std::isfinite(b)) {
      broken_ += !(a == b || (std::isnan(a) && std::isnan(b)));
      continue;
    }
    const double error = b - a;
    reference_ += a * a;
    candidate_ += b * b;
    product_ += a * b;
    error_ += error * error;
    max_ = std::max(max_, std::fabs(error));
  }
  if (row <= 0) return;
  for (int64_t i = 0; i + row <= n; i += row) {
    ++rows_;
    agreeing_ += ArgMax(reference + i, row) == ArgMax(candidate + i, row);
  }
}

double Comparison::snr_db() const {
  if (broken_ > 0) return -kInfinity;
  if (error_ == 0) return kInfinity;
  return 10 * std::log10(reference_ / error_);
}

double Comparison::cosine() const {
  if (broken_ > 0) return 0;
  if (reference_ == 0 && candidate_ == 0) return 1;
  if (reference_ == 0 || candidate_ == 0) return 0;
  return std::clamp(product_ / std::sqrt(reference_) / std::sqrt(candidate_), -1.0, 1.0);
}

double Comparison::max_abs_error() const { return broken_ > 0 ? kInfinity : max_; }

double Comparison::relative_rms() const {
  if (broken_ > 0) return kInfinity;
  if (error_ == 0) return 0;
  return std::sqrt(error_ / reference_);
}

double Comparison::top1_agreement() const {
  return rows_ == 0 ? 1 : static_cast<double>(agreeing_) / static_cast<double>(rows_);
}

}  // namespace tfengine::quant
