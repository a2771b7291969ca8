// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/int8_conv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace tfengine::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Elem Codes(float scale, int zero) { return Elem{DType::kUint8, Quant{scale, zero}}; }

Int8Conv Window3x3(int64_t batch, int64_t size, int64_t channels, int64_t filters) {
  Int8Conv c;
  c.batch = batch;
  c.in_h = c.in_w = c.out_h = c.out_w = size;
  c.pixel = c.run = channels;
  c.k_h = c.k_w = 3;
  c.pad_h = c.pad_w = 1;
  c.filters = filters;
  c.y = Codes(0.1f, 0);
  return c;
}

Int8Conv Rows(int64_t rows, int64_t k, int64_t n) {
  Int8Conv c;
  c.batch = rows;
  c.pixel = c.run = k;
  c.filters = n;
  c.y = Elem{DType::kFloat32};
  return c;
}

Device& Offline(int architecture) {
  static std::map<int, Device*> devices;
  Device*& device = devices[architecture];
  if (device == nullptr) device = *Device::Offline(architecture);
  return *device;
}
bool HasCompiler() { return Device::Offline(90).ok(); }

TEST(Int8Conv, PixelsAreCopiedInTheWidestUnitThatIsAlwaysAligned) {
  EXPECT_EQ(Window3x3(1, 7, 64, 8).unit(), 16);
  EXPECT_EQ(Window3x3(1, 7, 24, 8).unit(), 8);
  EXPECT_EQ(Window3x3(1, 7, 20, 8).unit(), 4);
  EXPECT_EQ(Window3x3(1, 7, 3, 8).unit(), 0);
  EXPECT_EQ(Rows(5, 40, 8).unit(), 8);
  // Runs of two taps of four channels, from every other pixel on.
  Int8Conv c = Window3x3(1, 8, 4, 8);
  c.k_w = 1, c.pad_w = 0, c.run = 16, c.stride_w = 2;
  EXPECT_EQ(c.unit(), 8);
  c.stride_w = 1;
  EXPECT_EQ(c.unit(), 4);
}

TEST(Int8Conv, TilesShareTheirLoadsEvenlyAndFitTheDevice) {
  if (!HasCompiler()) GTEST_SKIP() << "no NVRTC";
  for (const int architecture : {80, 86, 90, 100})
    for (const auto& conv : {Window3x3(1, 7, 512, 512), Window3x3(32, 56, 64, 64), Window3x3(1, 112, 4, 32), Rows(1, 2048, 1000), Rows(9000, 40, 24), Rows(128, 64, 8)}) {
      const auto tiles = Int8Tiles(conv, Offline(architecture));
      ASSERT_FALSE(tiles.empty());
      std::set<std::string> names;
      for (const Int8Tile& t : tiles) {
        EXPECT_TRUE(names.insert(t.name()).second) << t.name();
        const int units = t.bk / conv.unit(), chunks = t.bk / 16;
        EXPECT_EQ(t.bm * units % t.threads(), 0) << t.name();
        EXPECT_EQ(t.bn * chunks % t.threads(), 0) << t.name();
        EXPECT_EQ(t.threads() % units, 0) << t.name();
        EXPECT_TRUE(architecture >= 90 || t.splits == 1) << t.name();
        EXPECT_TRUE(architecture == 90 || !t.group) << t.name();
        EXPECT_LE(t.shared_bytes(), size_t{227} << 10) << t.name();
        EXPECT_LE(t.threads(), 1024);
        EXPECT_EQ(Int8PackedRows(conv) % t.bn, 0);
        EXPECT_EQ(Int8PackedPitch(conv) % t.bk, 0);
      }
    }
  EXPECT_FALSE(Int8Possible(Window3x3(1, 7, 64, 64), Offline(75)));
  EXPECT_FALSE(Int8Possible(Rows(1 << 16, 1 << 15, 8), Offline(90)));  // beyond 32 bit offsets
}

// A thread holds columns 2q and 2q + 1 of every 8 columns of a product: those must be neighbouring channels.
TEST(Int8Conv, PackedChannelsOfOneThreadAreNeighbours) {
  for (const int run : {8, 16}) {
    const Int8Conv conv = Rows(4, 20, 70);
    const int64_t pitch = Int8PackedPitch(conv);
    std::vector<signed char> packed(static_cast<size_t>(Int8PackedRows(conv) * pitch), 99);
    PackInt8Weights(conv, run, [](int64_t channel, int64_t at) { return static_cast<signed char>(channel + at); }, packed.data());
    const int64_t group = 4 * run;
    for (int64_t q = 0; q < 4; ++q)
      for (int64_t j = 0; j < run; ++j) {
        const int64_t channel = group + q * run + j, column = group + j / 2 * 8 + 2 * q + j % 2;  // of the second group
        for (int64_t i = 0; i < pitch; ++i)
          EXPECT_EQ(packed[static_cast<size_t>(column * pitch + i)], channel < 70 && i < 20 ? channel + i : 0) << run << " " << channel << " " << i;
      }
  }
}

Int8Conv Float8(Int8Conv c) {
  c.fp8 = true;
  if (c.y.quant.quantized()) c.y = Elem{DType::kFloat8E4m3, Quant{0.1f, 0}};
  return c;
}

