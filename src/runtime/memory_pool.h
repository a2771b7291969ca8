// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace tfengine {

// An aligned block; large ones ask for huge pages. data() is nullptr if memory ran out.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes);
  AlignedBuffer(AlignedBuffer&& o) noexcept : data_(o.data_), bytes_(o.bytes_) { o.data_ = nullptr; }
  AlignedBuffer& operator=(AlignedBuffer&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~AlignedBuffer();
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Blocks that concurrent runs borrow and give back, so that a steady load allocates nothing. Thread-safe.
class MemoryPool {
 public:
  // The smallest free block of at least `bytes`, else a new one (then smaller free blocks are dropped: the working
  // set has grown).
  AlignedBuffer Take(size_t bytes);
  void Give(AlignedBuffer buffer);

 private:
  std::mutex mu_;
  std::vector<AlignedBuffer> free_;
};

}  // namespace tfengine
