// SPDX-License-Identifier: Apache-2.0
#include "api/staging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace tfengine {
namespace {

namespace fs = std::filesystem;

class StagingTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / ("staging_test_" + std::to_string(getpid()));
    fs::create_directory(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(root_))
      names.push_back(entry.path().lexically_relative(root_).string());
    return names;
  }

  fs::path root_;
};

TEST_F(StagingTest, CommitShowsTheOutputAndNothingElse) {
  {
    auto staging = Staging::Create((root_ / "a/b/out/").string());
    ASSERT_TRUE(staging.ok()) << staging.status().ToString();
    fs::create_directory(staging->directory() / "model");
    std::ofstream(staging->directory() / "model/file") << "x";
    std::ofstream(staging->directory() / "scratch") << "x";
    EXPECT_FALSE(fs::exists(root_ / "a/b/out"));
    ASSERT_TRUE(staging->Commit("model").ok());
  }
  EXPECT_THAT(Names(), testing::UnorderedElementsAre("a", "a/b", "a/b/out", "a/b/out/file"));
}

TEST_F(StagingTest, WithoutCommitNothingIsLeft) {
  {
    auto staging = Staging::Create((root_ / "a/b/out").string());
    ASSERT_TRUE(staging.ok());
    std::ofstream(staging->directory() / "file") << "x";
  }
  EXPECT_THAT(Names(), testing::IsEmpty());
}

TEST_F(StagingTest, RefusesWhatExists) {
  fs::create_directory(root_ / "out");
  EXPECT_EQ(Staging::Create((root_ / "out").string()).status().error_id(), 701);
  fs::create_symlink("nowhere", root_ / "link");
  EXPECT_EQ(Staging::Create((root_ / "link").string()).status().error_id(), 701);
  EXPECT_EQ(Staging::Create("/").status().error_id(), 701);
}

TEST_F(StagingTest, RefusesWhatAppearsWhileItWorks) {
  auto staging = Staging::Create((root_ / "out").string());
  ASSERT_TRUE(staging.ok());
  fs::create_directory(staging->directory() / "model");
  fs::create_directory(root_ / "out");
  EXPECT_EQ(staging->Commit("model").error_id(), 701);
}

TEST_F(StagingTest, NamesAPathThatCannotBeWritten) {
  std::ofstream(root_ / "file") << "x";
  EXPECT_EQ(Staging::Create((root_ / "file/out").string()).status().error_id(), 702);
  EXPECT_EQ(Staging::Create("/proc/out").status().error_id(), 702);
  EXPECT_EQ(Staging::Create("").status().error_id(), 702);
  EXPECT_THAT(Names(), testing::ElementsAre("file"));
}

}  // namespace
}  // namespace tfengine
