// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda_direction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/device.h"

namespace tfengine {
namespace {

using ::testing::ElementsAre;

class Kernel : public cuda::DeviceKernel {
 public:
  explicit Kernel(bool reverses) : reverses_(reverses) {}
  Status Enqueue(const void* const*, void* const*, const cuda::Launch&) const override { return OkStatus(); }
  bool reverses() const override { return reverses_; }

 private:
  const bool reverses_;
};

Step MakeStep(std::vector<int64_t> in, int64_t out, bool reverses = true) {
  Step step;
  step.kernel = std::make_shared<Kernel>(reverses);
  for (int64_t offset : in) step.in.push_back({BufferRef::Kind::kArena, 0, offset});
  step.out.push_back({BufferRef::Kind::kArena, 0, out});
  return step;
}

std::vector<bool> DirectionsOf(std::vector<Step> steps) {
  Executable exe;
  exe.steps = std::move(steps);
  return Directions(exe);
}

TEST(Directions, TurnFromStepToStep) { EXPECT_THAT(DirectionsOf({MakeStep({}, 0), MakeStep({0}, 64), MakeStep({64}, 0), MakeStep({0}, 64)}), ElementsAre(false, true, false, true)); }

TEST(Directions, FollowTheFirstOperand) {
  // 64 and 128 are both made of 0; the last adds 64 to what is made of 128.
  EXPECT_THAT(DirectionsOf({MakeStep({}, 0), MakeStep({0}, 64), MakeStep({0}, 128), MakeStep({128, 64}, 192)}), ElementsAre(false, true, true, false));
}

TEST(Directions, OfTheLastStepThatWroteThere) {
  EXPECT_THAT(DirectionsOf({MakeStep({}, 0), MakeStep({0}, 64), MakeStep({64}, 0), MakeStep({64}, 128), MakeStep({0}, 192)}), ElementsAre(false, true, false, false, true));
}

TEST(Directions, KernelsThatCannotTurnRunForwards) {
  EXPECT_THAT(DirectionsOf({MakeStep({}, 0), MakeStep({0}, 64, false), MakeStep({64}, 0)}), ElementsAre(false, false, true));
}

TEST(Directions, InputsComeInTheirOrder) {
  Step first = MakeStep({}, 0);
  first.in.push_back({BufferRef::Kind::kInput, 0, 0});
  EXPECT_THAT(DirectionsOf({first}), ElementsAre(false));
}

}  // namespace
}  // namespace tfengine
