// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/piece_conv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tfengine::cuda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TmaProduct Conv(DType type, int64_t size, int64_t channels, int64_t kernel = 3) {
  TmaProduct p;
  p.type = type;
  p.out.dtype = type;
  if (p.size() == 1) p.out.quant.scale = 0.05f;
  p.image = p.bias = true;
  p.batch = 128, p.in_h = p.in_w = p.out_h = p.out_w = size, p.k_h = p.k_w = kernel, p.pad_h = p.pad_w = kernel / 2;
  p.m = p.batch * size * size, p.n = p.channels = channels;
  p.b_rows = (channels + 31) / 32 * 32, p.b_pitch = kernel * kernel * channels * static_cast<int64_t>(p.size());
  return p;
}

Device& Gpu(int architecture) { return **Device::Offline(architecture); }

class PieceConvTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Device::Offline(90).ok()) GTEST_SKIP() << "no NVRTC";
  }
};

TEST(Piece, IsPartOfAnImageOrSeveral) {
  const Piece part = PieceOf(Conv(DType::kFloat16, 56, 64), 256);
  EXPECT_EQ(part.images, 1);
  EXPECT_EQ(part.lines, 4) << "3 * 57 + 56 = 227 pixels";
  EXPECT_EQ(part.per_image, 14);
  EXPECT_EQ(part.width, 57) << "one gap for both neighbours";
  EXPECT_EQ(part.box_lines, 6);
  EXPECT_EQ(part.used, 6 * 57 + 1) << "the last window ends in the gap behind the last line";

  const Piece several = PieceOf(Conv(DType::kFloat16, 7, 512), 256);
  EXPECT_EQ(several.images, 4) << "64 pixels from one to the next";
  EXPECT_EQ(several.per_image, 1);
  EXPECT_EQ(several.box_lines, 8);
  EXPECT_EQ(several.used, 4 * 64 + 8 + 1);

  EXPECT_EQ(PieceOf(Conv(DType::kFloat16, 28, 64), 256).lines, 7) << "as few lines as give the same number of tiles";
  EXPECT_EQ(PieceOf(Conv(DType::kFloat16, 112, 64), 64).images, 0) << "not one line";
  EXPECT_EQ(PieceOf(Conv(DType::kFloat16, 256, 64), 256).images, 0) << "boxes are at most 256 pixels wide";
}

TEST(Piece, GapIsTheWiderPadding) {
  TmaProduct p = Conv(DType::kFloat16, 9, 64);
  p.k_w = 4, p.pad_w = 1, p.out_w = 9 + 1 + 2 - 3;
  EXPECT_EQ(PieceOf(p, 256).width, 11);
  p.k_w = 3, p.pad_w = 0, p.out_w = 7;
  EXPECT_EQ(PieceOf(p, 256).width, 9) << "no padding, no gap";
}

TEST(PieceMemory, WeightsStayWhereTheyFit) {
  const PieceMemory stays = MemoryOf(Conv(DType::kFloat16, 56, 64), {2, 1, 4, 64, 1});
  EXPECT_FALSE(stays.streams);
  EXPECT_EQ(stays.filters, 9);
  EXPECT_GE(stays.slots, 3);
  const PieceMemory passes = MemoryOf(Conv(DType::kFloat16, 14, 256), {1, 2, 2, 128, 1});
  EXPECT_TRUE(passes.streams);
  EXPECT_EQ(passes.slots, 2);
  EXPECT_EQ(MemoryOf(Conv(DType::kFloat16, 14, 256), {2, 1, 2, 128, 1}).slots, 0) << "teams cannot share what passes";
}

TEST_F(PieceConvTest, FitsIntoSharedMemory) {
  for (const DType type : {DType::kFloat16, DType::kUint8, DType::kFloat8E4m3})
    for (const auto& [size, channels] : {std::pair{56, 64}, {28, 128}, {14, 256}, {7, 512}}) {
      const TmaProduct p = Conv(type, size, channels);
      EXPECT_THAT(PieceShapes(p, Gpu(90)), Not(IsEmpty())) << channels;
      for (const std::string& name : PieceNames()) {
        const auto s = FindPieceShape(p, Gpu(90), name);
        if (!s) continue;
        EXPECT_EQ(s->Name(), name);
        const PieceMemory m = MemoryOf(p, *s);
        EXPECT_EQ(m.slot % 1024, 0);
        EXPECT_GE(m.slot, PieceOf(p, s->bm()).used * p.row_bytes());
        EXPECT_LE((m.bytes + 1024) * static_cast<size_t>(s->resident), size_t{227 << 10}) << name;
      }
    }
}

TEST_F(PieceConvTest, OnlyWindowsThatAreNeighbours) {
  const TmaProduct p = Conv(DType::kFloat16, 28, 64);
  EXPECT_THAT(PieceShapes(p, Gpu(90)), Not(IsEmpty()));
  EXPECT_THAT(PieceShapes(p, Gpu(89)), IsEmpty()) << "before 9.0";
  TmaProduct other = p;
  other.stride_w = 2;
  EXPECT_THAT(PieceShapes(other, Gpu(90)), IsEmpty());
  other = p, other.dilation_h = 2;
  EXPECT_THAT(PieceShapes(other, Gpu(90)), IsEmpty());
  EXPECT_THAT(PieceShapes(Conv(DType::kFloat16, 28, 64, 1), Gpu(90)), IsEmpty()) << "one tap";
  EXPECT_THAT(PieceShapes(Conv(DType::kFloat16, 28, 68), Gpu(90)), IsEmpty()) << "rows of 16 bytes";
  EXPECT_FALSE(FindPieceShape(p, Gpu(90), "piece17x3"));
}

TEST_F(PieceConvTest, MapsBringLinesWithTheirGaps) {
  const TmaProduct p = Conv(DType::kUint8, 56, 64);
  const Generated code = PieceConvCode(p, *FindPieceShape(p, Gpu(90), "piece256x64t2"), 132);
  ASSERT_EQ(code.maps.size(), 2u);
  EXPECT_FALSE(code.maps[0].windows);
  EXPECT_THAT(code.maps[0].dims, ElementsAre(64, 56, 56, 128));
  EXPECT_THAT(code.maps[0].box, ElementsAre(64, 57, 6, 1));
  EXPECT_THAT(code.maps[1].box, ElementsAre(64, 1, 64));
  EXPECT_THAT(code.source, HasSubstr("#define TRAIL 1\n"));
  EXPECT_EQ(code.grid[0], 128u) << "1792 tiles in 7 turns of 2 teams";
}

}  // namespace
}  // namespace tfengine::cuda
