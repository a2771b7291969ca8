// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/piece_conv.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/tma_source.h"

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
  EXPECT_TRUE(MemoryOf(Conv(DType::kFloat16, 14, 256), {2, 1, 2, 128, 1}).streams) << "for one team after the other";
  EXPECT_EQ(MemoryOf(Conv(DType::kFloat8E4m3, 7, 512), {2, 1, 4, 64, 1}).slots, 0) << "who does not take turns cannot share what passes";
}

// A convolution with `filters` columns behind it.
TmaProduct Pair(DType type, int64_t size, int64_t channels, int64_t filters) {
  TmaProduct p = Conv(type, size, channels), then = p;
  then.image = false, then.k_h = then.k_w = 1, then.channels = p.n, then.n = then.b_rows = filters, then.b_pitch = p.n * static_cast<int64_t>(p.size());
  then.residual = then.out;
  p.then = std::make_shared<const TmaProduct>(std::move(then));
  return p;
}

TEST(PieceMemory, OfPairs) {
  const PieceMemory stays = MemoryOf(Pair(DType::kFloat16, 56, 64, 256), {2, 1, 2, 64, 1});
  EXPECT_FALSE(stays.streams || stays.then_streams);
  EXPECT_EQ(stays.then_filters, 4) << "chunks of 64 columns";
  EXPECT_GE(stays.results, 2) << "of each team";
  EXPECT_EQ(stays.result, 15360) << "2 lines of 57 pixels";
  const PieceMemory passes = MemoryOf(Pair(DType::kFloat16, 28, 128, 512), {2, 1, 2, 128, 1});
  EXPECT_TRUE(passes.streams && passes.then_streams);
  EXPECT_GE(passes.filters, 3);
  const PieceMemory half = MemoryOf(Pair(DType::kUint8, 28, 128, 512), {2, 1, 2, 128, 1});
  EXPECT_TRUE(half.streams) << "144 KiB";
  EXPECT_FALSE(half.then_streams) << "64 KiB";
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

TEST_F(PieceConvTest, PairsFit) {
  for (const DType type : {DType::kFloat16, DType::kUint8, DType::kFloat8E4m3})
    for (const auto& [size, channels] : {std::pair{56, 64}, {28, 128}}) {
      const TmaProduct p = Pair(type, size, channels, 4 * channels);
      EXPECT_THAT(PieceShapes(p, Gpu(90)), Not(IsEmpty())) << channels;
      for (const PieceShape& s : PieceShapes(p, Gpu(90))) {
        EXPECT_EQ(s.bn, channels) << "a team has all channels of its rows";
        EXPECT_LE((MemoryOf(p, s).bytes + 1024) * static_cast<size_t>(s.resident), size_t{227 << 10}) << s.Name();
        const Generated code = PieceConvCode(p, s, 132);
        EXPECT_EQ(code.cluster, s.pairs ? 2u : 1u);
        ASSERT_EQ(code.maps.size(), 5u) << "image, weights, weights, result, residual";
        EXPECT_EQ(code.maps[2].operand, 3u);
        EXPECT_EQ(code.maps[3].operand, code.inputs);
        EXPECT_EQ(code.maps[4].operand, code.inputs - 1);
        EXPECT_THAT(code.maps[4].dims, ElementsAre(4 * channels, size, size, 128));
      }
    }
}

TEST_F(PieceConvTest, PairsNeedAllColumnsAndWholeChunks) {
  EXPECT_THAT(PieceShapes(Pair(DType::kFloat16, 28, 512, 128), Gpu(90)), IsEmpty()) << "512 sums a row";
  EXPECT_THAT(PieceShapes(Pair(DType::kFloat8E4m3, 14, 256, 128), Gpu(90)), IsEmpty()) << "sums of more than 128 terms of E4M3 are promoted";
  EXPECT_THAT(PieceShapes(Pair(DType::kFloat16, 28, 64, 96), Gpu(90)), IsEmpty()) << "chunks of 64 columns";
  EXPECT_THAT(PieceShapes(Pair(DType::kUint8, 28, 64, 64), Gpu(90)), IsEmpty()) << "chunks of 128 codes";
  EXPECT_THAT(TmaShapes(Pair(DType::kFloat16, 28, 64, 128), Gpu(90)), IsEmpty());
  TmaProduct p = Pair(DType::kFloat16, 28, 64, 128);
  p.residual = p.out;
  EXPECT_THAT(PieceShapes(p, Gpu(90)), IsEmpty()) << "a residual in between";
}

TEST(ChannelInRegisters, IsAnOrderOfEvery64Bytes) {
  for (const size_t size : {1, 2}) {
    const auto count = static_cast<int64_t>(128 / size);
    std::vector<int64_t> seen;
    for (int64_t at = 0; at < count; ++at) {
      seen.push_back(ChannelInRegisters(at, size));
      EXPECT_EQ(seen.back() / (64 / static_cast<int64_t>(size)), at / (64 / static_cast<int64_t>(size)));
    }
    std::sort(seen.begin(), seen.end());
    for (int64_t at = 0; at < count; ++at) EXPECT_EQ(seen[static_cast<size_t>(at)], at);
  }
  EXPECT_EQ(ChannelInRegisters(2, 2), 8) << "lane 1's first column, of 8 that it has";
  EXPECT_EQ(ChannelInRegisters(16, 1), 4) << "lane 0's second word";
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
