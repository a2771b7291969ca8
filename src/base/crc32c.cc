// SPDX-License-Identifier: Apache-2.0
#include "base/crc32c.h"

#include <immintrin.h>

#include <array>
#include <cstring>

namespace tfengine {
namespace {

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) ? (c >> 1) ^ 0x82f63b78u : c >> 1;
    table[i] = c;
  }
  return table;
}

uint32_t Portable(const char* p, size_t n, uint32_t crc) {
  static constexpr auto kTable = MakeTable();
  for (size_t i = 0; i < n; ++i) crc = kTable[(crc ^ static_cast<uint8_t>(p[i])) & 0xff] ^ (crc >> 8);
  return crc;
}

// Three independent streams hide the 3-cycle latency of the crc32 instruction; their results are joined by
// advancing the first two over the bytes that follow them (multiplication by a power of x, done by table).
__attribute__((target("sse4.2"))) uint32_t OneStream(const char* p, size_t n, uint32_t crc) {
  uint64_t c = crc;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    c = _mm_crc32_u64(c, word);
  }
  return Portable(p, n, static_cast<uint32_t>(c));
}

constexpr size_t kStream = 4096;

// kAdvance[b][v]: the register after kStream zero bytes when it held v << (8 * b).
using AdvanceTable = std::array<std::array<uint32_t, 256>, 4>;
AdvanceTable MakeAdvance() {
  AdvanceTable t;
  const std::string_view zeros(
      []() -> const char* {
        static const char z[kStream] = {};
        return z;
      }(),
      kStream);
  for (int b = 0; b < 4; ++b)
    for (uint32_t v = 0; v < 256; ++v) t[b][v] = Portable(zeros.data(), kStream, v << (8 * b));
  return t;
}

uint32_t Advance(const AdvanceTable& t, uint32_t c) {
  return t[0][c & 0xff] ^ t[1][(c >> 8) & 0xff] ^ t[2][(c >> 16) & 0xff] ^ t[3][c >> 24];
}

__attribute__((target("sse4.2"))) uint32_t Hardware(const char* p, size_t n, uint32_t crc) {
  static const AdvanceTable kAdvance = MakeAdvance();
  while (n >= 3 * kStream) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < kStream; i += 8) {
      uint64_t x, y, z;
      std::memcpy(&x, p + i, 8);
      std::memcpy(&y, p + kStream + i, 8);
      std::memcpy(&z, p + 2 * kStream + i, 8);
      a = _mm_crc32_u64(a, x);
      b = _mm_crc32_u64(b, y);
      c = _mm_crc32_u64(c, z);
    }
    uint32_t ab = Advance(kAdvance, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
    crc = Advance(kAdvance, ab) ^ static_cast<uint32_t>(c);
    p += 3 * kStream;
    n -= 3 * kStream;
  }
  return OneStream(p, n, crc);
}

}  // namespace

uint32_t Crc32c(std::string_view bytes, uint32_t crc) {
  static const bool kHardware = __builtin_cpu_supports("sse4.2");
  crc = ~crc;
  crc = kHardware ? Hardware(bytes.data(), bytes.size(), crc) : Portable(bytes.data(), bytes.size(), crc);
  return ~crc;
}

}  // namespace tfengine
