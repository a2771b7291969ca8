// SPDX-License-Identifier: Apache-2.0
// Observing tensors of several sizes: least time of many runs.
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

#include "quant/range.h"

int main() {
  using namespace tfengine::quant;
  using Clock = std::chrono::steady_clock;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int64_t n : {10'000, 60'000, 200'000, 800'000, 10'000'000}) {
    std::vector<float> data(static_cast<size_t>(n));
    for (float& x : data) x = std::max(0.0f, normal(random));
    double best = 1e9;
    Histogram h;
    for (int i = 0; i < 20; ++i) {
      const auto start = Clock::now();
      h.Add(data.data(), n);
      best = std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
    std::printf("observe %9ld elements: %.3f ms, %.2f ns each\n", static_cast<long>(n), best, best * 1e6 / static_cast<double>(n));
    for (Method method : {Method::kEntropy, Method::kPercentile, Method::kMse}) {
      const auto start = Clock::now();
      const Range range = ChooseRange(h, {.method = method});
      std::printf("  %s [%g, %g]: %.2f ms\n", MethodName(method), range.lo, range.hi,
                  std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
  }
}
