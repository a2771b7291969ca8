// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/format_simd.h"

// Depthwise convolution: vectors run over channels, a step computes a few neighbouring output columns of one row, so
// that an input vector, once loaded, serves all outputs it belongs to. Inputs are found through a table of column pointers;
// padding columns point to zeros, padding rows are left out.
namespace tfengine::cpu::TFE_SIMD {

struct DepthwiseStep {
  const void* columns[kMaxDepthwiseTaps * kMaxDepthwiseColumns];  // [filter row][column] or [tap][output]
  int32_t zero;                                                    // of codes
  const float* w;                                                  // of the first filter row or tap used
  int64_t count;                                                   // filter rows or taps
  int64_t w_tap;                                                   // floats between taps
  int64_t begin, end;                                              // channels
  int64_t y_pixel, residual_pixel;                                 // distance of columns
  int64_t multiplier;
  const float* bias;
  const float* residual;
  float* y;
  float low, high;
  float* sums;  // null, or where sums go: [column][sums_row], from channel `begin` on
  int64_t sums_row;
};

// Sums, in units (format_simd.h), are left to the caller; of f32 inputs only if it asks for them.
template <Storage kX, int kColumns, bool kTail>
TFE_INLINE void FinishDepthwise(const DepthwiseStep& s, VF (&sum)[kColumns], int64_t c, VTail tail) {
  if (kX != Storage::kF32 || s.sums != nullptr) {
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) Store(s.sums + j * s.sums_row + c - s.begin, sum[j]);
    return;
  }
  if (s.bias != nullptr) {
    const VF bias = kTail ? Load(s.bias + c, tail) : Load(s.bias + c);
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) sum[j] = Add(sum[j], bias);
  }
  const VF low = Set(s.low), high = Set(s.high);
#pragma GCC unroll 8
  for (int j = 0; j < kColumns; ++j) {
    if (s.residual != nullptr) {
      const float* from = s.residual + j * s.residual_pixel + c;
      sum[j] = Add(sum[j], kTail ? Load(from, tail) : Load(from));
    }
    sum[j] = Min(high, Max(low, sum[j]));
    float* to = s.y + j * s.y_pixel + c;
    if constexpr (kTail) {
      Store(to, sum[j], tail);
    } else {
      Store(to, sum[j]);
    }
  }
}

// One vector of channels; columns[row][j] is input column j of the step, used by outputs (j - kx) / kStride.
template <Storage kX, int kWidth, int kStride, int kColumns, bool kTail>
TFE_INLINE void DepthwiseVector(const DepthwiseStep& s, int64_t c, VTail tail) {
  using In = const typename Stored<kX>::Element*;
  const Stored<kX> in(Format{kX, 1, s.zero, 0, 255});
  constexpr int kInputs = (kColumns - 1) * kStride + kWidth;
  VF sum[kColumns];
#pragma GCC unroll 8
  for (int j = 0; j < kColumns; ++j) sum[j] = Zero();
  const void* const* column = s.columns;
  const float* w = s.w + c;
  for (int64_t row = 0; row < s.count; ++row, column += kInputs, w += kWidth * s.w_tap) {
    VF tap[kWidth];
#pragma GCC unroll 8
    for (int kx = 0; kx < kWidth; ++kx) tap[kx] = Load(w + kx * s.w_tap);
#pragma GCC unroll 32
    for (int j = 0; j < kInputs; ++j) {
      const In from = static_cast<In>(column[j]) + c;
      const VF x = kTail ? in.Units(from, tail) : in.Units(from);
#pragma GCC unroll 8
      for (int kx = 0; kx < kWidth; ++kx) {
        if (j >= kx && (j - kx) % kStride == 0 && (j - kx) / kStride < kColumns) {
          sum[(j - kx) / kStride] = Fma(x, tap[kx], sum[(j - kx) / kStride]);
        }
      }
    }
  }
  FinishDepthwise<kX, kColumns, kTail>(s, sum, c, tail);
}

template <Storage kX, int kWidth, int kStride, int kColumns>
__attribute__((noinline)) void DepthwiseFixed(const DepthwiseStep& s) {
  int64_t c = s.begin;
  for (; c + kLanes <= s.end; c += kLanes) DepthwiseVector<kX, kWidth, kStride, kColumns, false>(s, c, Tail(kLanes));
  if (c < s.end) DepthwiseVector<kX, kWidth, kStride, kColumns, true>(s, c, Tail(s.end - c));
}

