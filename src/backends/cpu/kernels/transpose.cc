// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/transpose.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/elements.h"
#include "backends/cpu/kernels/matmul_kernels.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kTile = 32;  // of the two dims that change places; a tile of x and one of y fit the first-level cache

// A permutation with dims of 1 dropped and dims that stay together merged.
struct Problem {
  int rank = 0;
  int64_t dims[kMaxRank] = {};     // of y
  int64_t strides[kMaxRank] = {};  // in x, for each dim of y
  int64_t size = 1;
};

Problem Simplify(Dims dims, Dims perm) {
  TFE_CHECK(dims.size() <= kMaxRank && perm.size() == dims.size());
  const int rank = static_cast<int>(dims.size());
  int64_t x_strides[kMaxRank], stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    x_strides[d] = stride;
    stride *= dims[d];
  }
  Problem p;
  p.size = stride;
  for (int d = 0; d < rank; ++d) {
    const int64_t extent = dims[perm[d]], from = x_strides[perm[d]];
    if (extent == 1) continue;
    if (p.rank > 0 && p.strides[p.rank - 1] == extent * from) {
      p.dims[p.rank - 1] *= extent;
      p.strides[p.rank - 1] = from;
    } else {
      p.dims[p.rank] = extent;
      p.strides[p.rank++] = from;
    }
  }
  return p;
}

// rows x cols elements: to[c * to_row + r] = from[r * from_row + c]
template <typename T>
void TransposeTile(const T* from, int64_t from_row, int64_t rows, int64_t cols, T* to, int64_t to_row) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) to[c * to_row + r] = from[r * from_row + c];
  }
}

// The last dim of y is dense in x: rows are copied.
template <typename T>
void CopyRows(const Problem& p, const T* x, T* y, Gang& gang) {
  const int64_t inner = p.dims[p.rank - 1], outer = p.size / inner;
  ParallelRows(gang, outer, inner * sizeof(T), kMovePart, [&](int64_t begin, int64_t end) {
    int64_t index[kMaxRank], rest = begin, from = 0;
    for (int d = p.rank - 2; d >= 0; --d) {
      index[d] = rest % p.dims[d];
      rest /= p.dims[d];
      from += index[d] * p.strides[d];
    }
    for (int64_t row = begin; row < end; ++row) {
      const T* source = x + from;
      T* target = y + row * inner;
      if (inner * sizeof(T) >= 32) {
        std::memcpy(target, source, inner * sizeof(T));
      } else {
        for (int64_t i = 0; i < inner; ++i) target[i] = source[i];
      }
      for (int d = p.rank - 2; d >= 0; --d) {
        from += p.strides[d];
        if (++index[d] < p.dims[d]) break;
        index[d] = 0;
        from -= p.dims[d] * p.strides[d];
      }
    }
  });
}

// Another dim `q` of y is dense in x: tiles over q and the last dim are transposed.
template <typename T>
void TransposeTiles(const Problem& p, int q, const T* x, T* y, Gang& gang) {
  const int last = p.rank - 1;
  const int64_t rows = p.dims[last], cols = p.dims[q];  // rows of the x tile run along y's last dim
  int64_t y_strides[kMaxRank], stride = 1;
  for (int d = last; d >= 0; --d) {
    y_strides[d] = stride;
    stride *= p.dims[d];
  }
  const int64_t row_tiles = (rows + kTile - 1) / kTile, col_tiles = (cols + kTile - 1) / kTile;
  const int64_t tiles = p.size / (rows * cols) * row_tiles * col_tiles;
  const MatmulKernels& kernels = MatmulKernelsFor(HostCpu().isa);
  ParallelRows(gang, tiles, p.size / tiles * sizeof(T), kMovePart, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      int64_t rest = tile;
      const int64_t r0 = rest % row_tiles * kTile;
      rest /= row_tiles;
      const int64_t c0 = rest % col_tiles * kTile;
      rest /= col_tiles;
      const T* from = x + r0 * p.strides[last] + c0;
      T* to = y + c0 * y_strides[q] + r0;
      for (int d = last - 1; d >= 0; --d) {
        if (d == q) continue;
        from += rest % p.dims[d] * p.strides[d];
        to += rest % p.dims[d] * y_strides[d];
        rest /= p.dims[d];
      }
      const int64_t r = std::min(kTile, rows - r0), c = std::min(kTile, cols - c0);
      if constexpr (sizeof(T) == 4) {
        kernels.transpose(reinterpret_cast<const float*>(from), p.strides[last], r, c, reinterpret_cast<float*>(to), y_strides[q]);
      } else {
        TransposeTile(from, p.strides[last], r, c, to, y_strides[q]);
      }
    }
  });
}

template <typename T>
void Run(const Problem& p, const T* x, T* y, Gang& gang) {
  if (p.rank == 0) {
    *y = *x;
  } else if (p.strides[p.rank - 1] == 1) {
    CopyRows(p, x, y, gang);
  } else {
    int q = 0;
    while (p.strides[q] != 1) ++q;
    TransposeTiles(p, q, x, y, gang);
  }
}

}  // namespace

void Transpose(const void* x, Dims dims, Dims perm, size_t element_size, void* y, Gang& gang) {
  const Problem p = Simplify(dims, perm);
  if (p.size == 0) return;
  // 4-byte elements move as float: only loads, stores and shuffles, which keep every bit.
  if (element_size == 4) return Run(p, static_cast<const float*>(x), static_cast<float*>(y), gang);
  WithElementType(element_size, [&]<typename T>(T) { Run(p, static_cast<const T*>(x), static_cast<T*>(y), gang); });
}

void DepthToSpace(const void* x, Dims dims, int64_t block, size_t element_size, void* y, Gang& gang) {
  const int64_t split[] = {dims[0], dims[1], dims[2], block, block, dims[3] / (block * block)};
  const int64_t perm[] = {0, 1, 3, 2, 4, 5};
  Transpose(x, split, perm, element_size, y, gang);
}

void SpaceToDepth(const void* x, Dims dims, int64_t block, size_t element_size, void* y, Gang& gang) {
  const int64_t split[] = {dims[0], dims[1] / block, block, dims[2] / block, block, dims[3]};
  const int64_t perm[] = {0, 1, 3, 2, 4, 5};
  Transpose(x, split, perm, element_size, y, gang);
}

}  // namespace tfengine::cpu
