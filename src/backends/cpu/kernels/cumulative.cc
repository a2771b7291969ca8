// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/cumulative.h"

#include <algorithm>

#include "backends/cpu/kernels/loops.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kColumns = 256;  // of the inner extent at a time
constexpr int64_t kPart = 16384;

template <CumulativeOp op>
void Run(const float* x, int64_t outer, int64_t axis, int64_t inner, bool exclusive, bool reverse, float* y, Gang& gang) {
  const int64_t chunks = (inner + kColumns - 1) / kColumns;
  ParallelRows(gang, outer * chunks, axis * std::min(inner, kColumns), kPart, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t base = unit / chunks * axis * inner + unit % chunks * kColumns;
      const int64_t n = std::min(kColumns, inner - unit % chunks * kColumns);
      float total[kColumns];
      std::fill(total, total + n, op == CumulativeOp::k_sum ? 0.0f : 1.0f);
      for (int64_t a = 0; a < axis; ++a) {
        const int64_t at = base + (reverse ? axis - 1 - a : a) * inner;
        for (int64_t i = 0; i < n; ++i) {
          const float before = total[i], value = x[at + i];
          total[i] = op == CumulativeOp::k_sum ? before + value : before * value;
          y[at + i] = exclusive ? before : total[i];
        }
      }
    }
  });
}

}  // namespace

void Cumulative(CumulativeOp op, const float* x, int64_t outer, int64_t axis, int64_t inner, bool exclusive, bool reverse,
                float* y, Gang& gang) {
  if (op == CumulativeOp::k_sum) {
    Run<CumulativeOp::k_sum>(x, outer, axis, inner, exclusive, reverse, y, gang);
  } else {
    Run<CumulativeOp::k_prod>(x, outer, axis, inner, exclusive, reverse, y, gang);
  }
}

}  // namespace tfengine::cpu
