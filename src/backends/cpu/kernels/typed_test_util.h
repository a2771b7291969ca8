// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstring>

#include "backends/cpu/kernels/format.h"
#include "backends/cpu/kernels/test_util.h"

// For the tests of kernels that take operands of any storage: naive conversions and tolerances.
namespace tfengine::cpu {

inline double RealOf(const Format& f, const void* p, int64_t i) {
  switch (f.storage) {
    case Storage::kF32: return static_cast<const float*>(p)[i];
    case Storage::kBf16: {
      const uint32_t bits = uint32_t{static_cast<const uint16_t*>(p)[i]} << 16;
      float v;
      std::memcpy(&v, &bits, 4);
      return v;
    }
    case Storage::kU8: break;
  }
  return double{f.scale} * (static_cast<const uint8_t*>(p)[i] - f.zero);
}

inline int CodeOf(const Format& f, double real) {
  const double code = std::isnan(real) ? f.zero : std::nearbyint(real / f.scale) + f.zero;
  return static_cast<int>(std::clamp<double>(code, f.lo, f.hi));
}

// Values in a format, in memory of their exact size.
struct TypedBuffer {
  TypedBuffer(const Format& f, int64_t n) : format(f), bytes(n * StorageBytes(f.storage)), size(n) {}
  double operator[](int64_t i) const { return RealOf(format, bytes.data(), i); }
  void* data() const { return bytes.data(); }

  Format format;
  Buffer<unsigned char> bytes;
  int64_t size;
};

inline Format RandomFormat(Random& random, Storage storage) {
  Format f{storage};
  if (storage != Storage::kU8) return f;
  f.scale = random.Float(0.002f, 0.03f);
  f.zero = static_cast<int32_t>(random.Int(0, 255));
  if (random.OneIn(3)) f.lo = static_cast<int32_t>(random.Int(0, f.zero)), f.hi = static_cast<int32_t>(random.Int(f.zero, 255));
  return f;
}

// Any code, or reals in [low, high] rounded to the format.
inline TypedBuffer RandomValues(Random& random, const Format& f, int64_t n, float low = -2, float high = 2) {
  TypedBuffer b(f, n);
  for (int64_t i = 0; i < n; ++i) {
    const float v = random.Float(low, high);
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    if (f.storage == Storage::kF32) std::memcpy(b.bytes.data() + 4 * i, &bits, 4);
    if (f.storage == Storage::kBf16) reinterpret_cast<uint16_t*>(b.bytes.data())[i] = static_cast<uint16_t>(bits >> 16);
    if (f.storage == Storage::kU8) b.bytes[i] = static_cast<unsigned char>(random.Int(0, 255));
  }
  return b;
}

// Whether element i is `want` rounded to the buffer's format, given an error of up to `tolerance` before the rounding.
inline ::testing::AssertionResult Rounded(const TypedBuffer& got, int64_t i, double want, double tolerance) {
  const Format& f = got.format;
  if (f.storage == Storage::kF32) return Close(static_cast<float>(got[i]), want, tolerance);
  if (f.storage == Storage::kBf16) {
    // Half a unit in the last of 8 bits, and numbers below the normal range may become 0.
    int exponent;
    std::frexp(want, &exponent);
    return Close(static_cast<float>(got[i]), want, tolerance + std::ldexp(1.0, exponent - 9) + 0x1p-126);
  }
  const double slack = tolerance + 1e-3 * f.scale;
  const int code = got.bytes[i];
  if (code >= CodeOf(f, want - slack) && code <= CodeOf(f, want + slack)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "got code " << code << " for " << want << ", expected " << CodeOf(f, want)
                                       << " (scale " << f.scale << ", zero " << f.zero << ", " << f.lo << ".." << f.hi << ")";
}

inline constexpr Storage kAllStorages[] = {Storage::kF32, Storage::kBf16, Storage::kU8};

}  // namespace tfengine::cpu