TEST(Int8Conv, E4m3NeedsItsInstructionsAndTwiceTheRegistersForSums) {
  if (!HasCompiler()) GTEST_SKIP() << "no NVRTC";
  const Int8Conv conv = Float8(Window3x3(8, 14, 256, 256));
  EXPECT_FALSE(Int8Possible(conv, Offline(80)));
  EXPECT_FALSE(Int8Possible(conv, Offline(86)));
  for (const int architecture : {89, 90}) {
    EXPECT_TRUE(Int8Possible(conv, Offline(architecture)));
    const auto tiles = Int8Tiles(conv, Offline(architecture));
    ASSERT_FALSE(tiles.empty());
    for (const Int8Tile& t : tiles) EXPECT_LE(t.sums(), 64) << t.name();
  }
  EXPECT_TRUE(Int8Possible(Float8(Rows(4, 100000, 64)), Offline(90)));  // f32 sums do not overflow
  EXPECT_FALSE(Int8Possible(Rows(4, 100000, 64), Offline(90)));
}

TEST(Int8Conv, E4m3SumsEveryStepInF32) {
  const Int8Tile warps{64, 64, 128, 4, 1, 4}, group{64, 64, 128, 4, 1, 4, 1, true};
  const std::string own = Int8Source(Float8(Window3x3(1, 7, 64, 128)), warps), groups = Int8Source(Float8(Window3x3(1, 7, 64, 128)), group);
  EXPECT_THAT(own, HasSubstr("m16n8k32.row.col.f32.e4m3.e4m3.f32"));
  EXPECT_THAT(groups, HasSubstr("m64n64k32.f32.e4m3.e4m3 "));
  EXPECT_THAT(Int8Source(Window3x3(1, 7, 64, 128), group), Not(HasSubstr("e4m3.e4m3")));
  for (const std::string& s : {own, groups}) {
    EXPECT_THAT(s, HasSubstr("#define FLOATS 1"));
    EXPECT_THAT(s, HasSubstr("sums[i][j][e] += step[i][j][e];"));
    EXPECT_THAT(s, HasSubstr("#define COMPENSATE 0"));
    EXPECT_THAT(s, HasSubstr("#define CLAMP 0"));
  }
  Int8Conv clipped = Float8(Window3x3(1, 7, 64, 128));
  clipped.least = 0;
  EXPECT_THAT(Int8Source(clipped, warps), HasSubstr("#define CLAMP 1"));
}

TEST(Int8Conv, SizesAreNoConstantsOfTheCode) {
  const Int8Tile tile{64, 64, 128, 4, 1, 4};
  EXPECT_EQ(Int8Source(Window3x3(1, 7, 64, 128), tile), Int8Source(Window3x3(8, 28, 128, 256), tile));
  Int8Conv shifted = Window3x3(1, 7, 64, 128);
  shifted.zero = 7;
  EXPECT_THAT(Int8Source(shifted, tile), HasSubstr("#define COMPENSATE 1"));
  EXPECT_THAT(Int8Source(Rows(4, 64, 128), tile), HasSubstr("#define PLAIN 1"));
  EXPECT_THAT(Int8Source(Rows(4, 64, 128), tile), Not(HasSubstr("FOLDED 1")));
}

TEST(Int8Conv, VectorsOfJointProductsStayInARowOfOne) {
  const Int8Tile tile{64, 64, 128, 4, 1, 4};
  Int8Conv joint = Rows(4, 64, 144);
  EXPECT_THAT(Int8Source(joint, tile), AllOf(HasSubstr("#define JOINT 0"), HasSubstr("#define VECTOR 16")));
  joint.columns = 72;
  EXPECT_THAT(Int8Source(joint, tile), AllOf(HasSubstr("#define JOINT 1"), HasSubstr("#define VECTOR 8")));
}

TEST(Int8Conv, KernelsCompile) {
  if (!HasCompiler()) GTEST_SKIP() << "no NVRTC";
  Int8Conv conv = Window3x3(8, 14, 256, 256);
  conv.residual = Codes(0.2f, 3);
  for (const int architecture : {80, 90}) {
    auto tiles = Int8Tiles(conv, Offline(architecture));
    tiles.resize(std::min<size_t>(tiles.size(), 2));
    for (const Int8Tile& tile : tiles) {
      auto kernel = MakeInt8Conv(Offline(architecture), "", conv, tile, std::make_shared<DeviceBuffer>(),
                                 {std::vector<float>(256, 1), std::vector<float>(256, 0), std::vector<int64_t>(256, 5)});
      EXPECT_TRUE(kernel.ok()) << tile.name() << " " << kernel.status().ToString();
    }
  }
  conv = Float8(conv);
  conv.residual = conv.y;
  for (const int architecture : {89, 90}) {
    auto tiles = Int8Tiles(conv, Offline(architecture));
    tiles.resize(std::min<size_t>(tiles.size(), 2));
    for (const Int8Tile& tile : tiles) {
      auto kernel = MakeInt8Conv(Offline(architecture), "", conv, tile, std::make_shared<DeviceBuffer>(),
                                 {std::vector<float>(256, 1), std::vector<float>(256, 0), std::vector<int64_t>(256, 0)});
      EXPECT_TRUE(kernel.ok()) << tile.name() << " " << kernel.status().ToString();
    }
  }
}

}  // namespace
}  // namespace tfengine::cuda
