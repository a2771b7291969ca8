// SPDX-License-Identifier: Apache-2.0
#include "base/gang.h"

#include <gtest/gtest.h>

#include <vector>

namespace tfengine {
namespace {

TEST(Gang, RunsEveryTaskOnceInManyLoops) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    Gang gang(4, [&](auto helper) { pool.Schedule(std::move(helper)); });
    for (int loop = 0; loop < 500; ++loop) {
      int tasks = loop % 37;
      std::vector<std::atomic<int>> hits(tasks);
      gang.Run(tasks, [&](int64_t t, int worker) {
        EXPECT_LT(worker, 4);
        hits[t].fetch_add(1);
      });
      for (auto& h : hits) ASSERT_EQ(h.load(), 1);
    }
  }
}

TEST(Gang, WorksWhenHelpersNeverCome) {
  Gang gang(4, [](auto) {});
  int sum = 0;
  gang.Run(10, [&](int64_t t, int) { sum += static_cast<int>(t); });
  EXPECT_EQ(sum, 45);
}

}  // namespace
}  // namespace tfengine
