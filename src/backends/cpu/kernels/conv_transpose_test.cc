// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_transpose.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

namespace tfengine::cpu {
namespace {

struct Free {
  void operator()(void* p) const { std::free(p); }
};

std::unique_ptr<void, Free> Allocate(int64_t bytes) {
  return std::unique_ptr<void, Free>(std::aligned_alloc(64, (bytes + 64) / 64 * 64));
}

TEST(ConvTranspose, MatchesTheScatterLoopOnRandomShapes) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  auto pick = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng); };
  ThreadPool pool(2);
  for (int round = 0; round < 150 && !testing::Test::HasFailure(); ++round) {
    ConvTransposeShape s;
    s.batch = pick(1, 3);
    s.in_h = pick(1, 8);
    s.in_w = pick(1, 8);
    s.in_c = pick(1, 40);
    s.out_c = pick(1, 40);
    s.k_h = pick(1, 5);
    s.k_w = pick(1, 5);
    s.stride_h = pick(1, 4);
    s.stride_w = pick(1, 3);
    s.dil_h = pick(1, 3);
    s.dil_w = pick(1, 2);
    s.pad_top = pick(0, 3);
    s.pad_left = pick(0, 3);
    s.out_h = std::max<int64_t>(1, (s.in_h - 1) * s.stride_h + (s.k_h - 1) * s.dil_h + 1 - s.pad_top - pick(-2, 2));
    s.out_w = std::max<int64_t>(1, (s.in_w - 1) * s.stride_w + (s.k_w - 1) * s.dil_w + 1 - s.pad_left - pick(-2, 2));
    auto random = [&](int64_t n) {
      std::vector<float> v(n);
      for (float& f : v) f = uniform(rng);
      return v;
    };
    const std::vector<float> x = random(s.batch * s.in_h * s.in_w * s.in_c), w = random(s.k_h * s.k_w * s.in_c * s.out_c);
    const std::vector<float> bias = random(s.out_c), residual = random(s.batch * s.out_h * s.out_w * s.out_c);
    std::vector<double> want(residual.size());
    for (size_t i = 0; i < want.size(); ++i) want[i] = bias[i % s.out_c] + static_cast<double>(residual[i]);
    for (int64_t n = 0; n < s.batch; ++n)
      for (int64_t oy = 0; oy < s.in_h; ++oy)
        for (int64_t ox = 0; ox < s.in_w; ++ox)
          for (int64_t ky = 0; ky < s.k_h; ++ky)
            for (int64_t kx = 0; kx < s.k_w; ++kx) {
              const int64_t iy = oy * s.stride_h + ky * s.dil_h - s.pad_top, ix = ox * s.stride_w + kx * s.dil_w - s.pad_left;
              if (iy < 0 || iy >= s.out_h || ix < 0 || ix >= s.out_w) continue;
              for (int64_t o = 0; o < s.out_c; ++o)
                for (int64_t i = 0; i < s.in_c; ++i)
                  want[((n * s.out_h + iy) * s.out_w + ix) * s.out_c + o] +=
                      static_cast<double>(x[((n * s.in_h + oy) * s.in_w + ox) * s.in_c + i]) * w[((ky * s.k_w + kx) * s.out_c + o) * s.in_c + i];
            }
    for (CpuIsa isa : {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
      if (!HostCpu().Has(isa)) continue;
      const int threads = static_cast<int>(pick(1, 3));
      Gang gang(threads, [&](auto helper) { pool.Schedule(std::move(helper)); });
      auto packed = Allocate(ConvTransposePackedBytes(s, isa)), scratch = Allocate(ConvTransposeScratchBytes(s, isa, threads));
      ConvTransposePack(s, isa, w.data(), packed.get());
      std::vector<float> y(want.size(), NAN);
      ConvTransposeArgs args;
      args.x = x.data();
      args.packed = packed.get();
      args.bias = bias.data();
      args.residual = residual.data();
      args.activation.kind = ActivationKind::kRelu;
      args.y = y.data();
      args.scratch = scratch.get();
      ConvTransposeRun(s, isa, args, gang);
      const double terms = static_cast<double>(s.k_h * s.k_w * s.in_c);
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], std::max(0.0, want[i]), 4 * 6e-8 * std::sqrt(terms) * (terms + 2) * 0.5 + 1e-6) << CpuIsaName(isa) << " at " << i;
      }
    }
  }
}

}  // namespace
}  // namespace tfengine::cpu
