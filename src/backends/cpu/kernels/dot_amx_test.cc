// SPDX-License-Identifier: Apache-2.0
// What is special about the kernels in tile registers; conv_dot_test and matmul_dot_test run them with all others.
#include <atomic>

#include "backends/cpu/kernels/conv_dot.h"
#include "backends/cpu/kernels/dot_kernels.h"
#include "backends/cpu/kernels/dot_test_util.h"
#include "backends/cpu/kernels/matmul_dot.h"

namespace tfengine::cpu {
namespace {

// Whether this thread's tile registers hold anything that the system must save (XINUSE).
bool TilesInUse() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  return (low >> 18) & 1;
}

class DotAmx : public testing::TestWithParam<DotType> {
 protected:
  void SetUp() override {
    kernels_ = FindDotKernels(GetParam(), "amx");
    if (kernels_ == nullptr) GTEST_SKIP() << "no tile registers on this machine";
  }

  // A product and the one that plain code computes, f32 out; equal but for the rounding of bf16 sums.
  void Compare(int64_t m, int64_t n, int64_t k, Random& random, Gang& gang) {
    const DotType type = GetParam();
    const bool int8 = type == DotType::kInt8;
    const Format in = RandomInputFormat(type, random);
    const MatmulShape s = DenseMatmul(m, n, k);
    const TypedBuffer a = RandomValues(random, in, m * k, -1, 1);
    const RandomWeights w(type, k * n, n, in.scale, random);
    Buffer<float> result[2] = {Buffer<float>(m * n, -1.0f), Buffer<float>(m * n, -2.0f)};
    const DotKernels* kernels[2] = {kernels_, FindDotKernels(type, "portable")};
    for (int i = 0; i < 2; ++i) {
      Buffer<char> packed(DotPackedMatmulBBytes(*kernels[i], k, n));
      DotPackMatmulB(*kernels[i], w.values.data(), n, 1, k, n, int8 ? w.steps.data() : nullptr, packed.data());
      // NaN in bf16: padding must not come from here.
      Buffer<char> scratch(static_cast<int64_t>(DotMatmulScratchBytes(*kernels[i], s, true, gang.threads())), char{-1});
      DotMatmulArgs args;
      args.a = a.data();
      args.zero = in.zero;
      args.packed_b = packed.data();
      if (int8) args.stage.scale = w.scale.data();
      args.c = result[i].data();
      DotMatmul(*kernels[i], s, args, scratch.data(), gang);
    }
    for (int64_t i = 0; i < m * n; ++i) {
      ASSERT_NEAR(result[0][i], result[1][i], 1e-6 * static_cast<double>(k + 1)) << "m " << m << " n " << n << " k " << k << " at " << i;
    }
  }

  const DotKernels* kernels_ = nullptr;
  Gangs gangs_;
};

TEST_P(DotAmx, ComputesEveryLengthOfReduction) {
  Random random(3);
  for (int64_t k = 1; k <= 200 && !HasFatalFailure(); ++k) Compare(random.Int(1, 40), random.Int(1, 40), k, random, gangs_[1]);
}

TEST_P(DotAmx, ComputesTinyAndIncompleteTiles) {
  Random random(4);
  for (int64_t m : {1, 2, 15, 16, 17, 31, 32, 33, 48, 65}) {
    for (int64_t n : {1, 15, 16, 17, 32, 33, 49}) {
      for (int64_t k : {4, 64, 68, 132}) {
        Compare(m, n, k, random, gangs_[1]);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(DotAmx, ComputesLongReductions) {
  Random random(6);
  for (int64_t k : {1000, 1024, 2304, 3000}) {
    for (int64_t m : {90, 128, 150}) {
      Compare(m, random.Int(1, 70), k, random, gangs_[2]);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(DotAmx, LeavesNoTileStateInAnyThread) {
  Random random(5);
  for (int threads : {1, 2, 3}) {
    Gang& gang = gangs_[threads];
    for (int64_t k : {64, 36, 768, 20}) {  // another configuration each time
      Compare(150, 96, k, random, gang);
      if (HasFatalFailure()) return;
      std::atomic<int> in_use = 0;
      gang.Run(8 * threads, [&](int64_t, int) { in_use += TilesInUse(); });
      EXPECT_EQ(in_use, 0);
    }
  }
}

TEST_P(DotAmx, ListsFirstForLargeLayers) {
  ConvShape s;
  s.in_h = s.in_w = s.out_h = s.out_w = 28;
  s.in_c = s.out_c = 128;
  for (int64_t k : {1, 3}) {
    s.k_h = s.k_w = k;
    s.pad_top = s.pad_left = k / 2;
    const auto tactics = DotConvTactics(s, GetParam());
    ASSERT_FALSE(tactics.empty());
    EXPECT_STREQ(tactics.front()->name(), GetParam() == DotType::kInt8 ? "direct_int8_amx" : "direct_bf16_amx");
  }
}

INSTANTIATE_TEST_SUITE_P(Types, DotAmx, testing::Values(DotType::kInt8, DotType::kBf16), DotTypeName);

}  // namespace
}  // namespace tfengine::cpu
