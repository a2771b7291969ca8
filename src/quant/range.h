// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "quant/histogram.h"

// From a distribution to the range that 8-bit codes should cover, and from a range to scale and zero point.
namespace tfengine::quant {

enum class Method {
  // Least Kullback-Leibler divergence between the distribution and its quantized form, over ranges cut at +-T (the
  // method of TensorRT; S. Migacz, "8-bit inference with TensorRT", GTC 2017). Exact zeros are left out.
  kEntropy,
  // All that was seen.
  kMinMax,
  // All but (100 - percentile)/2 percent of the elements at either end; symmetric: all but 100 - percentile percent of
  // the magnitudes.
  kPercentile,
  // Least expected squared error of rounding and cutting together.
  kMse,
};

const char* MethodName(Method method);  // "entropy"
std::optional<Method> ParseMethod(std::string_view name);
std::string MethodNames();  // "entropy, minmax, ...", for messages

struct RangeOptions {
  Method method = Method::kMse;
  double percentile = 99.99;  // in (0, 100]
  // lo = -hi: for formats whose zero point is fixed in the middle.
  bool symmetric = false;
};

// Always lo <= 0 <= hi, finite.
struct Range {
  float lo = 0, hi = 0;
  bool operator==(const Range&) const = default;
};

// Entropy and mse need a distribution: of fewer non-zero elements than this all are covered.
inline constexpr int64_t kLeastElements = 256;

// The method that ChooseRange really uses.
Method EffectiveMethod(const Histogram& histogram, Method wanted);
Range ChooseRange(const Histogram& histogram, const RangeOptions& options);

// real = scale * (code - zero), for codes 0..255. Code `zero` is exactly 0.
struct QuantParams {
  float scale = 1;
  int zero = 0;
};

// The asymmetric form spreads 255 steps over the range and rounds the zero point, so that either end moves by half a
// step at most. The symmetric form has zero 128 and 127 steps to the larger end (code 0 is not needed). An empty range
// has scale 1: every code but the zero point is unused.
QuantParams ParamsOf(const Range& range, bool symmetric = false);

// real = scale * E4M3 number: the larger end becomes the largest number.
float Fp8ScaleOf(const Range& range);

}  // namespace tfengine::quant
