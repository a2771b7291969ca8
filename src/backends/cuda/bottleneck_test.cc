// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/bottleneck.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/errors.h"

namespace tfengine::cuda {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

Bottleneck Block() {
  Bottleneck b;
  b.batch = 128, b.in_h = b.in_w = b.out_h = b.out_w = 56;
  b.channels = 24, b.expanded = 144, b.filters = 24;
  b.pad_h = b.pad_w = 1;
  return b;
}

std::optional<BottleneckPlan> Plan(const Bottleneck& b, int architecture, int processors) { return FindBottleneckPlan(b, architecture, processors, ""); }

TEST(BottleneckTest, NeedsAsynchronousCopiesAndVectors) {
  Bottleneck b = Block();
  EXPECT_TRUE(Plan(b, 80, 108));
  EXPECT_TRUE(Plan(b, 90, 132));
  EXPECT_FALSE(Plan(b, 75, 40));
  for (int64_t* channels : {&b.channels, &b.expanded, &b.filters}) {
    *channels += 4;
    EXPECT_FALSE(Plan(b, 90, 132));
    *channels -= 4;
  }
  b.type = DType::kFloat32;
  EXPECT_FALSE(Plan(b, 90, 132));
}

TEST(BottleneckTest, WindowsUpTo7AndStepsUpTo2) {
  Bottleneck b = Block();
  b.k_h = b.k_w = 7;
  EXPECT_TRUE(Plan(b, 90, 132));
  b.k_w = 8;
  EXPECT_FALSE(Plan(b, 90, 132));
  b = Block();
  b.stride_h = b.stride_w = 2, b.out_h = b.out_w = 28;
  EXPECT_TRUE(Plan(b, 90, 132));
  b.stride_w = 3;
  EXPECT_FALSE(Plan(b, 90, 132));
}

TEST(BottleneckTest, PlansStayWithinAMultiprocessor) {
  for (const int architecture : {80, 86, 90})
    for (const int64_t size : {7, 14, 56, 111})
      for (const int64_t batch : {1, 5, 128})
        for (const int form : {0, 1, 2}) {
          Bottleneck b = Block();
          b.batch = batch, b.in_h = b.in_w = b.out_h = b.out_w = size;
          b.expands = form != 1, b.projects = form != 2;
          if (!b.expands) b.channels = 0;
          if (!b.projects) b.filters = 0;
          const auto p = Plan(b, architecture, 108);
          ASSERT_TRUE(p);
          const int64_t most = (architecture == 80 ? 163 : architecture == 90 ? 227 : 99) << 10;
          EXPECT_LE(p->shared_bytes(), most);
          EXPECT_LE(p->resident(architecture) * (p->shared_bytes() + 1024), most + 1024);
          EXPECT_LE(p->resident(architecture) * p->registers() * p->threads(), 65536);
          EXPECT_EQ(p->strips() * p->strip_rows * p->strip_columns, p->pixels());
          EXPECT_GE(p->warps / p->warps_across * p->tiles_down(), p->projects ? p->pixel_tiles() : 0);
          EXPECT_GE(p->warps_across * p->tiles_across() * 8, b.filters);
        }
}

TEST(BottleneckTest, PlansAreFoundByName) {
  const Bottleneck b = Block();
  const auto plans = BottleneckPlans(b, 90, 132);
  ASSERT_GT(plans.size(), 2u);
  EXPECT_EQ(plans[0].Name(), Plan(b, 90, 132)->Name());
  std::set<std::string> names;
  for (const BottleneckPlan& p : plans) {
    EXPECT_TRUE(names.insert(p.Name()).second);
    EXPECT_EQ(FindBottleneckPlan(b, 90, 132, p.Name())->shared_bytes(), p.shared_bytes());
  }
}

TEST(BottleneckTest, OneImageHasWorkForManyBlocks) {
  Bottleneck b = Block();
  b.batch = 1;
  const auto p = Plan(b, 90, 132);
  ASSERT_TRUE(p);
  EXPECT_GE(BottleneckCode(b, *p, 90).grid[0] * p->splits, 49);
  b.in_h = b.in_w = b.out_h = b.out_w = 7;
  b.expanded = 960, b.channels = 160, b.projects = false, b.filters = 0;
  const auto split = Plan(b, 90, 132);
  ASSERT_TRUE(split);
  const Generated g = BottleneckCode(b, *split, 90);
  EXPECT_GE(g.grid[0] * g.grid[2], 49u);
}

TEST(BottleneckTest, AnImageThatATileCoversIsReadWithoutABorder) {
  for (const int64_t size : {7, 14, 56}) {
    Bottleneck b = Block();
    b.in_h = b.in_w = b.out_h = b.out_w = size;
    const auto p = Plan(b, 90, 132);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->wide_rows, p->rows + 2);
    EXPECT_EQ(p->read_rows, p->rows == size ? size : std::min(p->rows + 2, size));
  }
}

