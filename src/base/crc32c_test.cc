// SPDX-License-Identifier: Apache-2.0
#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace tfengine {
namespace {

// Test vectors of RFC 3720, appendix B.4.
TEST(Crc32c, MatchesTheRfc) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
}

TEST(Crc32c, LongInputEqualsPieces) {
  std::string s;
  for (int i = 0; i < 100003; ++i) s += static_cast<char>(i * 131 + i / 7);
  uint32_t pieces = 0;
  for (size_t i = 0; i < s.size(); i += 1000) pieces = Crc32c(std::string_view(s).substr(i, 1000), pieces);
  EXPECT_EQ(Crc32c(s), pieces);
  EXPECT_EQ(UnmaskCrc(MaskCrc(pieces)), pieces);
}

}  // namespace
}  // namespace tfengine
