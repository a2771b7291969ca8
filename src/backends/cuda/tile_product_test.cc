// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tile_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/first_layer.h"

namespace tfengine::cuda {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TileProduct Sizes(int64_t m, int64_t n, int64_t k) {
  TileProduct p;
  p.m = m, p.n = n, p.k = k;
  p.out = Elem{DType::kFloat16};
  return p;
}

TEST(TileProduct, ShapesFitTheDeviceAndTheSizes) {
  EXPECT_THAT(TileShapes(Sizes(128, 768, 768), 75, 40), IsEmpty());
  EXPECT_THAT(TileShapes(Sizes(128, 10, 768), 90, 132), IsEmpty());
  EXPECT_THAT(TileShapes(Sizes(128, 768, 767), 90, 132), IsEmpty());
  for (const int architecture : {80, 89, 90})
    for (const TileShape& s : TileShapes(Sizes(128, 768, 3072), architecture, 132)) {
      EXPECT_LE(s.SharedBytes(3072), size_t{227} << 10) << s.Name();
      if (architecture != 90) EXPECT_FALSE(s.wgmma);
      if (architecture < 90) EXPECT_EQ(s.split, 1) << "clusters need 9.0";
    }
}

TEST(TileProduct, FewRowsShareOutTheirTermsInClusters) {
  const auto shapes = TileShapes(Sizes(49, 512, 4608), 90, 132);
  ASSERT_FALSE(shapes.empty());
  EXPECT_GT(shapes[0].split, 1);
  const Generated code = TileProductCode(Sizes(49, 512, 4608), shapes[0]);
  EXPECT_EQ(code.cluster, static_cast<unsigned>(shapes[0].split));
  EXPECT_EQ(code.grid[2], code.cluster);
  EXPECT_THAT(code.source, HasSubstr("ld.shared::cluster"));
}

TEST(TileProduct, NoMoreStagesThanSteps) {
  TileShape s;
  s.stages = 4;
  EXPECT_EQ(s.StagesFor(24), 1);
  EXPECT_EQ(s.StagesFor(192), 3);
  EXPECT_EQ(s.StagesFor(4096), 4);
  s.split = 2;
  EXPECT_EQ(s.StagesFor(192), 2);
}

TEST(TileProduct, NamesFindTheirShapes) {
  const TileProduct p = Sizes(4096, 3072, 768);
  for (const std::string& name : TileNames(90)) {
    const auto s = FindTileShape(p, 90, name);
    ASSERT_TRUE(s) << name;
    EXPECT_EQ(s->Name(), name);
  }
  EXPECT_FALSE(FindTileShape(p, 90, "tile1x1"));
  EXPECT_FALSE(FindTileShape(p, 80, "wg128x128"));
}

TEST(TileProduct, SizesAreArgumentsSoThatLayersShareCode) {
  TileShape s;
  EXPECT_EQ(TileProductCode(Sizes(100, 64, 1024), s).source, TileProductCode(Sizes(999, 128, 2048), s).source);
}

FirstLayer ImageLayer() {
  FirstLayer l;
  l.in = Elem{DType::kFloat32};
  l.batch = 1, l.in_h = l.in_w = 224, l.channels = 3, l.filters = 64, l.out_h = l.out_w = l.pooled_h = l.pooled_w = 112;
  l.k_h = l.k_w = 7, l.stride_h = l.stride_w = 2, l.pad_h = l.pad_w = 3;
  return l;
}

TEST(FirstLayer, FitsFewChannelsOnTensorCores) {
  FirstLayer l = ImageLayer();
  EXPECT_TRUE(l.Fits(90, 132));
  EXPECT_FALSE(l.Fits(75, 40));
  l.channels = 5;
  EXPECT_FALSE(l.Fits(90, 132));
  l.channels = 3;
  l.filters = 60;
  EXPECT_FALSE(l.Fits(90, 132));
}

TEST(FirstLayer, EveryWeightIsThereOnce) {
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

TEST(FirstLayer, OddStepsGetAnEvenNumberOfChannels) {
  FirstLayer l = ImageLayer();
  l.stride_h = l.stride_w = 1, l.out_h = l.out_w = l.pooled_h = l.pooled_w = 224;
  EXPECT_THAT(FirstLayerCode(l, 132).source, HasSubstr("#define DEPTH 4\n"));
  EXPECT_THAT(FirstLayerCode(ImageLayer(), 132).source, HasSubstr("#define DEPTH 3\n"));
}

}  // namespace
}  // namespace tfengine::cuda
