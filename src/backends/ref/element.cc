// SPDX-License-Identifier: Apache-2.0
#include "backends/ref/element.h"

#include <bit>
#include <limits>

namespace tfengine::ref {

float HalfToFloat(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  float v;
  if (exponent == 31) {
    v = mantissa ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  } else {
    v = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                      : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  }
  return bits & 0x8000 ? -v : v;
}

uint16_t FloatToHalf(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float v = std::fabs(value);
  if (std::isnan(v)) return sign | 0x7e00;
  if (v >= 65520.0f) return sign | 0x7c00;
  // Units of the last place of the binade of v; nearbyint rounds half to even.
  const int exponent = v == 0 ? -14 : std::max(std::ilogb(v), -14);
  const int units = static_cast<int>(std::nearbyint(std::ldexp(v, 10 - exponent)));
  // A carry out of the mantissa runs into the exponent field, as it should.
  return static_cast<uint16_t>(sign + ((exponent + 14) << 10) + units);
}

float Bfloat16ToFloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t FloatToBfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

std::vector<int64_t> StridesOf(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

std::vector<int64_t> BroadcastStrides(const std::vector<int64_t>& shape, const std::vector<int64_t>& target) {
  const std::vector<int64_t> own = StridesOf(shape);
  std::vector<int64_t> strides(target.size(), 0);
  const size_t lead = target.size() - shape.size();
  for (size_t i = 0; i < shape.size(); ++i) strides[lead + i] = shape[i] == 1 ? 0 : own[i];
  return strides;
}

AxisSplit SplitAt(const std::vector<int64_t>& shape, int64_t axis) {
  AxisSplit s;
  for (int64_t i = 0; i < static_cast<int64_t>(shape.size()); ++i)
    (i < axis ? s.outer : i == axis ? s.size : s.inner) *= shape[i];
  return s;
}

}  // namespace tfengine::ref
