// SPDX-License-Identifier: Apache-2.0
#include "compiler/timing_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>

namespace tfengine {
namespace {

class TimingCacheTest : public ::testing::Test {
 protected:
  void TearDown() override { std::remove(path_.c_str()); }
  const std::string path_ = ::testing::TempDir() + "timing_cache_test.json";
};

TEST_F(TimingCacheTest, KeepsTimesAndWhatDoesNotExist) {
  TimingCache cache;
  cache.Put("gpu", "layer", "a", 0.25);
  cache.Put("gpu", "layer", "b", std::numeric_limits<double>::infinity());
  ASSERT_TRUE(cache.Save(path_).ok());
  const TimingCache loaded = TimingCache::Load(path_);
  EXPECT_EQ(loaded.Find("gpu", "layer", "a"), 0.25);
  ASSERT_TRUE(loaded.Find("gpu", "layer", "b"));
  EXPECT_TRUE(std::isinf(*loaded.Find("gpu", "layer", "b")));
  EXPECT_FALSE(loaded.Find("gpu", "layer", "c"));
  EXPECT_FALSE(loaded.Find("cpu", "layer", "a"));
}

TEST_F(TimingCacheTest, WhatDidNotExistInAnotherVersionIsTriedAgain) {
  std::ofstream(path_) << R"({"format": 1, "version": "0.0.1", "times": {"gpu": {"layer": {"a": 0.5, "b": null}}}})";
  const TimingCache loaded = TimingCache::Load(path_);
  EXPECT_EQ(loaded.Find("gpu", "layer", "a"), 0.5);
  EXPECT_FALSE(loaded.Find("gpu", "layer", "b"));
}

TEST_F(TimingCacheTest, DamagedFilesAreEmptyCaches) {
  for (const char* text : {"", "{", "[]", R"({"format": 1, "times": 3})", R"({"format": 1, "version": 7, "times": {}})", R"({"format": 1, "times": {"gpu": {"layer": {"a": "x"}}}})", R"({"format": "x", "times": {}})"}) {
    std::ofstream(path_) << text;
    const TimingCache loaded = TimingCache::Load(path_);
    EXPECT_FALSE(loaded.Find("gpu", "layer", "a")) << text;
  }
  EXPECT_FALSE(TimingCache::Load(path_ + ".missing").Find("gpu", "layer", "a"));
}

}  // namespace
}  // namespace tfengine
