// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tma_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace tfengine::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TmaProduct Product(DType type, int64_t m, int64_t n, int64_t k) {
  TmaProduct p;
  p.type = type;
  p.out.dtype = type;
  if (p.size() == 1) p.out.quant.scale = 0.05f;
  p.m = m, p.n = n, p.channels = k, p.bias = true;
  p.b_rows = (n + 31) / 32 * 32, p.b_pitch = k * static_cast<int64_t>(p.size());
  return p;
}

Device& Gpu(int architecture) { return **Device::Offline(architecture); }

class TmaProductTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Device::Offline(90).ok()) GTEST_SKIP() << "no NVRTC";
  }
};

TEST(RowOfColumn, PutsWhatOneThreadHoldsIntoNeighbouringColumns) {
  for (const int run : {8, 16}) {
    std::set<int64_t> rows;
    for (int64_t n = 0; n < 4 * run; ++n) {
      const int64_t row = RowOfColumn(n, run);
      EXPECT_EQ(ColumnOfRow(row, run), n);
      rows.insert(row);
      EXPECT_EQ(row % 8 / 2, n / run) << "the quad's thread";
    }
    EXPECT_EQ(rows.size(), static_cast<size_t>(4 * run));
    EXPECT_EQ(*rows.rbegin(), 4 * run - 1);
    EXPECT_EQ(RowOfColumn(4 * run + 3, run), 4 * run + RowOfColumn(3, run));
  }
}

TEST(TmaShape, SlotsFitIntoSharedMemory) {
  for (const DType type : {DType::kFloat16, DType::kUint8, DType::kFloat8E4m3})
    for (const int wg : {1, 2})
      for (const int bn : {64, 128, 192, 256})
        for (const int resident : {1, 2, 3}) {
          const TmaShape s{wg, bn, resident};
          const TmaProduct p = Product(type, 4096, 768, 768);
          EXPECT_EQ(s.SlotBytes(p) % 1024, 0);
          EXPECT_GE(s.SlotBytes(p), (s.bm() + bn) * 128);
          if (s.Slots(p) > 0) EXPECT_LE((s.SharedBytes(p) + 1024) * static_cast<size_t>(resident), size_t{227 << 10}) << s.Name();
        }
}

TEST(TmaProduct, RowsInSharedMemoryWasteLittle) {
  EXPECT_EQ(Product(DType::kFloat16, 1, 8, 32).row_bytes(), 64);
  EXPECT_EQ(Product(DType::kFloat16, 1, 8, 64).row_bytes(), 128);
  EXPECT_EQ(Product(DType::kFloat16, 1, 8, 96).row_bytes(), 64);
  EXPECT_EQ(Product(DType::kUint8, 1, 8, 64).row_bytes(), 64);
  EXPECT_EQ(Product(DType::kUint8, 1, 8, 256).row_bytes(), 128);
}

TEST_F(TmaProductTest, OnlyWhatTheAcceleratorCanLoad) {
  const Device& gpu = Gpu(90);
  EXPECT_THAT(TmaShapes(Product(DType::kFloat16, 4096, 768, 768), gpu), Not(IsEmpty()));
  EXPECT_THAT(TmaShapes(Product(DType::kFloat16, 4096, 768, 768), Gpu(89)), IsEmpty()) << "before 9.0";
  EXPECT_THAT(TmaShapes(Product(DType::kFloat16, 4096, 768, 764), gpu), IsEmpty()) << "rows of 16 bytes";
  EXPECT_THAT(TmaShapes(Product(DType::kUint8, 4096, 760, 768), gpu), IsEmpty()) << "16 columns a thread";
  EXPECT_THAT(TmaShapes(Product(DType::kFloat16, 64, 64, 768), gpu), IsEmpty()) << "too few tiles";
  TmaProduct residual = Product(DType::kUint8, 4096, 768, 768);
  residual.residual = Elem{DType::kFloat16};
  EXPECT_THAT(TmaShapes(residual, gpu), IsEmpty()) << "a residual that does not fit where the result is put";
  TmaProduct image = Product(DType::kFloat16, 2 * 56 * 56, 64, 64);
  image.image = true;
  image.batch = 2, image.in_h = image.in_w = image.out_h = image.out_w = 56, image.k_h = image.k_w = 3, image.pad_h = image.pad_w = 1;
  EXPECT_THAT(TmaShapes(image, gpu), Not(IsEmpty()));
  image.dilation_w = 200;
  EXPECT_THAT(TmaShapes(image, gpu), IsEmpty()) << "offsets of windows have 8 bits";
}

