// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/gather.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

#include "backends/cpu/kernels/elements.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// Remembers the first position with a bad index, whichever thread finds it.
class FirstBad {
 public:
  void Report(int64_t position) {
    int64_t seen = first_.load(std::memory_order_relaxed);
    while (position < seen && !first_.compare_exchange_weak(seen, position, std::memory_order_relaxed)) {
    }
  }
  int64_t position() const { return first_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> first_{kNone};
};

// fn(const Index*) with the type of the indices.
template <typename Fn>
void WithIndices(const void* indices, DType type, const Fn& fn) {
  if (type == DType::kInt64) return fn(static_cast<const int64_t*>(indices));
  TFE_CHECK(type == DType::kInt32);
  fn(static_cast<const int32_t*>(indices));
}

// A copy of a fixed size where that is common: single elements and small rows.
void CopyBytes(char* to, const char* from, int64_t bytes) {
  switch (bytes) {
    case 1: *to = *from; return;
    case 4: std::memcpy(to, from, 4); return;
    case 8: std::memcpy(to, from, 8); return;
    default: std::memcpy(to, from, bytes);
  }
}

}  // namespace

Status Gather(const GatherShape& s, const void* params, const void* indices, DType index_type, size_t element_size, void* y,
              Gang& gang) {
  const int64_t bytes = s.inner * static_cast<int64_t>(element_size);
  const char* from = static_cast<const char*>(params);
  char* to = static_cast<char*>(y);
  const int64_t least = s.wrap ? -s.axis : 0;
  FirstBad bad;
  Status status;
  WithIndices(indices, index_type, [&]<typename Index>(const Index* index) {
    // Rows of y in order: batch, outer, count. Indices are checked even where there is nothing to copy.
    const int64_t outer = std::max<int64_t>(s.outer, 1);
    ParallelRows(gang, s.batch * outer * s.count, bytes + 16, kMovePart, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t i = row % s.count, o = row / s.count % outer, b = row / s.count / outer;
        const int64_t at = index[b * s.count + i];
        if (at < least || at >= s.axis) {
          bad.Report(b * s.count + i);
        } else if (s.outer > 0 && bytes > 0) {
          CopyBytes(to + row * bytes, from + ((b * outer + o) * s.axis + (at < 0 ? at + s.axis : at)) * bytes, bytes);
        }
      }
    });
    if (bad.position() != kNone) {
      status = Error(ErrorId::kIndexOutOfRange, "gather: indices[{}] = {} is not in [{}, {}); correct the indices fed to the model",
                     bad.position(), static_cast<int64_t>(index[bad.position()]), least, s.axis);
    }
  });
  return status;
}

Status GatherNd(const GatherNdShape& s, const void* params, const void* indices, DType index_type, size_t element_size, void* y,
                Gang& gang) {
  TFE_CHECK(s.rank <= kMaxRank);
  const int64_t bytes = s.inner * static_cast<int64_t>(element_size);
  const char* from = static_cast<const char*>(params);
  char* to = static_cast<char*>(y);
  int64_t points = 1;
  for (int d = 0; d < s.rank; ++d) points *= s.dims[d];
  FirstBad bad;
  Status status;
  WithIndices(indices, index_type, [&]<typename Index>(const Index* index) {
    ParallelRows(gang, s.batch * s.count, bytes + 16, kMovePart, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t at = 0;
        bool valid = true;
        for (int d = 0; d < s.rank; ++d) {
          const int64_t i = index[row * s.rank + d];
          valid = valid && i >= 0 && i < s.dims[d];
          at = at * s.dims[d] + (valid ? i : 0);
        }
        if (!valid) {
          bad.Report(row);
        } else if (bytes > 0) {
          CopyBytes(to + row * bytes, from + (row / s.count * points + at) * bytes, bytes);
        }
      }
    });
    if (bad.position() == kNone) return;
    std::string point, shape;
    for (int d = 0; d < s.rank; ++d) {
      const char* comma = d ? "," : "";
      point += comma + std::to_string(index[bad.position() * s.rank + d]);
      shape += comma + std::to_string(s.dims[d]);
    }
    status = Error(ErrorId::kIndexOutOfRange, "gather_nd: indices[{}] = [{}] is outside of [{}]; correct the indices fed to the model",
                   bad.position(), point, shape);
  });
  return status;
}

void OneHot(const void* indices, DType index_type, int64_t outer, int64_t depth, int64_t inner, const void* on, const void* off,
            size_t element_size, void* y, Gang& gang) {
  WithIndices(indices, index_type, [&]<typename Index>(const Index* index) {
    WithElementType(element_size, [&]<typename T>(T hot) {
      T cold;
      std::memcpy(&hot, on, sizeof(T));
      std::memcpy(&cold, off, sizeof(T));
      T* to = static_cast<T*>(y);
      ParallelRows(gang, outer, depth * inner * sizeof(T), kMovePart, [&](int64_t begin, int64_t end) {
        std::fill(to + begin * depth * inner, to + end * depth * inner, cold);
        for (int64_t o = begin; o < end; ++o) {
          for (int64_t i = 0; i < inner; ++i) {
            const int64_t at = index[o * inner + i];
            if (at >= 0 && at < depth) to[(o * depth + at) * inner + i] = hot;
          }
        }
      });
    });
  });
}

}  // namespace tfengine::cpu
