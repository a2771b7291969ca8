// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tile_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>


namespace tfengine::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

}  // namespace
}  // namespace tfengine::cuda
