// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/softmax.h"

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/row_kernels.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 8192;  // elements worth a task of their own

void ForRows(void (*row)(const float*, float*, int64_t), const float* x, float* y, int64_t rows, int64_t cols, Gang& gang) {
  if (cols == 0) return;
  ParallelRows(gang, rows, cols, kPart, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(x + r * cols, y + r * cols, cols);
  });
}

}  // namespace

const RowKernels& RowKernelsFor(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512: return kRowAvx512;
    case CpuIsa::kAvx2: return kRowAvx2;
    case CpuIsa::kPortable: break;
  }
  return kRowPortable;
}

void Softmax(const float* x, float* y, int64_t rows, int64_t cols, Gang& gang, CpuIsa isa) {
  ForRows(RowKernelsFor(isa).softmax, x, y, rows, cols, gang);
}

void LogSoftmax(const float* x, float* y, int64_t rows, int64_t cols, Gang& gang, CpuIsa isa) {
  ForRows(RowKernelsFor(isa).log_softmax, x, y, rows, cols, gang);
}

}  // namespace tfengine::cpu
