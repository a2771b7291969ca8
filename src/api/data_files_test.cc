// SPDX-License-Identifier: Apache-2.0
#include "api/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "api/npy.h"

namespace tfengine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

Tensor Counting(std::vector<int64_t> shape, float first = 0) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  std::iota(tensor.mutable_as<float>(), tensor.mutable_as<float>() + tensor.num_elements(), first);
  return tensor;
}

class DataFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }
  void Write(const std::string& name, const Tensor& tensor) {
    ASSERT_TRUE(WriteNpy((dir_ / name).string(), tensor).ok());
  }
  const fs::path dir_ = fs::path(testing::TempDir()) / "data_files_test";
  const std::vector<TensorSpec> one_ = {{"scope/x", DType::kFloat32, {-1, 3}}};
  const std::vector<TensorSpec> two_ = {{"x", DType::kFloat32, {-1, 3}},
                                        {"mask", DType::kFloat32, {-1}}};
};

TEST_F(DataFilesTest, FilesOfOneInputAreSetsOfTheirOwn) {
  Write("b.npy", Counting({4, 3}, 100));
  Write("a.npy", Counting({2, 3}));
  auto data = DataFiles::Open(dir_.string(), one_);
  ASSERT_TRUE(data.ok()) << data.status().ToString();
  ASSERT_EQ(data->size(), 2u);
  EXPECT_EQ(data->Read(0)->at("scope/x").shape()[0], 2);
  EXPECT_EQ(data->Read(1)->at("scope/x").as<float>()[0], 100);
  auto file = DataFiles::Open((dir_ / "b.npy").string(), one_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->size(), 1u);
}

TEST_F(DataFilesTest, FilesNamedAfterTheInputsAreOneSet) {
  Write("x.npy", Counting({4, 3}));
  Write("mask.npy", Counting({4}));
  auto data = DataFiles::Open(dir_.string(), two_);
  ASSERT_TRUE(data.ok()) << data.status().ToString();
  ASSERT_EQ(data->size(), 1u);
  EXPECT_EQ(data->Read(0)->size(), 2u);
}

TEST_F(DataFilesTest, SaysWhatWasExpected) {
  EXPECT_THAT(DataFiles::Open((dir_ / "none").string(), one_).status().message(),
              HasSubstr("no such file"));
  EXPECT_THAT(DataFiles::Open(dir_.string(), one_).status().message(), HasSubstr("numpy.savez"));
  std::ofstream(dir_ / "text.txt") << "1";
  EXPECT_THAT(DataFiles::Open((dir_ / "text.txt").string(), one_).status().message(),
              HasSubstr(".npz"));
  Write("other.npy", Counting({4, 3}));
  EXPECT_THAT(DataFiles::Open(dir_.string(), two_).status().message(),
              HasSubstr("named after the inputs \"x\" float32[-1,3], \"mask\" float32[-1], got other"));
}

TEST(CutBatches, CutsAlongTheFirstAxis) {
  const std::vector<TensorSpec> specs = {{"x", DType::kFloat32, {-1, 3}},
                                         {"table", DType::kFloat32, {2, 2}},
                                         {"rate", DType::kFloat32, {}}};
  auto batches = CutBatches(
      {{"x", Counting({5, 3})}, {"table", Counting({2, 2})}, {"rate", Counting({})}}, specs, 2);
  ASSERT_TRUE(batches.ok());
  ASSERT_EQ(batches->size(), 3u);
  EXPECT_EQ((*batches)[1].arrays.at("x").shape(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ((*batches)[1].arrays.at("x").as<float>()[0], 6);
  EXPECT_EQ((*batches)[2].arrays.at("x").shape(), (std::vector<int64_t>{1, 3}));
  EXPECT_EQ((*batches)[2].arrays.at("table").shape(), (std::vector<int64_t>{2, 2}));
}

TEST(CutBatches, TakesTheBatchThatTheModelDeclares) {
  const std::vector<TensorSpec> specs = {{"x", DType::kFloat32, {4, 3}}};
  auto cut = CutBatches({{"x", Counting({8, 3})}}, specs, 16);
  ASSERT_TRUE(cut.ok());
  ASSERT_EQ(cut->size(), 2u);
  EXPECT_EQ((*cut)[0].arrays.at("x").shape()[0], 4);
  EXPECT_EQ(CutBatches({{"x", Counting({4, 3})}}, specs, 1)->size(), 1u);
}

TEST(CutBatches, AddsTheAxisOfASingleSample) {
  const std::vector<TensorSpec> specs = {{"x", DType::kFloat32, {-1, 3}}};
  auto batches = CutBatches({{"x", Counting({3})}}, specs, 16);
  ASSERT_TRUE(batches.ok());
  ASSERT_EQ(batches->size(), 1u);
  EXPECT_EQ((*batches)[0].arrays.at("x").shape(), (std::vector<int64_t>{1, 3}));
}

TEST(CutBatches, RefusesDifferentNumbersOfSamples) {
  const std::vector<TensorSpec> specs = {{"x", DType::kFloat32, {-1, 3}},
                                         {"y", DType::kFloat32, {-1}}};
  EXPECT_THAT(CutBatches({{"x", Counting({5, 3})}, {"y", Counting({4})}}, specs, 2).status().message(),
              HasSubstr("\"y\": expected 5 samples as \"x\" has, got shape [4]"));
}

}  // namespace
}  // namespace tfengine
