// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/softmax.h"

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/row_kernels.h"
#include "backends/cpu/kernels/typed_blocks.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 8192;  // elements worth a task of their own

void ForRows(void (*row)(const float*, float*, int64_t), const float* x, float* y, int64_t rows, int64_t cols, Gang& gang) {
  if (cols == 0) return;
  ParallelRows(gang, rows, cols, kPart, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(x + r * cols, y + r * cols, cols);
  });
}

void ForTypedRows(void (*row)(const float*, float*, int64_t), const void* x, const Format& from, void* y, const Format& to,
                  int64_t rows, int64_t cols, void* scratch, Gang& gang, CpuIsa isa) {
  if (cols == 0) return;
  const BlockReader read(TypedKernelsFor(isa), from);
  const BlockWriter write(TypedKernelsFor(isa), to);
  const int64_t stride = RowFloats(cols);
  ParallelRows(gang, rows, cols, kPart, [&](int64_t begin, int64_t end, int worker) {
    float* buffer = static_cast<float*>(scratch) + worker * stride;
    for (int64_t r = begin; r < end; ++r) {
      void* out = At(y, to, r * cols);
      float* target = write.Target(out, buffer);
      row(read(At(x, from, r * cols), cols, buffer), target, cols);
      write.Flush(target, out, cols);
    }
  });
}

}  // namespace

size_t SoftmaxScratchBytes(int64_t cols, int threads) { return RowFloats(cols) * threads * sizeof(float); }

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

void Softmax(const void* x, const Format& from, void* y, const Format& to, int64_t rows, int64_t cols, void* scratch,
             Gang& gang, CpuIsa isa) {
  ForTypedRows(RowKernelsFor(isa).softmax, x, from, y, to, rows, cols, scratch, gang, isa);
}

void LogSoftmax(const void* x, const Format& from, void* y, const Format& to, int64_t rows, int64_t cols, void* scratch,
                Gang& gang, CpuIsa isa) {
  ForTypedRows(RowKernelsFor(isa).log_softmax, x, from, y, to, rows, cols, scratch, gang, isa);
}

}  // namespace tfengine::cpu
