// SPDX-License-Identifier: Apache-2.0
#include "compiler/buffer_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace tfengine {
namespace {

TEST(PlanBuffers, AChainNeedsItsTwoLargestNeighbours) {
  std::vector<BufferUse> uses = {{1024, 0, 1}, {2048, 1, 2}, {512, 2, 3}, {2048, 3, 4}};
  int64_t total;
  PlanBuffers(uses, &total);
  EXPECT_EQ(total, 1024 + 2048);
}

TEST(PlanBuffers, LiveBuffersNeverOverlap) {
  for (int seed = 0; seed < 50; ++seed) {
    std::mt19937 rng(seed);
    std::vector<BufferUse> uses;
    int64_t sum = 0;
    for (int i = 0; i < 60; ++i) {
      int first = rng() % 40;
      uses.push_back({static_cast<int64_t>(rng() % 5000), first, first + static_cast<int>(rng() % 8)});
      sum += (std::max<int64_t>(uses.back().bytes, 1) + 63) / 64 * 64;
    }
    int64_t total;
    auto offsets = PlanBuffers(uses, &total);
    EXPECT_LE(total, sum) << "seed " << seed;
    for (size_t i = 0; i < uses.size(); ++i) {
      EXPECT_EQ(offsets[i] % 64, 0);
      EXPECT_LE(offsets[i] + uses[i].bytes, total);
      for (size_t j = 0; j < i; ++j) {
        bool alive_together = uses[i].first <= uses[j].last && uses[j].first <= uses[i].last;
        bool overlap = offsets[i] < offsets[j] + uses[j].bytes && offsets[j] < offsets[i] + uses[i].bytes;
        EXPECT_FALSE(alive_together && overlap) << "seed " << seed << ": " << i << ", " << j;
      }
    }
  }
}

}  // namespace
}  // namespace tfengine
