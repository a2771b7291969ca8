// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/pool.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/row_kernels.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 8192;     // elements read that are worth a task of their own
constexpr int64_t kPoints = 256;    // of a window folded at a time
constexpr int64_t kColumns = 1024;  // channels at a time where a window is folded in several steps

}  // namespace

void Pool(PoolOp op, const PoolShape& s, const float* x, float* y, Gang& gang, CpuIsa isa) {
  const RowKernels& kernels = RowKernelsFor(isa);
  const int fold = static_cast<int>(op == PoolOp::k_max ? Fold::kMaxNumber : Fold::kSum);
  const float empty = op == PoolOp::k_max ? std::numeric_limits<float>::lowest() : 0.0f;
  const int64_t row_elements = s.out_w * s.channels * s.window_h * s.window_w;
  ParallelRows(gang, s.batch * s.out_h, row_elements, kPart, [&](int64_t begin, int64_t end) {
    const float* points[kPoints];
    float more[kColumns];
    for (int64_t row = begin; row < end; ++row) {
      const int64_t oy = row % s.out_h;
      const float* image = x + row / s.out_h * s.in_h * s.in_w * s.channels;
      const int64_t top = oy * s.stride_h - s.pad_top;
      const int64_t y0 = std::max<int64_t>(0, top), y1 = std::min(s.in_h, top + s.window_h);
      for (int64_t ox = 0; ox < s.out_w; ++ox) {
        const int64_t left = ox * s.stride_w - s.pad_left;
        const int64_t x0 = std::max<int64_t>(0, left), x1 = std::min(s.in_w, left + s.window_w);
        float* out = y + (row * s.out_w + ox) * s.channels;
        const int64_t count = y1 > y0 && x1 > x0 ? (y1 - y0) * (x1 - x0) : 0;
        int64_t n = 0, done = 0;
        auto flush = [&] {
          if (done == 0) {
            kernels.fold_rows[fold](points, n, out, s.channels);
          } else {
            for (int64_t c = 0; c < s.channels; c += kColumns) {
              const int64_t columns = std::min(kColumns, s.channels - c);
              kernels.fold_rows[fold](points, n, more, columns);
              kernels.combine[fold](more, out + c, columns);
              for (int64_t i = 0; i < n; ++i) points[i] += columns;
            }
          }
          done += n;
          n = 0;
        };
        if (count == 0) std::fill(out, out + s.channels, empty);
        for (int64_t iy = y0; iy < y1 && count > 0; ++iy) {
          for (int64_t ix = x0; ix < x1; ++ix) {
            points[n++] = image + (iy * s.in_w + ix) * s.channels;
            if (n == kPoints) flush();
          }
        }
        if (n > 0) flush();
        if (op == PoolOp::k_avg) {
          const float divisor = static_cast<float>(count);
          for (int64_t c = 0; c < s.channels; ++c) out[c] /= divisor;
        }
      }
    }
  });
}

}  // namespace tfengine::cpu
