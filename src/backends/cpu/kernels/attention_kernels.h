// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/matmul_kernels.h"

// Internal to attention: products of bf16 pairs. Pairs of neighbours along the reduction are handled as 32-bit words, for
// which MatmulTile's floats stand; k counts words.
namespace tfengine::cpu {

struct AttentionBf16Kernels {
  static constexpr int kMaxRows = 14;
  int rows, cols;  // of the largest tile
  void (*tile[kMaxRows + 1])(const MatmulTile&);  // [1..rows]
  // to[i * to_row + c] = (from[2 i][c], from[2 i + 1][c]) for c < cols; zeros in place of rows that do not exist, and up to
  // to_row (at most 32).
  void (*pack_pairs)(const uint16_t* from, int64_t from_row, int64_t rows, int64_t cols, float* to, int64_t to_row);
  // Rounds n floats to bf16 in place, one more 0 after them if n is odd.
  void (*round)(float* values, int64_t n);
};

extern const AttentionBf16Kernels kAttentionAvx512bf16;

}  // namespace tfengine::cpu
