// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>

#include "base/gang.h"

namespace tfengine::cpu {

// Shapes are row-major; kernels take ranks up to this (callers check).
inline constexpr int kMaxRank = 8;
using Dims = std::span<const int64_t>;

inline int64_t NumElements(Dims dims) {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

// Nested loops over a dense result and up to kMaxOperands operands with a stride per dim (0: broadcast), in elements.
// Adjacent dims that every operand walks alike are merged and dims of 1 dropped, so the usual patterns end with one to
// three dims, the last (innermost) with strides of 0 or 1 unless an operand is a strided view.
struct LoopNest {
  static constexpr int kMaxOperands = 4;
  static constexpr int kMaxDims = 2 * kMaxRank;  // a tile walks every axis as repetition and extent
  int rank = 0;                                  // >= 1 after MakeLoopNest
  int operands = 0;
  int64_t dims[kMaxDims] = {};
  int64_t strides[kMaxOperands][kMaxDims] = {};
  int64_t size = 1;  // product of dims

};

// NumPy broadcasting of `shapes` to `result`, to which each must be broadcastable (callers check). `pitches`: of each shape, the
// elements from one row of its last dim to the next; 0 or left out: they lie together.
LoopNest MakeLoopNest(Dims result, std::initializer_list<Dims> shapes, std::span<const int64_t> pitches = {});

// Walks elements [begin, end) of the result in runs along the last dim: run(at, n, offsets) for each, where offsets[i] is
// operand i's element for the result's element `at`; within the run it advances by strides[i][rank - 1].
template <typename Run>
void ForEachRun(const LoopNest& loops, int64_t begin, int64_t end, const Run& run) {
  if (begin >= end) return;
  const int last = loops.rank - 1;
  int64_t index[LoopNest::kMaxDims], offsets[LoopNest::kMaxOperands] = {};
  if (begin == 0) {  // without divisions, which take longer than a small tensor
    for (int d = 0; d <= last; ++d) index[d] = 0;
  } else {
    int64_t rest = begin;
    for (int d = last; d >= 0; --d) {
      index[d] = rest % loops.dims[d];
      rest /= loops.dims[d];
      for (int i = 0; i < loops.operands; ++i) offsets[i] += index[d] * loops.strides[i][d];
    }
  }
  for (int64_t at = begin; at < end;) {
    const int64_t n = end - at < loops.dims[last] - index[last] ? end - at : loops.dims[last] - index[last];
    run(at, n, offsets);
    at += n;
    index[last] += n;
    for (int i = 0; i < loops.operands; ++i) offsets[i] += n * loops.strides[i][last];
    for (int d = last; d > 0 && index[d] == loops.dims[d]; --d) {
      index[d] = 0;
      ++index[d - 1];
      for (int i = 0; i < loops.operands; ++i) {
        offsets[i] += loops.strides[i][d - 1] - loops.dims[d] * loops.strides[i][d];
      }
    }
  }
}

// Cuts [0, size) into a few parts per thread of at least `least` items, at multiples of `align`, and runs
// part(begin, end) or part(begin, end, worker) for them on the gang.
template <typename Part>
void ParallelParts(Gang& gang, int64_t size, int64_t least, const Part& part, int64_t align = 16) {
  constexpr int64_t kPartsPerThread = 4;
  auto call = [&](int64_t begin, int64_t end, int worker) {
    if constexpr (std::is_invocable_v<const Part&, int64_t, int64_t, int>) {
      part(begin, end, worker);
    } else {
      part(begin, end);
    }
  };
  if (least < 1) least = 1;
  if (gang.threads() == 1 || size / 2 < least) {
    if (size > 0) call(int64_t{0}, size, 0);
    return;
  }
  int64_t parts = size / least;
  if (parts > kPartsPerThread * gang.threads()) parts = kPartsPerThread * gang.threads();
  const int64_t units = (size + align - 1) / align;
  if (parts > units) parts = units;
  gang.Run(parts, [&](int64_t task, int worker) {
    const int64_t begin = units * task / parts * align, end = units * (task + 1) / parts * align;
    call(begin, end < size ? end : size, worker);
  });
}

// The same for rows of `cols` elements, when `least` elements are worth a task of their own.
template <typename Part>
void ParallelRows(Gang& gang, int64_t rows, int64_t cols, int64_t least, const Part& part) {
  ParallelParts(gang, rows, least / (cols > 0 ? cols : 1), part, 1);
}

}  // namespace tfengine::cpu
