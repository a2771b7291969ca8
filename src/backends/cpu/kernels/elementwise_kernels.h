// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/binary.h"
#include "backends/cpu/kernels/unary.h"

// Internal to the elementwise families: what is compiled once per instruction set. All loops allow y to be an operand.
namespace tfengine::cpu {

using UnaryLoop = void (*)(const float* x, float* y, int64_t n, float alpha, float beta);
using UnaryTestLoop = void (*)(const float* x, bool* y, int64_t n);
// Strides are 0 or 1.
using BinaryLoop = void (*)(const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* y, int64_t n);
using CompareLoop = void (*)(const float* a, int64_t a_stride, const float* b, int64_t b_stride, bool* y, int64_t n);

inline constexpr int kUnaryOps = 0
#define TFE_UNARY(name, form) +1
#include "backends/cpu/kernels/unary_list.inc"
#undef TFE_UNARY
    ;
inline constexpr int kBinaryOps = 0
#define TFE_BINARY(name) +1
#include "backends/cpu/kernels/binary_list.inc"
#undef TFE_BINARY
    ;

struct ElementwiseKernels {
  UnaryLoop unary[kUnaryOps];  // null for libm ops
  UnaryTestLoop unary_test[3];
  BinaryLoop binary[kBinaryOps];
  CompareLoop compare[6];
  void (*activate)(const Activation& activation, const float* x, float* y, int64_t n);
};

extern const ElementwiseKernels kElementwisePortable;
extern const ElementwiseKernels kElementwiseAvx2;
extern const ElementwiseKernels kElementwiseAvx512;
const ElementwiseKernels& ElementwiseKernelsFor(CpuIsa isa);

// The libm forms, per element; compiled without instruction-set flags.
float LibmPow(float a, float b);
float LibmFloorMod(float a, float b);
float LibmTruncateMod(float a, float b);
float LibmAtan2(float a, float b);

}  // namespace tfengine::cpu
