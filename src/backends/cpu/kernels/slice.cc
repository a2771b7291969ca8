// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/slice.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/elements.h"

namespace tfengine::cpu {
namespace {

// y[i...] = x[offset + sum of i * stride], a strided view made dense.
struct View {
  int64_t offset = 0;
  LoopNest loops;  // one operand
};

// Appends a dim to the view, merged with the one before where that walks alike.
void Append(LoopNest& loops, int64_t extent, int64_t stride) {
  loops.size *= extent;
  if (extent == 1) return;
  if (loops.rank > 0 && loops.strides[0][loops.rank - 1] == stride * extent) {
    loops.dims[loops.rank - 1] *= extent;
    loops.strides[0][loops.rank - 1] = stride;
  } else {
    TFE_CHECK(loops.rank < LoopNest::kMaxDims);
    loops.dims[loops.rank] = extent;
    loops.strides[0][loops.rank++] = stride;
  }
}

template <typename T>
void CopyView(const View& view, const T* x, T* y, Gang& gang) {
  const int64_t step = view.loops.strides[0][view.loops.rank - 1];
  ParallelParts(gang, view.loops.size, kMovePart / static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    ForEachRun(view.loops, begin, end, [&](int64_t at, int64_t n, const int64_t* offsets) {
      const T* from = x + view.offset + offsets[0];
      T* to = y + at;
      if (step == 1) {
        std::memcpy(to, from, n * sizeof(T));
      } else if (step == 0) {
        std::fill(to, to + n, *from);
      } else {
        for (int64_t i = 0; i < n; ++i) to[i] = from[i * step];
      }
    });
  });
}

void Run(View& view, const void* x, size_t element_size, void* y, Gang& gang) {
  if (view.loops.size == 0) return;
  if (view.loops.rank == 0) {
    view.loops.rank = 1;
    view.loops.dims[0] = 1;
  }
  view.loops.operands = 1;
  WithElementType(element_size, [&]<typename T>(T) { CopyView(view, static_cast<const T*>(x), static_cast<T*>(y), gang); });
}

}  // namespace

void Slice(const void* x, Dims dims, Dims begin, Dims size, Dims stride, size_t element_size, void* y, Gang& gang) {
  int64_t strides[kMaxRank], product = 1;
  TFE_CHECK(dims.size() <= kMaxRank);
  for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
    strides[d] = product;
    product *= dims[d];
  }
  View view;
  for (size_t d = 0; d < dims.size(); ++d) {
    view.offset += begin[d] * strides[d];
    Append(view.loops, size[d], stride[d] * strides[d]);
  }
  Run(view, x, element_size, y, gang);
}

void BroadcastTo(const void* x, Dims dims, Dims result, size_t element_size, void* y, Gang& gang) {
  View view;
  view.loops = MakeLoopNest(result, {dims});
  Run(view, x, element_size, y, gang);
}

void Tile(const void* x, Dims dims, Dims reps, size_t element_size, void* y, Gang& gang) {
  // [reps, dim] per axis, the repetition with stride 0.
  int64_t strides[kMaxRank], product = 1;
  TFE_CHECK(dims.size() <= kMaxRank);
  for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
    strides[d] = product;
    product *= dims[d];
  }
  View view;
  for (size_t d = 0; d < dims.size(); ++d) {
    Append(view.loops, reps[d], 0);
    Append(view.loops, dims[d], strides[d]);
  }
  Run(view, x, element_size, y, gang);
}

}  // namespace tfengine::cpu