// Any filter: columns[tap][j] is the input of output j. With a multiplier, output channels c, c + 1, ... read input
// channels c / multiplier, (c + 1) / multiplier, ...: a shorter load, spread over the lanes.
template <Storage kX, int kColumns>
__attribute__((noinline)) void DepthwiseGeneral(const DepthwiseStep& s) {
  using In = const typename Stored<kX>::Element*;
  const Stored<kX> in(Format{kX, 1, s.zero, 0, 255});
  for (int64_t c = s.begin; c < s.end; c += kLanes) {
    const VTail tail = Tail(s.end - c);
    int64_t from = c;
    VTail from_tail = tail;
    int32_t lanes[kLanes];
    if (s.multiplier > 1) {
      from = c / s.multiplier;
      int64_t left = s.multiplier - (c - from * s.multiplier);
      int32_t lane = 0;
      const int64_t used = s.end - c < kLanes ? s.end - c : kLanes;
      for (int i = 0; i < kLanes; ++i) {
        lanes[i] = lane;
        if (--left == 0 && i + 1 < used) {
          ++lane;
          left = s.multiplier;
        }
      }
      from_tail = Tail(lane + 1);
    }
    VF sum[kColumns];
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) sum[j] = Zero();
    const void* const* column = s.columns;
    const float* w = s.w + c;
    for (int64_t tap = 0; tap < s.count; ++tap, column += kColumns, w += s.w_tap) {
      const VF weight = Load(w);
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; ++j) {
        VF x = in.Units(static_cast<In>(column[j]) + from, from_tail);
        if (s.multiplier > 1) x = Permute(x, LoadInt(lanes));
        sum[j] = Fma(x, weight, sum[j]);
      }
    }
    FinishDepthwise<kX, kColumns, true>(s, sum, c, tail);
  }
}

using DepthwiseFunction = void (*)(const DepthwiseStep&);

template <Storage kX, int kWidth, int kStride>
struct DepthwiseTable {
  DepthwiseFunction entries[kMaxDepthwiseColumns + 1];
  constexpr DepthwiseTable() : entries() { Fill<kMaxDepthwiseColumns>(); }
  template <int n>
  constexpr void Fill() {
    if constexpr (n > 0) {
      if constexpr (kWidth == 0) {
        entries[n] = &DepthwiseGeneral<kX, n>;
      } else {
        entries[n] = &DepthwiseFixed<kX, kWidth, kStride, n>;
      }
      Fill<n - 1>();
    }
  }
};

template <Storage kX, int kWidth, int kStride>
inline constexpr DepthwiseTable<kX, kWidth, kStride> kDepthwiseTable;

inline constexpr int64_t kDepthwiseStripBytes = 24 << 10;

