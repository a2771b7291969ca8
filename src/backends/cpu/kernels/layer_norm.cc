// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/row_kernels.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 16384;    // elements worth a task of their own
constexpr int64_t kColumns = 1024;  // of a batch norm at a time

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

void BatchNorm(const BatchNormArgs& args, Gang& gang, CpuIsa isa) {
  if (args.cols == 0) return;
  const RowKernels& kernels = RowKernelsFor(isa);
  ParallelRows(gang, args.rows, args.cols, kPart, [&](int64_t begin, int64_t end) {
    float scale[kColumns];
    for (int64_t c = 0; c < args.cols; c += kColumns) {
      const int64_t n = std::min(kColumns, args.cols - c);
      for (int64_t i = 0; i < n; ++i) scale[i] = args.scale[c + i] / std::sqrt(args.variance[c + i] + args.epsilon);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t at = r * args.cols + c;
        kernels.batch_norm(args.x + at, args.mean + c, scale, args.offset + c, args.y + at, n);
      }
    }
  });
}

}  // namespace tfengine::cpu
