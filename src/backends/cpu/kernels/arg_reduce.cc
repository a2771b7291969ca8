// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/arg_reduce.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "backends/cpu/kernels/loops.h"
#include "base/errors.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kColumns = 256;  // of the inner extent at a time
constexpr int64_t kPart = 8192;

template <ArgReduceOp op, typename Index>
void Run(const float* x, int64_t outer, int64_t axis, int64_t inner, Index* y, Gang& gang) {
  constexpr bool kMax = op == ArgReduceOp::k_max;
  constexpr float kWorst = kMax ? std::numeric_limits<float>::lowest() : std::numeric_limits<float>::max();
  const int64_t chunks = (inner + kColumns - 1) / kColumns;
  ParallelRows(gang, outer * chunks, axis * std::min(inner, kColumns), kPart, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t o = unit / chunks, c = unit % chunks * kColumns, n = std::min(kColumns, inner - c);
      float best[kColumns];
      std::fill(best, best + n, kWorst);
      Index* to = y + o * inner + c;
      std::fill(to, to + n, Index{0});
      for (int64_t a = 0; a < axis; ++a) {
        const float* row = x + (o * axis + a) * inner + c;
        for (int64_t i = 0; i < n; ++i) {
          if (kMax ? row[i] > best[i] : row[i] < best[i]) {
            best[i] = row[i];
            to[i] = static_cast<Index>(a);
          }
        }
      }
    }
  });
}

}  // namespace

void ArgReduce(ArgReduceOp op, const float* x, int64_t outer, int64_t axis, int64_t inner, DType index_type, void* y,
               Gang& gang) {
  auto run = [&]<typename Index>(Index* to) {
    if (op == ArgReduceOp::k_max) {
      Run<ArgReduceOp::k_max>(x, outer, axis, inner, to, gang);
    } else {
      Run<ArgReduceOp::k_min>(x, outer, axis, inner, to, gang);
    }
  };
  if (index_type == DType::kInt64) return run(static_cast<int64_t*>(y));
  TFE_CHECK(index_type == DType::kInt32);
  run(static_cast<int32_t*>(y));
}

void TopK(const float* x, int64_t rows, int64_t cols, int64_t k, float* values, int32_t* indices, Gang& gang) {
  TFE_CHECK(k <= cols);
  if (k == 0) return;
  ParallelRows(gang, rows, 4 * cols, kPart, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = x + r * cols;
      int32_t* top = indices + r * k;
      auto better = [row](int32_t a, int32_t b) {
        if (row[a] > row[b]) return true;
        if (row[a] < row[b]) return false;
        const bool a_number = row[a] == row[a], b_number = row[b] == row[b];
        return a_number != b_number ? a_number : a < b;
      };
      // A heap of the k best so far, the worst of them on top.
      std::iota(top, top + k, 0);
      std::make_heap(top, top + k, better);
      for (int64_t i = k; i < cols; ++i) {
        if (!better(static_cast<int32_t>(i), top[0])) continue;
        std::pop_heap(top, top + k, better);
        top[k - 1] = static_cast<int32_t>(i);
        std::push_heap(top, top + k, better);
      }
      std::sort_heap(top, top + k, better);
      for (int64_t i = 0; i < k; ++i) values[r * k + i] = row[top[i]];
    }
  });
}

}  // namespace tfengine::cpu
