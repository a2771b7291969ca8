// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/test_util.h"

namespace tfengine::cpu {

// Elements of a stack of matrices up to its last one, gaps included.
inline int64_t Extent(const MatmulShape& s, const MatrixLayout& x, int64_t rows, int64_t cols) {
  if (rows == 0 || cols == 0) return 0;
  int64_t last = (rows - 1) * x.row + (cols - 1) * x.col;
  for (int d = 0; d < s.batch_rank; ++d) {
    if (s.batch[d] == 0) return 0;
    last += (s.batch[d] - 1) * x.batch[d];
  }
  return last + 1;
}

// A layout of a stack of matrices with gaps between rows, now and then transposed, or the same for all of a batch dim.
inline MatrixLayout RandomLayout(Random& random, bool may_transpose, int64_t rows, int64_t cols, const MatmulShape& s, bool may_repeat) {
  MatrixLayout x;
  const int64_t gap = random.OneIn(3) ? random.Int(1, 5) : 0;
  int64_t size;
  if (may_transpose && random.OneIn(3)) {
    x.row = 1, x.col = rows + gap, size = cols * x.col;
  } else {
    x.row = cols + gap, x.col = 1, size = rows * x.row;
  }
  for (int d = s.batch_rank - 1; d >= 0; --d) {
    if (may_repeat && random.OneIn(4)) continue;
    x.batch[d] = size;
    size *= s.batch[d];
  }
  return x;
}

}  // namespace tfengine::cpu
