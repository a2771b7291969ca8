// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/row_kernels.h"
#include "backends/cpu/kernels/typed_blocks.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 16384;    // elements worth a task of their own
constexpr int64_t kColumns = 1024;  // of a batch norm at a time

// The factor of columns [c, c + n).
void ScaleOf(const BatchNormArgs& args, int64_t c, int64_t n, float* scale) {
  for (int64_t i = 0; i < n; ++i) scale[i] = args.scale[c + i] / std::sqrt(args.variance[c + i] + args.epsilon);
}

}  // namespace

void LayerNorm(const LayerNormArgs& args, Gang& gang, CpuIsa isa) {
  if (args.cols == 0) return;
  const RowKernels& kernels = RowKernelsFor(isa);
  ParallelRows(gang, args.rows, args.cols, kPart, [&](int64_t begin, int64_t end) {
    LayerNormArgs row = args;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * args.cols;
      row.x = args.x + at;
      if (args.residual) row.residual = args.residual + at;
      row.y = args.y + at;
      if (args.sum) row.sum = args.sum + at;
      kernels.layer_norm(row);
    }
  });
}

size_t LayerNormScratchBytes(int64_t cols, int threads) { return RowFloats(cols) * threads * sizeof(float); }

void LayerNorm(const LayerNormArgs& args, const NormFormats& t, void* scratch, Gang& gang, CpuIsa isa) {
  if (args.cols == 0) return;
  const int64_t cols = args.cols;
  const RowKernels& kernels = RowKernelsFor(isa);
  const TypedKernels& typed = TypedKernelsFor(isa);
  const BlockReader read(typed, t.x_format);
  const BlockWriter write(typed, t.y_format);
  const TypedBinaryLoop add = typed.binary[static_cast<int>(HotBinary::kAdd)][Index(t.x_format)][Index(t.residual_format)][0];
  ParallelRows(gang, args.rows, cols, kPart, [&](int64_t begin, int64_t end, int worker) {
    float* buffer = static_cast<float*>(scratch) + worker * RowFloats(cols);
    LayerNormArgs row = args;
    row.residual = nullptr;
    row.sum = nullptr;
    for (int64_t r = begin; r < end; ++r) {
      const void* x = At(t.x, t.x_format, r * cols);
      void* y = At(t.y, t.y_format, r * cols);
      if (t.residual) {
        add({x, t.x_format, 1}, {At(t.residual, t.residual_format, r * cols), t.residual_format, 1}, buffer, Format(),
            -kUnbounded, kUnbounded, cols);
        row.x = buffer;
      } else {
        row.x = read(x, cols, buffer);
      }
      row.y = write.Target(y, buffer);
      kernels.layer_norm(row);
      write.Flush(row.y, y, cols);
    }
  });
}

void BatchNorm(const BatchNormArgs& args, Gang& gang, CpuIsa isa) {
  if (args.cols == 0) return;
  const RowKernels& kernels = RowKernelsFor(isa);
  ParallelRows(gang, args.rows, args.cols, kPart, [&](int64_t begin, int64_t end) {
    float scale[kColumns];
    for (int64_t c = 0; c < args.cols; c += kColumns) {
      const int64_t n = std::min(kColumns, args.cols - c);
      ScaleOf(args, c, n, scale);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t at = r * args.cols + c;
        kernels.batch_norm(args.x + at, args.mean + c, scale, args.offset + c, args.y + at, n);
      }
    }
  });
}

void BatchNorm(const BatchNormArgs& args, const NormFormats& t, Gang& gang, CpuIsa isa) {
  if (args.cols == 0) return;
  const RowKernels& kernels = RowKernelsFor(isa);
  const BlockReader read(TypedKernelsFor(isa), t.x_format);
  const BlockWriter write(TypedKernelsFor(isa), t.y_format);
  ParallelRows(gang, args.rows, args.cols, kPart, [&](int64_t begin, int64_t end) {
    float scale[kColumns], buffer[kColumns];
    for (int64_t c = 0; c < args.cols; c += kColumns) {
      const int64_t n = std::min(kColumns, args.cols - c);
      ScaleOf(args, c, n, scale);
      for (int64_t r = begin; r < end; ++r) {
        void* y = At(t.y, t.y_format, r * args.cols + c);
        float* target = write.Target(y, buffer);
        kernels.batch_norm(read(At(t.x, t.x_format, r * args.cols + c), n, buffer), args.mean + c, scale, args.offset + c, target, n);
        write.Flush(target, y, n);
      }
    }
  });
}

}  // namespace tfengine::cpu
