// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/format.h"
#include "backends/cpu/kernels/loops.h"
#include "base/gang.h"

namespace tfengine::cpu {

// By the names of network/kinds.inc; one row of binary_list.inc each.
enum class BinaryOp {
#define TFE_BINARY(name) k_##name,
#include "backends/cpu/kernels/binary_list.inc"
#undef TFE_BINARY
};
enum class CompareOp { k_equal, k_not_equal, k_less, k_less_equal, k_greater, k_greater_equal };
enum class LogicalOp { k_logical_and, k_logical_or };

// y = act(op(a, b)) with NumPy broadcasting; `loops` is MakeLoopNest(result, {shape of a, shape of b}), then y is dense and may be
// an operand that has the result's shape, or has y as a third operand, for rows of any distance.
void Binary(BinaryOp op, const LoopNest& loops, const float* a, const float* b, float* y, const Activation& activation,
            Gang& gang, CpuIsa isa = HostCpu().isa);
// The same between any formats; y may be an operand that has the result's shape and is stored alike.
void Binary(BinaryOp op, const LoopNest& loops, const void* a, const Format& a_format, const void* b, const Format& b_format,
            void* y, const Format& y_format, const Activation& activation, Gang& gang, CpuIsa isa = HostCpu().isa);
void Compare(CompareOp op, const LoopNest& loops, const float* a, const float* b, bool* y, Gang& gang,
             CpuIsa isa = HostCpu().isa);
void Logical(LogicalOp op, const LoopNest& loops, const bool* a, const bool* b, bool* y, Gang& gang);

// y = act(sum of inputs), all with n elements; y may be one of them. At least one input.
void AddN(std::span<const float* const> inputs, float* y, int64_t n, const Activation& activation, Gang& gang,
          CpuIsa isa = HostCpu().isa);

}  // namespace tfengine::cpu
