// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by matmul_{portable,avx2,avx512}.cc: MatmulKernels in terms of simd.h.
#include "backends/cpu/kernels/activation_simd.h"
#include "backends/cpu/kernels/matmul_kernels.h"
#include "backends/cpu/kernels/transpose_simd.h"

namespace tfengine::cpu::TFE_SIMD {

// std::integer_sequence, without std (see simd.h).
template <int... kValues>
struct IntList {};

// kRows x (kVectors * kLanes) accumulators stay in registers while k runs. Small tiles keep several sums per element
// (chains over k), because a fused multiply-add takes four cycles and two start per cycle.
template <int kRows, int kVectors>
void RunMatmulTile(const MatmulTile& t) {
  constexpr int kChains = kRows * kVectors >= 8 ? 1 : kRows * kVectors >= 4 ? 2 : 4;
  constexpr int kStep = 4;
  // x86 addresses reach base + {0, 1, 2} * stride, so one pointer serves three rows.
  constexpr int kGroups = (kRows + 2) / 3;
  VF sum[kChains][kRows][kVectors];
#pragma GCC unroll 4
  for (int h = 0; h < kChains; ++h)
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[h][r][v] = Zero();

  const int64_t a_row = t.a_row, b_row = t.b_row;
  const float* a[kGroups];
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * a_row;
  const float* b = t.b;
  const char* prefetch = t.prefetch;
  const int64_t prefetch_step = prefetch ? 64 : 0;
  if (!prefetch) prefetch = reinterpret_cast<const char*>(t.b);

  // Rows of C are fetched for writing a little before the end: one row per step, the last 16 steps ahead.
  const int64_t c_begin = t.k - kStep * (16 + kRows);
  int64_t p = 0;
  for (; p + kStep <= t.k; p += kStep) {
    __builtin_prefetch(prefetch, 0, 2);
    prefetch += prefetch_step;
    if (const uint64_t ahead = static_cast<uint64_t>(p - c_begin); ahead < kRows * kStep) {
      const float* c = t.c + ahead / kStep * t.c_row;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(c + v * kLanes, 1, 3);
    }
#pragma GCC unroll 4
    for (int s = 0; s < kStep; ++s) {
      VF bv[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) bv[v] = Load(b + v * kLanes);
      b += b_row;
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const VF av = Set(a[r / 3][r % 3 * a_row + s]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[s % kChains][r][v] = Fma(av, bv[v], sum[s % kChains][r][v]);
      }
    }
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) a[g] += kStep;
  }
  for (; p < t.k; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const VF av = Set(a[r / 3][r % 3 * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[0][r][v] = Fma(av, Load(b + v * kLanes), sum[0][r][v]);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) ++a[g];
    b += b_row;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* c = t.c + r * t.c_row;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      VF total = sum[0][r][v];
#pragma GCC unroll 4
      for (int h = 1; h < kChains; ++h) total = Add(total, sum[h][r][v]);
      if (t.accumulate) total = Add(total, Load(c + v * kLanes));
      Store(c + v * kLanes, total);
    }
  }
}

inline void MatmulEpilogue(float* c, int64_t c_row, int64_t rows, int64_t cols, const float* bias, const float* residual,
                           int64_t residual_row, const Activation& activation) {
  for (int64_t r = 0; r < rows; ++r) {
    float* y = c + r * c_row;
    const float* add = residual ? residual + r * residual_row : nullptr;
    for (int64_t j = 0; j < cols; j += kLanes) {
      const VTail tail = Tail(cols - j);
      VF v = Load(y + j, tail);
      if (bias) v = Add(v, Load(bias + j, tail));
      if (add) v = Add(v, Load(add + j, tail));
      Store(y + j, v, tail);
    }
    if (activation.kind != ActivationKind::kNone) ActivateRange(activation, y, y, cols);
  }
}

template <int kVectors, int... kRows>
constexpr MatmulKernels MakeMatmulKernels(IntList<kRows...>) {
  return {sizeof...(kRows), kVectors * kLanes, {nullptr, RunMatmulTile<kRows + 1, kVectors>...}, MatmulEpilogue,
          TransposeMatrix};
}

}  // namespace tfengine::cpu::TFE_SIMD
