// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

// E4M3 in its finite form ("e4m3fn", OCP 8-bit floating point): a sign, 4 bits of exponent of bias 7, 3 of mantissa. No
// infinities; 0x7f and 0xff are NaN.
namespace tfengine {

inline constexpr float kE4m3Max = 448.0f;

inline float E4m3ToFloat(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  float v = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9) : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  if ((code & 0x7f) == 0x7f) v = std::numeric_limits<float>::quiet_NaN();
  return code & 0x80 ? -v : v;
}

// Half to even; beyond the largest number the largest, which infinities become too. NaN becomes 0x7f.
inline uint8_t FloatToE4m3(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float v = std::fabs(value);
  if (std::isnan(v)) return 0x7f;
  if (v >= kE4m3Max) return sign | 0x7e;
  // Units of the last place of the binade of v; a carry out of the mantissa runs into the exponent, as it should.
  const int exponent = v == 0 ? -6 : std::max(std::ilogb(v), -6);
  const int units = static_cast<int>(std::nearbyint(std::ldexp(v, 3 - exponent)));
  return static_cast<uint8_t>(sign + ((exponent + 6) << 3) + units);
}

}  // namespace tfengine
