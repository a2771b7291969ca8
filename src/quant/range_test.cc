// SPDX-License-Identifier: Apache-2.0
#include "quant/range.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace tfengine::quant {
namespace {

constexpr Method kAll[] = {Method::kEntropy, Method::kMinMax, Method::kPercentile, Method::kMse};
constexpr Method kClipping[] = {Method::kEntropy, Method::kPercentile, Method::kMse};

Histogram Of(const std::vector<float>& data) {
  Histogram h;
  // In pieces that are not sampled.
  for (size_t i = 0; i < data.size(); i += 32768)
    h.Add(data.data() + i, static_cast<int64_t>(std::min<size_t>(32768, data.size() - i)));
  return h;
}

template <typename Distribution>
std::vector<float> Draw(int n, Distribution distribution) {
  std::mt19937 random(17);
  std::vector<float> data(static_cast<size_t>(n));
  for (float& x : data) x = static_cast<float>(distribution(random));
  return data;
}

std::vector<float> Relu(std::vector<float> data) {
  for (float& x : data) x = std::max(x, 0.0f);
  return data;
}

// Mean squared error of rounding the data to the codes of a range.
double Error(const std::vector<float>& data, const Range& range) {
  const QuantParams q = ParamsOf(range);
  double sum = 0;
  for (float x : data) {
    const double code = std::clamp<double>(std::nearbyint(x / q.scale) + q.zero, 0, 255);
    const double error = q.scale * (code - q.zero) - x;
    sum += error * error;
  }
  return sum / static_cast<double>(data.size());
}

TEST(Range, OutliersAreCutByAllMethodsButMinmax) {
  std::vector<float> data = Draw(1'000'000, std::normal_distribution<double>());
  for (int i = 0; i < 20; ++i) data[static_cast<size_t>(i) * 5000] = i % 2 ? 100.0f : -80.0f;
  const Histogram h = Of(data);
  const Range all = ChooseRange(h, {.method = Method::kMinMax});
  EXPECT_EQ(all.lo, -80.0f);
  EXPECT_EQ(all.hi, 100.0f);
  for (Method method : kClipping) {
    const Range range = ChooseRange(h, {.method = method});
    EXPECT_GT(range.hi, 2.5) << MethodName(method);
    EXPECT_GT(-range.lo, 2.5) << MethodName(method);
    // Against the squares of outliers this large, mse keeps some more.
    EXPECT_LT(range.hi, method == Method::kMse ? 100 : 6) << MethodName(method);
  }
}

TEST(Range, OfAUniformDistributionIsAllOfIt) {
  for (auto [lo, hi] : {std::pair(-1.0, 1.0), std::pair(0.0, 5.0), std::pair(-0.25, 3.0)}) {
    const Histogram h = Of(Draw(500'000, std::uniform_real_distribution<double>(lo, hi)));
    for (Method method : kAll) {
      const Range range = ChooseRange(h, {.method = method});
      EXPECT_NEAR(range.lo, lo, 0.03 * (hi - lo)) << MethodName(method);
      EXPECT_NEAR(range.hi, hi, 0.03 * (hi - lo)) << MethodName(method);
    }
  }
}

TEST(Range, PercentileLeavesThatMuchOutside) {
  const std::vector<float> data = Draw(1'000'000, std::normal_distribution<double>());
  const Histogram h = Of(data);
  // Quantiles of the normal distribution: 99.5 % and 99.995 %.
  EXPECT_NEAR(ChooseRange(h, {.method = Method::kPercentile, .percentile = 99}).hi, 2.576, 0.02);
  EXPECT_NEAR(ChooseRange(h, {.method = Method::kPercentile, .percentile = 99}).lo, -2.576, 0.02);
  EXPECT_NEAR(ChooseRange(h, {.method = Method::kPercentile}).hi, 3.89, 0.15);
  EXPECT_NEAR(ChooseRange(h, {.method = Method::kPercentile, .percentile = 99, .symmetric = true}).hi, 2.576, 0.02);
  EXPECT_EQ(ChooseRange(h, {.method = Method::kPercentile, .percentile = 100}).hi, h.max());
  EXPECT_EQ(ChooseRange(h, {.method = Method::kPercentile, .percentile = 100}).lo, h.min());
}

TEST(Range, MseIsTheBestOfAGridOfRanges) {
  const std::vector<float> laplace = [] {
    std::vector<float> data = Draw(200'000, std::exponential_distribution<double>());
    for (size_t i = 0; i < data.size(); i += 2) data[i] *= -0.5f;
    return data;
  }();
  for (const std::vector<float>& data : {Draw(200'000, std::normal_distribution<double>()), laplace, Relu(laplace)}) {
    const Histogram h = Of(data);
    const double found = Error(data, ChooseRange(h, {.method = Method::kMse}));
    for (float lo : {0.3f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f, 1.0f})
      for (float hi : {0.3f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f, 1.0f})
        EXPECT_LE(found, Error(data, {h.min() * lo, h.max() * hi}) * 1.02) << lo << " " << hi;
  }
}

TEST(Range, ZerosBehindAReluChangeNothing) {
  const std::vector<float> data = Draw(400'000, std::gamma_distribution<double>(2.0, 1.0));
  std::vector<float> mostly_zero = data;
  mostly_zero.resize(4'000'000, 0.0f);
  const Histogram without = Of(data), with = Of(mostly_zero);
  for (Method method : {Method::kEntropy, Method::kMse, Method::kMinMax}) {
    const Range a = ChooseRange(without, {.method = method}), b = ChooseRange(with, {.method = method});
    EXPECT_EQ(a.lo, 0);
    EXPECT_EQ(b.lo, 0);
    EXPECT_EQ(a.hi, b.hi) << MethodName(method);
    EXPECT_GT(a.hi, 6) << MethodName(method);
  }
}

TEST(Range, ConstantsAndFewElementsAreCoveredWhole) {
  for (float value : {3.0f, -0.25f, 1e-30f, 1e30f}) {
    const Histogram h = Of(std::vector<float>(10'000, value));
    for (Method method : kAll) {
      const Range range = ChooseRange(h, {.method = method});
      EXPECT_NEAR((value > 0 ? range.hi : range.lo) / value, 1, 0.001) << MethodName(method);
      EXPECT_EQ(value > 0 ? range.lo : range.hi, 0) << MethodName(method);
    }
  }
  const Histogram few = Of({0.5f, 90.0f, 0.25f});
  for (Method method : {Method::kEntropy, Method::kMse}) {
    EXPECT_EQ(EffectiveMethod(few, method), Method::kMinMax);
    EXPECT_EQ(ChooseRange(few, {.method = method}).hi, 90.0f);
  }
}

TEST(Range, AlwaysHoldsZeroAndGivesAPositiveScale) {
  const float largest = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
  std::vector<std::vector<float>> cases = {{},       {0, 0},           {1},      {-1},
                                           {least},  {-largest, largest}, {5, 6}, {-6, -5},
                                           {1e-40f, -1e-41f}};
  cases.push_back(Draw(50'000, std::normal_distribution<double>(3, 1)));
  cases.push_back(Draw(50'000, std::normal_distribution<double>(-30, 1)));
  cases.push_back(Draw(50'000, std::cauchy_distribution<double>()));
  for (const auto& data : cases) {
    const Histogram h = Of(data);
    for (Method method : kAll) {
      for (bool symmetric : {false, true}) {
        const Range range = ChooseRange(h, {.method = method, .symmetric = symmetric});
        EXPECT_LE(range.lo, 0);
        EXPECT_GE(range.hi, 0);
        if (symmetric) EXPECT_EQ(range.lo, -range.hi);
        const QuantParams q = ParamsOf(range, symmetric);
        EXPECT_GT(q.scale, 0);
        EXPECT_TRUE(std::isfinite(q.scale));
        EXPECT_GE(q.zero, 0);
        EXPECT_LE(q.zero, 255);
        if (symmetric) EXPECT_EQ(q.zero, 128);
        // The ends are reached within half a step.
        if (range.hi - range.lo > 1e-30f && std::isfinite(range.hi - range.lo) && !symmetric) {
          EXPECT_NEAR(q.scale * (255.0 - q.zero), range.hi, q.scale * 0.51);
          EXPECT_NEAR(q.scale * (0.0 - q.zero), range.lo, q.scale * 0.51);
        }
      }
    }
  }
}

TEST(Range, OfNothingHasScaleOne) {
  EXPECT_EQ(ParamsOf({}).scale, 1);
  EXPECT_EQ(ParamsOf({}).zero, 0);
  EXPECT_EQ(ParamsOf({}, true).zero, 128);
}

TEST(Range, MethodsHaveNames) {
  for (Method method : kAll) EXPECT_EQ(ParseMethod(MethodName(method)), method);
  EXPECT_FALSE(ParseMethod("best"));
  EXPECT_EQ(MethodNames(), "entropy, minmax, percentile, mse");
}

TEST(Fp8Scale, TheLargerEndBecomesTheLargestNumber) {
  EXPECT_EQ(Fp8ScaleOf({-896, 3}), 2);
  EXPECT_EQ(Fp8ScaleOf({0, 448}), 1);
  EXPECT_EQ(Fp8ScaleOf({0, 0}), 1);
  EXPECT_GT(Fp8ScaleOf({0, 1e-45f}), 0);
}

}  // namespace
}  // namespace tfengine::quant
