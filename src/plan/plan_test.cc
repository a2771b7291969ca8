// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/errors.h"

namespace tfengine {
namespace {

class PlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::temp_directory_path() / ("plan_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(dir_);
    path_ = dir_ / "engine";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  static Plan Example() {
    Plan plan;
    plan.network_text = "network {}\n";
    auto weights = std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{3, 5});
    for (int i = 0; i < 15; ++i) weights->mutable_as<float>()[i] = static_cast<float>(i);
    auto indices = std::make_shared<Tensor>(DType::kInt64, std::vector<int64_t>{});
    *indices->mutable_as<int64_t>() = -7;
    plan.constants = {weights, indices};
    plan.devices["some cpu"] = {{{{{"batch", 8}}, {{"conv1", "direct"}}, 2, true}}};
    plan.prepared_shapes = {{{1, 3}, {2}}};
    return plan;
  }
  std::string Bytes() const {
    std::ifstream in(path_, std::ios::binary);
    std::stringstream s;
    s << in.rdbuf();
    return s.str();
  }
  void Write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes; }

  std::filesystem::path dir_, path_;
};

TEST_F(PlanTest, RoundTripsAndIsDeterministic) {
  ASSERT_TRUE(Example().Save(path_).ok());
  const std::string first = Bytes();
  ASSERT_TRUE(Example().Save(path_).ok());
  EXPECT_EQ(first, Bytes());
  EXPECT_FALSE(std::filesystem::exists(path_.string() + ".partial"));

  auto plan = Plan::Load(path_);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->network_text, "network {}\n");
  EXPECT_EQ(plan->devices, Example().devices);
  EXPECT_EQ(plan->prepared_shapes, Example().prepared_shapes);
  ASSERT_EQ(plan->constants.size(), 2u);
  EXPECT_EQ(plan->constants[0]->shape(), (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(std::memcmp(plan->constants[0]->data(), Example().constants[0]->data(), 60), 0);
  EXPECT_EQ(*plan->constants[1]->as<int64_t>(), -7);
}

TEST_F(PlanTest, EveryTruncationIsAnError) {
  ASSERT_TRUE(Example().Save(path_).ok());
  const std::string good = Bytes();
  for (size_t n = 0; n < good.size(); n += n < 800 ? 1 : 97) {
    Write(good.substr(0, n));
    auto plan = Plan::Load(path_);
    ASSERT_FALSE(plan.ok()) << n;
    EXPECT_NE(plan.status().message().find(path_.string()), std::string::npos);
  }
}

TEST_F(PlanTest, EveryFlippedBitThatMattersIsAnError) {
  ASSERT_TRUE(Example().Save(path_).ok());
  const std::string good = Bytes();
  int rejected = 0;
  for (size_t n = 0; n < good.size(); n += n < 700 ? 1 : 31) {
    std::string bad = good;
    bad[n] = static_cast<char>(bad[n] ^ (1 << (n % 8)));
    Write(bad);
    auto plan = Plan::Load(path_);
    rejected += !plan.ok();
    // What is accepted differs only in padding: the content is untouched.
    if (plan.ok()) {
      EXPECT_EQ(plan->network_text, "network {}\n") << n;
      EXPECT_EQ(plan->devices, Example().devices) << n;
      ASSERT_EQ(plan->constants.size(), 2u) << n;
      EXPECT_EQ(std::memcmp(plan->constants[0]->data(), Example().constants[0]->data(), 60), 0) << n;
    }
  }
  EXPECT_GT(rejected, 400);  // header, table and sections are longer than that
}

TEST_F(PlanTest, AForeignFileSaysSo) {
  Write("this is not an engine, but it is longer than a header, so only the magic number can tell the difference.");
  EXPECT_EQ(Plan::Load(path_).status().error_id(), static_cast<int>(ErrorId::kPlanVersion));
  EXPECT_EQ(Plan::Load(dir_ / "missing").status().error_id(), static_cast<int>(ErrorId::kFileMissing));
}

}  // namespace
}  // namespace tfengine
