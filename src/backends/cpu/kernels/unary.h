// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "base/gang.h"

namespace tfengine::cpu {

// f32 -> f32, by the names of network/kinds.inc (which documents them); one row of unary_list.inc each. ULP bounds are
// stated there.
enum class UnaryOp {
#define TFE_UNARY(name, form) k_##name,
#include "backends/cpu/kernels/unary_list.inc"
#undef TFE_UNARY
};

// alpha, beta: parameters of leaky_relu (slope), elu (scale), clip (low, high). y may be x.
void Unary(UnaryOp op, const float* x, float* y, int64_t n, float alpha, float beta, Gang& gang,
           CpuIsa isa = HostCpu().isa);

// The same between any formats. y may be x if both are stored alike.
void Unary(UnaryOp op, const void* x, const Format& from, void* y, const Format& to, int64_t n, float alpha, float beta,
           Gang& gang, CpuIsa isa = HostCpu().isa);

enum class UnaryTest { k_is_nan, k_is_inf, k_is_finite };
void Unary(UnaryTest op, const float* x, bool* y, int64_t n, Gang& gang,
           CpuIsa isa = HostCpu().isa);

void LogicalNot(const bool* x, bool* y, int64_t n, Gang& gang);

}  // namespace tfengine::cpu
