// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

namespace tfengine {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

AlignedBuffer::AlignedBuffer(size_t bytes) : bytes_(bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  // Never rounded up to whole huge pages: the tail would be touched by nobody but counted as resident.
  const size_t padded = (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
  if (posix_memalign(&data_, alignment, padded) != 0) {
    data_ = nullptr;
    return;
  }
  if (alignment == kHugePage) madvise(data_, padded / kHugePage * kHugePage, MADV_HUGEPAGE);
}

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

AlignedBuffer MemoryPool::Take(size_t bytes) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it)
      if (it->bytes() >= bytes && (best == free_.end() || it->bytes() < best->bytes())) best = it;
    if (best != free_.end()) {
      AlignedBuffer buffer = std::move(*best);
      free_.erase(best);
      return buffer;
    }
    if (!free_.empty()) free_.clear();
  }
  return AlignedBuffer(bytes);
}

void MemoryPool::Give(AlignedBuffer buffer) {
  std::lock_guard<std::mutex> lock(mu_);
  free_.push_back(std::move(buffer));
}

}  // namespace tfengine
