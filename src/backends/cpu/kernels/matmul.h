// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"
#include "base/gang.h"

namespace tfengine::cpu {

inline constexpr int kMatmulMaxBatchDims = 6;

// A stack of matrices inside a buffer, in elements. Strides may be 0 (broadcast). For A and B one of `row` and `col`
// must be 1 unless the other extent is at most 1 (col == 1: stored as is; row == 1: stored transposed); C and the
// residual have col == 1.
struct MatrixLayout {
  int64_t row = 0;
  int64_t col = 1;
  int64_t batch[kMatmulMaxBatchDims] = {};
};

// C[b,m,n] = sum over k of A[b,m,k] * B[b,k,n] for every b of a grid of `batch_rank` dims. Extents may be 0; k == 0
// gives sums of 0.
struct MatmulShape {
  int64_t m = 0, n = 0, k = 0;
  int batch_rank = 0;
  int64_t batch[kMatmulMaxBatchDims] = {};
  MatrixLayout a, b, c, residual;  // `b` is ignored when B is packed (one B for all of the batch)
};

// A [m,k] x B [k,n] with everything dense and row-major and no batch.
MatmulShape DenseMatmul(int64_t m, int64_t n, int64_t k);

struct MatmulArgs {
  const float* a = nullptr;
  const float* b = nullptr;         // plain B, described by MatmulShape::b, or
  const float* packed_b = nullptr;  // B packed by PackMatmulB; exactly one of the two
  const float* bias = nullptr;      // [n] or null
  const float* residual = nullptr;  // added before the activation; null: none. Must not overlap c
  float* c = nullptr;               // must not overlap an input
  Activation activation;
};

// Packed form of one constant B [k,n]: panels of 32 columns (the last filled with zeros), each [k][32]. It does not
// depend on m, on the instruction set or on the number of threads. 64-byte aligned storage is faster.
inline constexpr int64_t kMatmulPanel = 32;
inline int64_t PackedMatmulBSize(int64_t k, int64_t n) {
  return (n + kMatmulPanel - 1) / kMatmulPanel * kMatmulPanel * k;
}
void PackMatmulB(const float* b, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n, float* packed);

// Bytes of 64-byte aligned scratch that Matmul needs for this shape with up to `threads` threads.
size_t MatmulScratchBytes(const MatmulShape& shape, bool packed_b, int threads, CpuIsa isa = HostCpu().isa);

// `isa`, here and in the other kernels: at most what this CPU offers (HostCpu().isa); lower ones are for tests.
// Deterministic for a given shape, instruction set and gang size.
void Matmul(const MatmulShape& shape, const MatmulArgs& args, void* scratch, Gang& gang,
            CpuIsa isa = HostCpu().isa);

}  // namespace tfengine::cpu
