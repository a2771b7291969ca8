// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"

// Internal to the kernels that take operands of any storage: loops compiled once per instruction set, indexed by Storage.
// Unless stated otherwise y may be an operand of the same storage.
namespace tfengine::cpu {

// y = clip(x, low, high); NaN passes the clip.
using ConvertLoop = void (*)(const void* x, const Format& from, void* y, const Format& to, float low, float high, int64_t n);

// An operand of a binary loop; stride is 0 or 1.
struct TypedOperand {
  const void* data;
  Format format;
  int64_t stride;
};
// y = clip(op(a, b), low, high)
using TypedBinaryLoop = void (*)(const TypedOperand& a, const TypedOperand& b, void* y, const Format& to, float low,
                                 float high, int64_t n);
enum class HotBinary { kAdd, kMul };
inline constexpr int kHotBinaries = 2;

// Codes times a real per channel, in code units: y[r][c] = clamp(round(x[r][c] * factor[c] + offset[c]), lo, hi), rows of n.
// Products must stay below 2^30.
struct CodeRows {
  const uint8_t* x;
  const float *factor, *offset;
  uint8_t* y;
  int64_t rows, n;
  int64_t x_row, y_row;  // from one row to the next
  int32_t lo, hi;
};
using ScaleCodesLoop = void (*)(const CodeRows& rows);

struct TypedKernels {
  ConvertLoop convert[kStorages][kStorages];  // [from][to]
  TypedBinaryLoop binary[kHotBinaries][kStorages][kStorages][kStorages];  // [op][a][b][y]
  ScaleCodesLoop scale_codes;
};

extern const TypedKernels kTypedPortable;
extern const TypedKernels kTypedAvx2;
extern const TypedKernels kTypedAvx512;
extern const TypedKernels kTypedAvx512bf16;  // rounds to bf16 in one instruction
const TypedKernels& TypedKernelsFor(CpuIsa isa);

}  // namespace tfengine::cpu
