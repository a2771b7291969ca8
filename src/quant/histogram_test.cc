// SPDX-License-Identifier: Apache-2.0
#include "quant/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace tfengine::quant {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

Histogram Of(const std::vector<float>& data) {
  Histogram h;
  h.Add(data.data(), static_cast<int64_t>(data.size()));
  return h;
}

std::vector<float> Normal(int64_t n, int seed, float sigma = 1) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> data(static_cast<size_t>(n));
  for (float& x : data) x = normal(random);
  return data;
}

void ExpectSame(const Histogram& a, const Histogram& b) {
  EXPECT_EQ(a.count(), b.count());
  EXPECT_EQ(a.zeros(), b.zeros());
  EXPECT_EQ(a.min(), b.min());
  EXPECT_EQ(a.max(), b.max());
  ASSERT_EQ(a.width(), b.width());
  for (int i = -Histogram::kBins; i < Histogram::kBins; ++i) ASSERT_EQ(a.bin(i), b.bin(i)) << i;
}

TEST(Histogram, PutsElementsIntoTheBinThatHoldsThem) {
  const Histogram h = Of({3.0f, 3.9f, -3.0f, 0.0f, -0.0f, 0.001f});
  EXPECT_EQ(h.width(), 4.0 / Histogram::kBins);
  EXPECT_EQ(h.zeros(), 2);
  EXPECT_EQ(h.bin(0), 0);
  EXPECT_EQ(h.bin(1), 1);  // 0.001 is in [1, 2) / 1024
  EXPECT_EQ(h.bin(3072), 1);
  EXPECT_EQ(h.bin(-3073), 1);  // (-3073, -3072] / 1024
  EXPECT_EQ(h.bin(static_cast<int>(3.9f * 1024)), 1);
  EXPECT_EQ(h.weight(), h.count());
  EXPECT_EQ(h.min(), -3.0f);
  EXPECT_EQ(h.max(), 3.9f);
}

TEST(Histogram, DoesNotDependOnTheOrderInWhichTheRangeGrows) {
  const std::vector<float> small = Normal(5000, 1, 1e-3f), medium = Normal(5000, 2), large = Normal(5000, 3, 1e4f);
  Histogram up, down, at_once;
  for (const auto* v : {&small, &medium, &large}) up.Add(v->data(), 5000);
  for (const auto* v : {&large, &medium, &small}) down.Add(v->data(), 5000);
  std::vector<float> all(small);
  all.insert(all.end(), medium.begin(), medium.end());
  all.insert(all.end(), large.begin(), large.end());
  ExpectSame(up, down);
  ExpectSame(up, Of(all));
  Histogram merged = Of(small);
  merged.Merge(Of(large));
  merged.Merge(Histogram());
  merged.Merge(Of(medium));
  ExpectSame(up, merged);
}

TEST(Histogram, CountsNanAndInfiniteApart) {
  std::vector<float> data = Normal(1000, 4);
  data[3] = kNan;
  data[500] = kInf;
  data[999] = -kInf;
  const Histogram h = Of(data);
  EXPECT_EQ(h.nan(), 1);
  EXPECT_EQ(h.inf(), 2);
  EXPECT_EQ(h.count(), 997);
  EXPECT_EQ(h.weight(), 997);
  EXPECT_LT(h.max(), 10);
  const Histogram nothing = Of({kNan, kInf});
  EXPECT_EQ(nothing.count(), 0);
  EXPECT_EQ(nothing.max(), 0);
  EXPECT_EQ(nothing.width(), 0);
}

TEST(Histogram, TakesEveryMagnitudeOfAFloat) {
  const float largest = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
  Histogram h = Of({least, -least, 1e-38f});
  EXPECT_EQ(h.weight(), 3);
  const float one = 1;
  h.Add(&one, 1);
  h.Add(&largest, 1);
  EXPECT_EQ(h.weight(), 5);
  EXPECT_EQ(h.max(), largest);
  EXPECT_EQ(h.bin(Histogram::kBins - 1), 1);
  EXPECT_EQ(h.bin(0) + h.bin(-1), 4);
}

TEST(Histogram, OfZerosHasNoWidth) {
  const Histogram h = Of({0, 0, 0});
  EXPECT_EQ(h.width(), 0);
  EXPECT_EQ(h.zeros(), 3);
  EXPECT_EQ(h.bin(-5), 0);
}

TEST(Histogram, SamplesLargeTensorsButKeepsTheirExtremes) {
  constexpr int64_t kN = 1 << 20, kChannels = 64;
  std::vector<float> data(kN);
  for (int64_t i = 0; i < kN; ++i) data[i] = i % 2 ? 0 : static_cast<float>(i % kChannels + 1);
  data[12345] = 100;
  data[777] = -7;
  const Histogram h = Of(data);
  EXPECT_EQ(h.count(), kN);
  EXPECT_EQ(h.max(), 100);
  EXPECT_EQ(h.min(), -7);
  EXPECT_NEAR(static_cast<double>(h.weight()), kN, kN / 100.0);
  EXPECT_NEAR(static_cast<double>(h.zeros()), kN / 2.0, kN / 50.0);
  // Every channel is there with about its share.
  for (int channel = 0; channel < kChannels; channel += 2) {
    const auto bin = static_cast<int>((channel + 1) / h.width());
    EXPECT_NEAR(static_cast<double>(h.bin(bin)), kN / 64.0, kN / 64.0 * 0.3) << channel;
  }
}

}  // namespace
}  // namespace tfengine::quant
