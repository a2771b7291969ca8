// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tfengine::cpu {

// How the values of an operand lie in memory. Kernels compute in f32 (or exact integers) whatever is stored.
enum class Storage : uint8_t {
  kF32 = 0,
  kBf16,  // rounded to nearest even
  kU8,    // codes: real = scale * (code - zero)
};
inline constexpr int kStorages = 3;

// Plain data; `scale` and below belong to kU8. Writing: code = clamp(round_half_even(real / scale) + zero, lo, hi), and
// NaN gives `zero` (clamped too). 0 <= lo <= hi <= 255; scale is positive and normal.
struct Format {
  Storage storage = Storage::kF32;
  float scale = 1;
  int32_t zero = 0;
  int32_t lo = 0, hi = 255;

  bool operator==(const Format&) const = default;
};

constexpr int64_t StorageBytes(Storage s) { return s == Storage::kF32 ? 4 : s == Storage::kBf16 ? 2 : 1; }

}  // namespace tfengine::cpu
