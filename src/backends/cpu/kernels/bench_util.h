// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

#include "base/function_ref.h"

// For the benchmark programs of the kernels.
namespace tfengine::cpu {

// Shortest of several runs, in seconds: other work on the machine only ever adds.
inline double BestSeconds(int repeats, FunctionRef<void()> work) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// fp32 multiply-adds of one core per second as measured on a Zen 5 with two 512-bit pipes; the percentages printed by the
// benchmarks refer to it.
inline constexpr double kPeakGflopsPerCore = 251;

}  // namespace tfengine::cpu
