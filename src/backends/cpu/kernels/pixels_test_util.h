// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

// For tests of kernels whose pixels may lie apart.
namespace tfengine::cpu {

// Pixels of `bytes` bytes each, `distance` bytes from one to the next; what lies between keeps a pattern.
class ApartPixels {
 public:
  // `dense`: their content, or null.
  ApartPixels(const void* dense, int64_t pixels, int64_t bytes, int64_t distance)
      : pixels_(pixels), bytes_(bytes), distance_(distance), data_(pixels == 0 ? 0 : (pixels - 1) * distance + bytes, kPattern) {
    for (int64_t i = 0; dense != nullptr && i < pixels; ++i) std::memcpy(At(i), static_cast<const char*>(dense) + i * bytes, bytes);
  }
  void* data() { return data_.data(); }

  // Whether the pixels equal dense ones, and nothing was written between them.
  ::testing::AssertionResult Equal(const void* dense) {
    for (int64_t i = 0; i < pixels_; ++i) {
      if (std::memcmp(At(i), static_cast<const char*>(dense) + i * bytes_, bytes_) != 0) return ::testing::AssertionFailure() << "pixel " << i << " differs";
      for (int64_t k = bytes_; k < distance_ && i + 1 < pixels_; ++k)
        if (At(i)[k] != kPattern) return ::testing::AssertionFailure() << "written behind pixel " << i;
    }
    return ::testing::AssertionSuccess();
  }

 private:
  static constexpr char kPattern = 0x7f;  // a large number in every type
  char* At(int64_t i) { return data_.data() + i * distance_; }

  int64_t pixels_, bytes_, distance_;
  std::vector<char> data_;
};

}  // namespace tfengine::cpu
