// SPDX-License-Identifier: Apache-2.0
#include "api/shape_sets.h"

#include <gtest/gtest.h>

namespace tfengine {
namespace {

TEST(ShapeSets, PairsTheShapesOfAllInputs) {
  auto sets = ParseShapeSets({"ids=1x128,8x128;scale=1", "mask=1x128,8x128"});
  ASSERT_TRUE(sets.ok()) << sets.status().ToString();
  ASSERT_EQ(sets->size(), 2u);
  EXPECT_EQ((*sets)[1], (ShapeMap{{"ids", {8, 128}}, {"mask", {8, 128}}, {"scale", {1}}}));
}

TEST(ShapeSets, NothingIsNoSet) { EXPECT_TRUE(ParseShapeSets({})->empty()); }

TEST(ShapeSets, RejectsWhatIsNotAShape) {
  for (const char* text :
       {"x", "=1x2", "x=1xq", "x=-1x2", "x=1xx2", "x=1,2,3;y=1,2", "x=99999999999999999999"})
    EXPECT_EQ(ParseShapeSets({text}).status().error_id(), 703) << text;
}

}  // namespace
}  // namespace tfengine
