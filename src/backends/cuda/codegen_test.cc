// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "backends/cuda/backend.h"

namespace tfengine::cuda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Walk, AxesThatAllWalksCrossAlikeAreMerged) {
  Walk w;
  w.dims = {2, 3, 1, 4};
  w.strides = {{12, 4, 4, 1}, {0, 4, 4, 1}};
  w.base = {0, 5};
  w.Simplify();
  EXPECT_THAT(w.dims, ElementsAre(2, 12));
  EXPECT_THAT(w.strides[0], ElementsAre(12, 1));
  EXPECT_THAT(w.strides[1], ElementsAre(0, 1));
  EXPECT_EQ(w.count(), 24);
}

TEST(Walk, TheOutermostSizeIsNoConstantOfTheCode) {
  for (const int64_t batch : {2, 64}) {
    Walk w;
    w.dims = {batch, 5};
    w.strides = {{10, 2}};
    w.Simplify();
    EXPECT_EQ(w.Code("unsigned", "o"), "  const i64 o0 = (int)i * 2;\n") << batch;
  }
}

TEST(Codegen, ABatchChangesNoKernel) {
  auto code = [](int64_t batch) {
    Pointwise p;
    p.in = {Elem{DType::kFloat16}, Elem{DType::kFloat16}};
    p.shapes = {{batch, 7, 64}, {64}};
    p.out = Elem{DType::kFloat16};
    p.shape = {batch, 7, 64};
    p.body = "y = x0 + x1;";
    return PointwiseCode(p);
  };
  EXPECT_EQ(code(1).source, code(32).source);
  EXPECT_NE(code(1).grid[0], code(32).grid[0]);
  EXPECT_THAT(code(1).source, HasSubstr("vec<f16, 8>"));
}

TEST(Codegen, CopiesUseTheWidestUnitThatFits) {
  Walk rows;
  rows.dims = {6, 16};
  rows.strides = {{32, 1}, {16, 1}};
  rows.base = {8, 0};
  EXPECT_THAT(CopyCode(rows, 4).source, HasSubstr("const uint4* in"));
  rows.base = {3, 0};
  EXPECT_THAT(CopyCode(rows, 4).source, HasSubstr("const unsigned* in"));
}

TEST(Codegen, LiteralsKeepTheirBits) {
  EXPECT_THAT(Literal(0.1, "float"), HasSubstr("0x3dcccccdu"));
  EXPECT_THAT(Literal(0.1, "double"), HasSubstr("0.1000000000000000"));
  EXPECT_THAT(Literal(3, "double"), HasSubstr("3.0"));
  EXPECT_THAT(Literal(-INFINITY, "float"), HasSubstr("-1e300"));
}

TEST(Codegen, IntegersHaveNoFloatKinds) {
  EXPECT_FALSE(UnaryExpression(UnaryKind::k_exp, "i64", 0, 0));
  EXPECT_TRUE(UnaryExpression(UnaryKind::k_abs, "i64", 0, 0));
  EXPECT_FALSE(BinaryExpression(BinaryKind::k_atan2, "u64", Elem{DType::kUint8}));
  EXPECT_THAT(*UnaryExpression(UnaryKind::k_clip, "u64", -3, 1e30), HasSubstr("0ull"));
}

// With NVRTC, which needs no GPU, kernels compile and the files of the cache are found again.
TEST(Codegen, CompiledKernelsAreCachedOnDisk) {
  auto device = Device::Offline(80);
  if (!device.ok()) GTEST_SKIP() << device.status().message();
  const std::filesystem::path cache = std::filesystem::path(::testing::TempDir()) / "tfengine_kernel_cache";
  std::filesystem::remove_all(cache);
  const std::string source = "extern \"C\" __global__ void k(const float* in, float* out) { out[0] = in[0]; }\n";
  ASSERT_TRUE(CompileKernel(**device, cache.string(), source).ok());
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(cache)) files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1u);
  // A damaged file is replaced.
  const auto size = std::filesystem::file_size(files[0]);
  std::ofstream(files[0], std::ios::binary | std::ios::trunc) << "damaged";
  ASSERT_TRUE(CompileKernel(**device, cache.string(), source).ok());
  EXPECT_EQ(std::filesystem::file_size(files[0]), size);
  const auto bad = CompileKernel(**device, cache.string(), "extern \"C\" __global__ void k() { nonsense }\n");
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(bad.status().message(), HasSubstr("nonsense"));
  std::filesystem::remove_all(cache);
}

}  // namespace
}  // namespace tfengine::cuda
