// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/flash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace tfengine::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

FlashProblem Problem(int64_t batch, int64_t length, int64_t depth = 64) {
  FlashProblem p;
  p.type = p.out = Elem{DType::kFloat16};
  p.batch = batch, p.heads = 12, p.queries = p.keys = length, p.depth = p.value_depth = depth;
  p.scale = 0.125;
  return p;
}

TEST(Flash, ManyBlocksUseWarpGroupsFirstFewShareOutTheKeys) {
  const auto many = FlashShapes(Problem(32, 128), 90, 132), few = FlashShapes(Problem(1, 128), 90, 132);
  ASSERT_THAT(many, Not(IsEmpty()));
  EXPECT_TRUE(many[0].wgmma);
  EXPECT_GT(few[0].key_warps, 1);
}

TEST(Flash, NamesAreUniqueAndOldDevicesHaveNoWarpGroups) {
  for (const int architecture : {80, 86, 90, 100})
    for (const int64_t depth : {16, 40, 64, 128, 256})
      for (const int64_t length : {1, 33, 128, 1000}) {
        std::set<std::string> names;
        for (const FlashShape& s : FlashShapes(Problem(2, length, depth), architecture, 132)) {
          EXPECT_TRUE(names.insert(s.Name()).second) << s.Name();
          EXPECT_FALSE(s.wgmma && architecture != 90);
        }
        EXPECT_FALSE(names.empty()) << architecture << " " << depth;
      }
}

TEST(Flash, ThereAreNoneForOtherHeadSizesTypesAndDevices) {
  EXPECT_THAT(FlashShapes(Problem(1, 128), 75, 72), IsEmpty());
  EXPECT_THAT(FlashShapes(Problem(1, 128, 20), 90, 132), IsEmpty());
  FlashProblem wide = Problem(1, 128);
  wide.type = Elem();
  EXPECT_THAT(FlashShapes(wide, 90, 132), IsEmpty());
}

TEST(Flash, TilesAreNoLargerThanTheSequence) {
  const FlashProblem p = Problem(8, 129);
  for (const FlashShape& s : FlashShapes(p, 90, 132))
    if (s.Name() == "wg64x128") EXPECT_THAT(FlashCode(p, s).source, HasSubstr("#define NT 10\n"));
}

TEST(Flash, ABatchChangesNoKernel) {
  const FlashProblem one = Problem(1, 128), many = Problem(32, 128);
  const FlashShape s = FlashShapes(many, 90, 132)[0];
  EXPECT_EQ(FlashCode(one, s).source, FlashCode(many, s).source);
}

TEST(Flash, ResultsOf8BitsAreStagedWhereRowsAreWholeVectors) {
  FlashProblem p = Problem(32, 128);
  p.out = Elem{DType::kFloat8E4m3, Quant{0.05f, 0}};
  for (const int64_t depth : {64, 40}) {
    p.depth = p.value_depth = depth;
    const std::string source = FlashCode(p, FlashShapes(p, 90, 132)[0]).source;
    EXPECT_EQ(source.find("#define OUT_PAIR u16") != std::string::npos, depth == 64);
  }
}

TEST(Flash, MasksOfKeysAreReadOncePerBlock) {
  FlashProblem p = Problem(2, 128);
  p.mask = true;
  p.mask_elem = Elem{DType::kBool};
  p.mask_shape = {2, 1, 1, 128};
  const FlashShape s = FlashShapes(p, 90, 132)[0];
  EXPECT_THAT(FlashCode(p, s).source, HasSubstr("columns[j]"));
  p.mask_shape = {2, 1, 128, 128};
  EXPECT_THAT(FlashCode(p, s).source, Not(HasSubstr("columns[j]")));
}

}  // namespace
}  // namespace tfengine::cuda