// The steps of one task. `s`: bias, bounds, zero and sums are set by the caller. at(first, columns) is called before a step for
// output pixel `first` (its first column), done(first, columns) after it. `zeros`: in_c elements of padding.
template <Storage kX, typename At, typename Done>
TFE_INLINE void DepthwiseSteps(const DepthwisePlan& p, const void* x, const void* packed, int64_t task, const void* zeros,
                               DepthwiseStep& s, const At& at, const Done& done) {
  using In = const typename Stored<kX>::Element*;
  const ConvGeometry& g = p.g;
  const int64_t row_part = task / p.channel_parts, channel_part = task % p.channel_parts;
  const int64_t row_end = p.rows * (row_part + 1) / p.row_parts;

  const DepthwiseFunction* functions = kDepthwiseTable<kX, 0, 0>.entries;
  bool fixed = p.multiplier == 1 && g.dil_w == 1;
  if (fixed && g.k_w == 3 && g.stride_w == 1) {
    functions = kDepthwiseTable<kX, 3, 1>.entries;
  } else if (fixed && g.k_w == 3 && g.stride_w == 2) {
    functions = kDepthwiseTable<kX, 3, 2>.entries;
  } else if (fixed && g.k_w == 5 && g.stride_w == 1) {
    functions = kDepthwiseTable<kX, 5, 1>.entries;
  } else if (fixed && g.k_w == 5 && g.stride_w == 2) {
    functions = kDepthwiseTable<kX, 5, 2>.entries;
  } else {
    fixed = false;
  }

  s.w_tap = p.vectors * kLanes;
  s.y_pixel = g.y_pixel;
  s.residual_pixel = g.residual_pixel;
  s.multiplier = p.multiplier;

  // Down a strip of columns, for as many channels as let the first-level cache keep the input rows that outputs share.
  const int64_t row_begin = p.rows * row_part / p.row_parts;
  const int64_t vector_begin = p.vectors * channel_part / p.channel_parts, vector_end = p.vectors * (channel_part + 1) / p.channel_parts;
  const int64_t strip = ((p.columns - 1) * g.stride_w + (g.k_w - 1) * g.dil_w + 1) * g.k_h * kLanes * static_cast<int64_t>(sizeof(typename Stored<kX>::Element));
  const int64_t most = strip < kDepthwiseStripBytes ? kDepthwiseStripBytes / strip : 1;
  const int64_t blocks = (vector_end - vector_begin + most - 1) / most;
  for (int64_t block = 0; block < blocks; ++block) {
    s.begin = (vector_begin + (vector_end - vector_begin) * block / blocks) * kLanes;
    s.end = (vector_begin + (vector_end - vector_begin) * (block + 1) / blocks) * kLanes;
    if (s.end > g.out_c) s.end = g.out_c;
    for (int64_t ox = 0; ox < g.out_w; ox += p.columns) {
      const int64_t columns = g.out_w - ox < p.columns ? g.out_w - ox : p.columns;
      const int64_t x0 = ox * g.stride_w - g.pad_left, inputs = (columns - 1) * g.stride_w + g.k_w;
      const bool inside = fixed && x0 >= 0 && x0 + inputs <= g.in_w;
      for (int64_t row = row_begin; row < row_end; ++row) {
        const int64_t n = row / g.out_h, oy = row - n * g.out_h;
        const In image = static_cast<In>(x) + n * g.in_h * g.in_w * g.x_pixel;
        const int64_t y0 = oy * g.stride_h - g.pad_top;
        int64_t ky_begin = 0, ky_end = g.k_h;
        while (ky_begin < ky_end && y0 + ky_begin * g.dil_h < 0) ++ky_begin;
        while (ky_begin < ky_end && y0 + (ky_end - 1) * g.dil_h >= g.in_h) --ky_end;
        s.w = static_cast<const float*>(packed) + ky_begin * g.k_w * s.w_tap;
        const void** column = s.columns;
        for (int64_t ky = ky_begin; ky < ky_end; ++ky) {
          const In line = image + (y0 + ky * g.dil_h) * g.in_w * g.x_pixel;
          if (inside) {
            for (int64_t j = 0; j < inputs; ++j) column[j] = line + (x0 + j) * g.x_pixel;
            column += inputs;
          } else if (fixed) {
            for (int64_t j = 0; j < inputs; ++j) {
              const int64_t ix = x0 + j;
              *column++ = ix < 0 || ix >= g.in_w ? zeros : line + ix * g.x_pixel;
            }
          } else {
            for (int64_t kx = 0; kx < g.k_w; ++kx) {
              for (int64_t j = 0; j < columns; ++j) {
                const int64_t ix = x0 + j * g.stride_w + kx * g.dil_w;
                *column++ = ix < 0 || ix >= g.in_w ? zeros : line + ix * g.x_pixel;
              }
            }
          }
        }
        s.count = fixed ? ky_end - ky_begin : (ky_end - ky_begin) * g.k_w;
        const int64_t first = row * g.out_w + ox;
        at(first, columns);
        functions[columns](s);
        done(first, columns);
      }
    }
  }
}

inline void DepthwiseF32Task(const DepthwisePlan& p, const ConvArgs& args, int64_t task, float* zeros) {
  __builtin_memset(zeros, 0, p.g.in_c * sizeof(float));
  DepthwiseStep s;
  s.zero = 0;
  s.sums = nullptr;
  s.bias = args.bias;
  const bool clip = IsClip(args.activation, &s.low, &s.high);
  auto at = [&](int64_t first, int64_t) {
    s.y = args.y + first * p.g.y_pixel;
    s.residual = args.residual ? args.residual + first * p.g.residual_pixel : nullptr;
  };
  auto done = [&](int64_t, int64_t columns) {
    for (int64_t j = 0; j < columns && !clip; ++j) {
      float* y = s.y + j * s.y_pixel + s.begin;
      ActivateRange(args.activation, y, y, s.end - s.begin);
    }
  };
  DepthwiseSteps<Storage::kF32>(p, args.x, args.packed, task, zeros, s, at, done);
}

}  // namespace tfengine::cpu::TFE_SIMD
