// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"

// Internal to matmul and attention: what is compiled once per instruction set.
namespace tfengine::cpu {

struct MatmulShape;

// C[rows, cols] = (accumulate ? C : 0) + A[rows, k] * B[k, cols]. Rows of A are dense along k, rows of B and C along cols.
// `prefetch`: memory to bring into the second-level cache meanwhile, 64 bytes for every four k; null: none.
struct MatmulTile {
  const float* a;
  int64_t a_row;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  int64_t k;
  bool accumulate;
  const char* prefetch;
};

struct MatmulKernels {
  static constexpr int kMaxRows = 14;
  int rows;  // the largest tile, <= kMaxRows
  int cols;  // of a tile; divides kMatmulPanel
  void (*tile[kMaxRows + 1])(const MatmulTile&);  // [1..rows]
  // In place on C[rows, cols]: activation(C + bias + residual); bias and residual may be null.
  void (*epilogue)(float* c, int64_t c_row, int64_t rows, int64_t cols, const float* bias, const float* residual,
                   int64_t residual_row, const Activation& activation);
  // to[c * to_row + r] = from[r * from_row + c]
  void (*transpose)(const float* from, int64_t from_row, int64_t rows, int64_t cols, float* to, int64_t to_row);
};

extern const MatmulKernels kMatmulPortable;
extern const MatmulKernels kMatmulAvx2;
extern const MatmulKernels kMatmulAvx512;
const MatmulKernels& MatmulKernelsFor(CpuIsa isa);

// Batch dims that repeat B and continue the rows of A, C and the residual become rows. packed: one B for all of the batch.
MatmulShape FoldMatmulBatch(MatmulShape s, bool packed, bool has_residual);

// One panel of up to kMatmulPanel columns: to[p][j] = from[p * row_stride + j * col_stride] for p < k, j < cols; 0 beyond.
void PackMatmulPanel(const MatmulKernels& kernels, const float* from, int64_t row_stride, int64_t col_stride, int64_t k,
                     int64_t cols, float* to);

}  // namespace tfengine::cpu
