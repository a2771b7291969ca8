// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "backends/cpu/kernels/layer_norm.h"
#include "backends/cpu/kernels/reduce.h"

// Internal to softmax, layer norm, reduce and pool: loops over one dense row, compiled once per instruction set.
namespace tfengine::cpu {

// How reductions combine; mean is a sum here. kMaxNumber ignores NaN (max pooling), kMax and kMin pass it on.
enum class Fold { kSum, kMax, kMin, kProd, kMaxNumber };
inline constexpr int kFolds = 5;

// One block of a row of attention scores. On return scores[i] = exp(v[i] - max) with v = masked scores * scale, `max` and
// `sum` are those of this and all earlier blocks (start with -inf and 0).
struct SoftmaxStep {
  float* scores;
  int64_t n;  // >= 1
  float scale;
  const float* add;   // null, or added to the scaled scores
  const float* keep;  // null, or the scaled score becomes `masked` where this is 0
  float masked;
  float max, sum;
  float correction;  // out: what earlier sums and products have to be multiplied with
};

inline constexpr int64_t kMostFoldedRows = 256;

struct BilinearRows {
  const void *top_left, *top_right, *bottom_left, *bottom_right;
  float across, down;
};

// Distances in elements.
struct PoolWindows {
  const void* x;              // the first window's first point
  int64_t line, point, next;  // to the next line and point of a window, to the next window
  int64_t height, width, channels;
  void* y;                    // [count][channels], stored like x
  int64_t y_next;
};

struct RowKernels {
  void (*softmax)(const float* x, float* y, int64_t n);
  void (*log_softmax)(const float* x, float* y, int64_t n);
  void (*softmax_step)(SoftmaxStep& step);
  // y = x * scale
  void (*scale)(const float* x, float scale, float* y, int64_t n);
  // y = mask ? yes : no
  void (*mask)(const bool* mask, float yes, float no, float* y, int64_t n);
  // One row of LayerNormArgs (x, residual, y, sum point to the row).
  void (*layer_norm)(const LayerNormArgs& row);
  // y = (x - mean) * scale + offset
  void (*batch_norm)(const float* x, const float* mean, const float* scale, const float* offset, float* y, int64_t n);
  // Between four rows: `across` is the weight of the right ones, `down` of the lower ones. [storage of the rows][of y]
  void (*bilinear[kStorages][kStorages])(const BilinearRows& rows, const Format& from, void* y, const Format& to, int64_t n);
  // Folds of stored values, by Fold and Storage. Codes count as code - zero, not scaled, and are summed exactly up to a
  // sum of 2^24; their product is null.
  // The fold of x[0..n), n >= 1.
  float (*reduce[kFolds][kStorages])(const void* x, const Format& from, int64_t n);
  // y[i] = fold over rows r of rows[r][i]; 1 <= count <= kMostFoldedRows. y is not one of the rows.
  void (*fold_rows[kFolds][kStorages])(const void* const* rows, int64_t count, const Format& from, float* y, int64_t n);
  // The same for the maximum of codes, which order like their values; any count.
  void (*max_codes)(const void* const* rows, int64_t count, uint8_t* y, int64_t n);
  // Maxima of `count` windows of one output row that lie inside the image; values as kMaxNumber takes them.
  void (*max_windows[kStorages])(const PoolWindows& windows, int64_t count);
  // y[i] = fold(y[i], x[i])
  void (*combine[kFolds])(const float* x, float* y, int64_t n);
};

extern const RowKernels kRowPortable;
extern const RowKernels kRowAvx2;
extern const RowKernels kRowAvx512;
const RowKernels& RowKernelsFor(CpuIsa isa);

}  // namespace tfengine::cpu
