// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/pad.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/elements.h"

namespace tfengine::cpu {
namespace {

// Index in [0, dim) that output index i (counted from the first element of x) shows; -1: padding.
int64_t Source(PadMode mode, int64_t i, int64_t dim) {
  if (i >= 0 && i < dim) return i;
  switch (mode) {
    case PadMode::k_constant: return -1;
    case PadMode::k_reflect: return i < 0 ? -i : 2 * dim - 2 - i;
    case PadMode::k_symmetric: return i < 0 ? -i - 1 : 2 * dim - 1 - i;
  }
  return -1;
}

template <typename T>
void Run(PadMode mode, const T* x, Dims dims, Dims lo, Dims hi, T value, T* y, Gang& gang) {
  // Axes after the last padded one become one dense run.
  int axes = static_cast<int>(dims.size());
  int64_t run = 1;
  while (axes > 0 && lo[axes - 1] == 0 && hi[axes - 1] == 0) run *= dims[--axes];
  if (axes == 0) {
    ParallelParts(gang, run, kMovePart / static_cast<int64_t>(sizeof(T)),
                  [&](int64_t begin, int64_t end) { std::memcpy(y + begin, x + begin, (end - begin) * sizeof(T)); });
    return;
  }
  const int last = axes - 1;
  int64_t out[kMaxRank], strides[kMaxRank], product = run, rows = 1;
  for (int d = last; d >= 0; --d) {
    strides[d] = product;
    product *= dims[d];
    out[d] = lo[d] + dims[d] + hi[d];
    if (d < last) rows *= out[d];
  }
  const int64_t row = out[last] * run;
  if (row == 0) return;
  ParallelRows(gang, rows, row * sizeof(T), kMovePart, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* to = y + r * row;
      int64_t rest = r, from = 0;
      bool padding = false;
      for (int d = last - 1; d >= 0; --d) {
        const int64_t source = Source(mode, rest % out[d] - lo[d], dims[d]);
        rest /= out[d];
        padding |= source < 0;
        from += source * strides[d];
      }
      if (padding) {
        std::fill(to, to + row, value);
        continue;
      }
      for (int64_t i = 0; i < out[last]; ++i) {
        if (i == lo[last] && dims[last] > 0) {
          std::memcpy(to + i * run, x + from, dims[last] * run * sizeof(T));
          i += dims[last] - 1;
          continue;
        }
        const int64_t source = Source(mode, i - lo[last], dims[last]);
        if (source < 0) {
          std::fill(to + i * run, to + (i + 1) * run, value);
        } else {
          std::memcpy(to + i * run, x + from + source * run, run * sizeof(T));
        }
      }
    }
  });
}

}  // namespace

void Pad(PadMode mode, const void* x, Dims dims, Dims lo, Dims hi, const void* value, size_t element_size, void* y, Gang& gang) {
  TFE_CHECK(dims.size() <= kMaxRank);
  WithElementType(element_size, [&]<typename T>(T fill) {
    if (mode == PadMode::k_constant) std::memcpy(&fill, value, sizeof(T));
    Run(mode, static_cast<const T*>(x), dims, lo, hi, fill, static_cast<T*>(y), gang);
  });
}

}  // namespace tfengine::cpu
