// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "base/gang.h"

namespace tfengine::cpu {

enum class CodeRounding { kEven, kUp, kOffset };
inline constexpr int kCodeRoundings = 3;

// The network op fake_quant: to codes and back, in exactly the operations that it lists. x and y are
// [outer, channels, inner] and may be the same; the parameters are [channels].
struct FakeQuantArgs {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t outer = 1, channels = 1, inner = 1;
  const float* step = nullptr;
  const float* lo = nullptr;
  const float* hi = nullptr;
  const float* inverse = nullptr;  // null: divide by step
  CodeRounding rounding = CodeRounding::kEven;
};
void FakeQuant(const FakeQuantArgs& args, Gang& gang, CpuIsa isa = HostCpu().isa);

}  // namespace tfengine::cpu
