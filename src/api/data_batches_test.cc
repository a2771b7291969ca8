// SPDX-License-Identifier: Apache-2.0
#include "api/data_batches.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "api/npy.h"

namespace tfengine {
namespace {

class DataBatchesTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::path(testing::TempDir()) / "data_batches";
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string File(const std::string& name, int64_t samples) {
    Tensor tensor(DType::kFloat32, {samples, 2});
    std::fill_n(tensor.mutable_as<float>(), tensor.num_elements(), 1.0f);
    const std::string path = (directory_ / name).string();
    EXPECT_TRUE(WriteNpy(path, tensor).ok());
    return path;
  }

  // Sizes of all batches; the shares done must rise to 1.
  std::vector<int64_t> Sizes(DataBatches data) {
    std::vector<int64_t> sizes;
    double last = 0;
    for (TensorMap batch;;) {
      auto more = data.Next(&batch);
      EXPECT_TRUE(more.ok()) << more.status().ToString();
      if (!more.ok() || !*more) break;
      sizes.push_back(batch.at("x").shape()[0]);
      EXPECT_GT(data.fraction(), last);
      last = data.fraction();
    }
    EXPECT_DOUBLE_EQ(data.fraction(), 1);
    return sizes;
  }

  std::vector<TensorSpec> inputs_ = {{"x", DType::kFloat32, {-1, 2}}};
  std::filesystem::path directory_;
};

TEST_F(DataBatchesTest, GoesThroughAllFiles) {
  auto data = DataBatches::Open({File("a.npy", 5), File("b.npy", 4)}, inputs_, 2, 0);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(Sizes(*data), (std::vector<int64_t>{2, 2, 1, 2, 2}));
}

TEST_F(DataBatchesTest, StopsAtTheLimit) {
  auto data = DataBatches::Open({File("a.npy", 5), File("b.npy", 4)}, inputs_, 2, 6);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(Sizes(*data), (std::vector<int64_t>{2, 2, 1, 2}));
}

TEST_F(DataBatchesTest, FindsMissingFilesBeforeItBegins) {
  EXPECT_FALSE(DataBatches::Open({File("a.npy", 5), "/no/such/file.npy"}, inputs_, 2, 0).ok());
}

}  // namespace
}  // namespace tfengine