TEST(BottleneckTest, EveryWeightIsThereOnce) {
  const Bottleneck b = Block();
  const auto p = Plan(b, 90, 132);
  ASSERT_TRUE(p);
  const int64_t in = b.channels * b.expanded, out = b.expanded * b.filters;
  std::vector<float> all(static_cast<size_t>(in + out)), packed(static_cast<size_t>(p->WeightCount()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i + 1);
  BottleneckConstants c;
  c.expand = all.data(), c.project = all.data() + in;
  p->FillWeights(c, packed.data());
  std::vector<int> seen(all.size());
  for (const float v : packed)
    if (v != 0) ++seen[static_cast<size_t>(v) - 1];
  EXPECT_THAT(seen, Not(Contains(Not(1))));
}

TEST(BottleneckTest, NumbersOfAChunkLieTogether) {
  Bottleneck b = Block();
  b.expanded = 40;  // the last chunk is not full
  const auto p = Plan(b, 90, 132);
  ASSERT_TRUE(p);
  std::vector<float> taps(static_cast<size_t>(9 * b.expanded)), bias(static_cast<size_t>(b.expanded), -1.0f), numbers(static_cast<size_t>(p->NumberCount()), NAN);
  for (size_t i = 0; i < taps.size(); ++i) taps[i] = static_cast<float>(i);
  BottleneckConstants c;
  c.depthwise = taps.data(), c.depthwise_bias = bias.data();
  p->FillNumbers(c, numbers.data());
  EXPECT_EQ(numbers[0], 0.0f);
  EXPECT_EQ(numbers[static_cast<size_t>(p->chunk)], -1.0f);
  EXPECT_EQ(numbers[static_cast<size_t>(2 * p->chunk)], 0.0f);
  EXPECT_EQ(numbers[static_cast<size_t>(3 * p->chunk + 2)], static_cast<float>(b.expanded + 2));
  EXPECT_EQ(numbers[static_cast<size_t>(p->chunk_numbers() * p->chunks() - 1)], p->expanded % p->chunk == 0 ? static_cast<float>(9 * b.expanded - 1) : 0.0f);
  EXPECT_EQ(numbers.back(), 0.0f);
}

TEST(BottleneckTest, OnlyClustersShareSums) {
  Bottleneck b = Block();
  b.batch = 1, b.in_h = b.in_w = b.out_h = b.out_w = 14;
  const auto p = Plan(b, 90, 132);
  ASSERT_TRUE(p);
  ASSERT_TRUE(p->shares_sums());
  EXPECT_EQ(BottleneckCode(b, *p, 90).cluster, static_cast<unsigned>(p->splits));
  EXPECT_FALSE(Plan(b, 80, 132)->shares_sums());
  b.projects = false, b.filters = 0;
  EXPECT_EQ(BottleneckCode(b, *Plan(b, 90, 132), 90).cluster, 1u);
}

TEST(BottleneckTest, BoundsAreAppliedToPairs) {
  Bottleneck b = Block();
  const auto p = Plan(b, 90, 132);
  EXPECT_THAT(BottleneckCode(b, *p, 90).source, Not(HasSubstr("at_least(pack(")));
  b.expand_act.lo = 0;
  EXPECT_THAT(BottleneckCode(b, *p, 90).source, HasSubstr("return at_least(pack(f(low), f(high)), 0u)"));
  b.expand_act.hi = 1;
  EXPECT_THAT(BottleneckCode(b, *p, 90).source, HasSubstr(fmt::format("at_most(at_least(pack(f(low), f(high)), 0u), {}u)", 0x3c003c00)));
}

TEST(BottleneckTest, ResidualsAreInputsOfTheirKernelsAlone) {
  Bottleneck b = Block();
  const auto p = Plan(b, 90, 132);
  ASSERT_TRUE(p);
  EXPECT_THAT(BottleneckCode(b, *p, 90).source, Not(HasSubstr("residual")));
  b.residual = true;
  const Generated g = BottleneckCode(b, *p, 90);
  EXPECT_EQ(g.inputs, 4u);
  EXPECT_THAT(g.source, HasSubstr("residual"));
}

}  // namespace
}  // namespace tfengine::cuda