TEST_F(TmaProductTest, NamesFindTheirShapes) {
  const TmaProduct p = Product(DType::kFloat16, 4096, 3072, 768);
  for (const std::string& name : TmaNames(false)) {
    const auto s = FindTmaShape(p, Gpu(90), name);
    if (s) EXPECT_EQ(s->Name(), name);
  }
  for (const std::string& name : TmaNames(true)) EXPECT_FALSE(FindTmaShape(p, Gpu(90), name)) << "nothing to normalise";
  EXPECT_FALSE(FindTmaShape(p, Gpu(90), "tma17x3"));
}

TEST_F(TmaProductTest, MapsSayWhereWindowsLie) {
  TmaProduct p = Product(DType::kFloat16, 3 * 28 * 14, 96, 64);
  p.image = true;
  p.batch = 3, p.in_h = 56, p.in_w = 30, p.out_h = 28, p.out_w = 14, p.k_h = 3, p.k_w = 5, p.stride_h = p.stride_w = 2, p.pad_h = 1, p.pad_w = 1;
  const Generated code = TmaProductCode(p, {2, 128, 1}, 132);
  ASSERT_EQ(code.maps.size(), 3u);
  const TensorMap& a = code.maps[0];
  EXPECT_TRUE(a.windows);
  EXPECT_THAT(a.dims, ::testing::ElementsAre(64, 30, 56, 3));
  EXPECT_THAT(a.strides, ::testing::ElementsAre(128, 128 * 30, 128 * 30 * 56));
  EXPECT_EQ(a.lower, (std::array<int, 2>{-1, -1}));
  // The last window starts at (out - 1) * stride - pad; corners count from the last pixel.
  EXPECT_EQ(a.upper, (std::array<int, 2>{13 * 2 - 1 - 29, 27 * 2 - 1 - 55}));
  EXPECT_THAT(code.maps[1].box, ::testing::ElementsAre(64, 1, 128));
  EXPECT_THAT(code.source, HasSubstr("#define IMAGE 1"));
}

TEST_F(TmaProductTest, BlocksOfAClusterHaveWholeRows) {
  TmaProduct p = Product(DType::kFloat16, 1000, 768, 768);
  p.norm = TmaProduct::Norm{0.001f, true, true};
  const auto shapes = TmaShapes(p, Gpu(90));
  ASSERT_THAT(shapes, Not(IsEmpty()));
  for (const TmaShape& s : shapes) {
    EXPECT_TRUE(s.normalises);
    EXPECT_THAT(s.Cluster(p), ::testing::AllOf(::testing::Ge(2), ::testing::Le(8))) << s.Name();
    EXPECT_LE(s.SharedBytes(p), size_t{227} << 10) << s.Name();
    const Generated code = TmaProductCode(p, s, 132);
    EXPECT_EQ(code.cluster, static_cast<unsigned>(s.Cluster(p)));
    EXPECT_EQ(code.grid[2], code.cluster);
  }
  EXPECT_FALSE(FindTmaShape(p, Gpu(90), "tma128x192"));
  EXPECT_TRUE(FindTmaShape(p, Gpu(90), "norm128x192"));
  EXPECT_FALSE(FindTmaShape(p, Gpu(90), "norm64x64")) << "twelve blocks";
  p.n = 192;
  EXPECT_FALSE(FindTmaShape(p, Gpu(90), "norm128x192")) << "one block";
}

TEST_F(TmaProductTest, FewTilesShareOutTheirTerms) {
  const TmaProduct p = Product(DType::kFloat16, 128, 3072, 768);
  const auto s = FindTmaShape(p, Gpu(90), "tma64x128r2/2");
  ASSERT_TRUE(s);
  EXPECT_THAT(TmaShapes(p, Gpu(90)), ::testing::Contains(*s));
  const Generated code = TmaProductCode(p, *s, 132);
  EXPECT_EQ(code.cluster, 2u);
  EXPECT_EQ(code.grid[0], 2u * 24);
  EXPECT_EQ(code.grid[2], 2u);
  EXPECT_THAT(code.source, HasSubstr("#define SPLIT 2"));
  EXPECT_FALSE(FindTmaShape(Product(DType::kFloat16, 128, 3072, 64), Gpu(90), "tma64x128r2/2")) << "one step";
  EXPECT_FALSE(FindTmaShape(Product(DType::kUint8, 128, 3072, 768), Gpu(90), "tma64x128r2/2")) << "codes";
}

TEST_F(TmaProductTest, E4m3IsSummedInRegisters) {
  const Generated code = TmaProductCode(Product(DType::kFloat8E4m3, 4096, 768, 768), {2, 128, 1}, 132);
  EXPECT_THAT(code.source, HasSubstr("#define PROMOTE 1"));
  EXPECT_THAT(code.source, HasSubstr("f32.e4m3.e4m3"));
  EXPECT_FALSE(FindTmaShape(Product(DType::kFloat8E4m3, 4096, 768, 768), Gpu(90), "tma128x256")) << "registers";
}

}  // namespace
}  // namespace tfengine::cuda
