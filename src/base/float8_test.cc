// SPDX-License-Identifier: Apache-2.0
#include "base/float8.h"

#include <gtest/gtest.h>

namespace tfengine {
namespace {

TEST(Float8, EveryCodeComesBack) {
  for (int code = 0; code < 256; ++code) {
    const float v = E4m3ToFloat(static_cast<uint8_t>(code));
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(v));
    } else {
      EXPECT_EQ(FloatToE4m3(v), code) << v;
    }
  }
  EXPECT_EQ(E4m3ToFloat(0x7e), kE4m3Max);
  EXPECT_EQ(E4m3ToFloat(0x38), 1.0f);
  EXPECT_EQ(E4m3ToFloat(0x01), std::ldexp(1.0f, -9));
}

TEST(Float8, HalvesRoundToEvenAndLargeNumbersSaturate) {
  for (int code = 0; code < 0x7e; ++code) {
    const float low = E4m3ToFloat(static_cast<uint8_t>(code)), high = E4m3ToFloat(static_cast<uint8_t>(code + 1)), half = (low + high) / 2;
    EXPECT_EQ(FloatToE4m3(half), code + code % 2);
    EXPECT_EQ(FloatToE4m3(std::nextafter(half, 0.0f)), code);
    EXPECT_EQ(FloatToE4m3(-std::nextafter(half, 1e3f)), 0x80 + code + 1);
  }
  EXPECT_EQ(FloatToE4m3(449), 0x7e);
  EXPECT_EQ(FloatToE4m3(-std::numeric_limits<float>::infinity()), 0xfe);
  EXPECT_EQ(FloatToE4m3(std::numeric_limits<float>::quiet_NaN()), 0x7f);
}

}  // namespace
}  // namespace tfengine
