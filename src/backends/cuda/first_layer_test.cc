// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/first_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tfengine::cuda {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

FirstLayer ImageLayer() {
  FirstLayer l;
  l.in = Elem{DType::kFloat32};
  l.out = Elem{DType::kFloat16};
  l.batch = 1, l.in_h = l.in_w = 224, l.channels = 3, l.filters = 64, l.out_h = l.out_w = l.pooled_h = l.pooled_w = 112;
  l.k_h = l.k_w = 7, l.stride_h = l.stride_w = 2, l.pad_h = l.pad_w = 3;
  return l;
}

TEST(FirstLayerTest, FitsFewChannelsOnTensorCores) {
  FirstLayer l = ImageLayer();
  EXPECT_TRUE(l.Fits(90, 132));
  EXPECT_FALSE(l.Fits(75, 40));
  l.channels = 5;
  EXPECT_FALSE(l.Fits(90, 132));
  l.channels = 3;
  l.filters = 60;
  EXPECT_FALSE(l.Fits(90, 132));
}

TEST(FirstLayerTest, CodesOnlyWhereTheirSumsAreExact) {
  FirstLayer l = ImageLayer();
  l.codes = l.out = Elem{DType::kUint8, {0.02f, 3}};
  EXPECT_TRUE(l.Fits(90, 132));
  l.k_h = 25;  // 525 terms
  EXPECT_FALSE(l.Fits(90, 132));
  l.k_h = 7;
  l.codes->lo = 4;  // padding would not be a code
  EXPECT_FALSE(l.Fits(90, 132));
  l.codes->lo = 0;
  l.type = DType::kBfloat16;
  EXPECT_FALSE(l.Fits(90, 132));
}

TEST(FirstLayerTest, PoolsWhatLiesInBytesOrHalves) {
  FirstLayer l = ImageLayer();
  l.pool_h = l.pool_w = l.pool_stride_h = l.pool_stride_w = 2, l.pooled_h = l.pooled_w = 56;
  EXPECT_TRUE(l.Fits(90, 132));
  l.out = Elem{DType::kFloat32};
  EXPECT_FALSE(l.Fits(90, 132));
}

TEST(FirstLayerTest, StepsOfTheResultAreTheUnitWithoutACurve) {
  FirstLayer l = ImageLayer();
  EXPECT_FALSE(l.in_steps());
  l.codes = l.out = Elem{DType::kUint8, {0.02f, 3}};
  EXPECT_TRUE(l.in_steps());
  l.act = "x * sigmoid(x)";
  EXPECT_FALSE(l.in_steps());
}

TEST(FirstLayerTest, EveryWeightIsThereOnce) {
  FirstLayer l = ImageLayer();
  const int64_t count = l.k_h * l.k_w * l.channels * l.filters;
  std::vector<float> filter(static_cast<size_t>(count)), packed(static_cast<size_t>(l.WeightCount()));
  for (int64_t i = 0; i < count; ++i) filter[static_cast<size_t>(i)] = static_cast<float>(i + 1);
  l.FillWeights(filter.data(), packed.data());
  std::vector<int> seen(static_cast<size_t>(count));
  for (const float v : packed)
    if (v != 0) ++seen[static_cast<size_t>(v) - 1];
  EXPECT_THAT(seen, Not(Contains(Not(1))));
}

TEST(FirstLayerTest, OddStepsGetAnEvenNumberOfChannels) {
  FirstLayer l = ImageLayer();
  l.stride_h = l.stride_w = 1, l.out_h = l.out_w = l.pooled_h = l.pooled_w = 224;
  EXPECT_THAT(FirstLayerCode(l, 90, 132).source, HasSubstr("#define DEPTH 4\n"));
  EXPECT_THAT(FirstLayerCode(ImageLayer(), 90, 132).source, HasSubstr("#define DEPTH 3\n"));
}

}  // namespace
}  // namespace tfengine::cuda
