// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>

#include "backends/cpu/kernels/typed_kernels.h"

// Internal, for files without instruction-set flags: addresses of stored values, and f32 blocks that stay in the first-level
// cache for kernels that are not written for every storage.
namespace tfengine::cpu {

inline constexpr float kUnbounded = std::numeric_limits<float>::infinity();

inline int Index(const Format& f) { return static_cast<int>(f.storage); }
inline const void* At(const void* p, const Format& f, int64_t i) {
  return static_cast<const char*>(p) + i * StorageBytes(f.storage);
}
inline void* At(void* p, const Format& f, int64_t i) { return static_cast<char*>(p) + i * StorageBytes(f.storage); }

// Floats of a buffer for a row, so that workers' buffers share no cache line.
inline int64_t RowFloats(int64_t cols) { return (cols + 15) / 16 * 16; }

class BlockReader {
 public:
  BlockReader(const TypedKernels& kernels, const Format& format)
      : format_(format), convert_(kernels.convert[static_cast<int>(format.storage)][0]) {}
  // n values from p as f32: p itself, or `buffer`.
  const float* operator()(const void* p, int64_t n, float* buffer) const {
    if (format_.storage == Storage::kF32) return static_cast<const float*>(p);
    convert_(p, format_, buffer, Format(), -kUnbounded, kUnbounded, n);
    return buffer;
  }

 private:
  Format format_;
  ConvertLoop convert_;
};

class BlockWriter {
 public:
  BlockWriter(const TypedKernels& kernels, const Format& format)
      : format_(format), convert_(kernels.convert[0][static_cast<int>(format.storage)]) {}
  // Where to put f32 results for y before Flush: y itself, or `buffer`.
  float* Target(void* y, float* buffer) const { return format_.storage == Storage::kF32 ? static_cast<float*>(y) : buffer; }
  void Flush(const float* buffer, void* y, int64_t n) const {
    if (format_.storage != Storage::kF32) convert_(buffer, Format(), y, format_, -kUnbounded, kUnbounded, n);
  }

 private:
  Format format_;
  ConvertLoop convert_;
};

}  // namespace tfengine::cpu
