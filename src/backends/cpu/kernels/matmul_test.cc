// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/matmul.h"

#include "backends/cpu/kernels/matmul_test_util.h"
#include "backends/cpu/kernels/test_util.h"

namespace tfengine::cpu {
namespace {

struct Case {
  MatmulShape s;
  bool packed = false, bias = false, residual = false;
  Activation activation;
};

void Check(const Case& test, CpuIsa isa, Gang& gang, Random& random) {
  const MatmulShape& s = test.s;
  Buffer<float> a = random.Floats(Extent(s, s.a, s.m, s.k)), 
                b = random.Floats(Extent(test.packed ? DenseMatmul(0, 0, 0) : s, s.b, s.k, s.n));
  Buffer<float> bias = random.Floats(s.n), residual = random.Floats(Extent(s, s.residual, s.m, s.n));
  Buffer<float> c(Extent(s, s.c, s.m, s.n), -77.0f);
  Buffer<float> packed(test.packed ? PackedMatmulBSize(s.k, s.n) : 0);
  if (test.packed) PackMatmulB(b.data(), s.b.row, s.b.col, s.k, s.n, packed.data());
  Buffer<char> scratch(MatmulScratchBytes(s, test.packed, gang.threads(), isa), char{-1});
  MatmulArgs args;
  args.a = a.data();
  (test.packed ? args.packed_b : args.b) = test.packed ? packed.data() : b.data();
  if (test.bias) args.bias = bias.data();
  if (test.residual) args.residual = residual.data();
  args.c = c.data();
  args.activation = test.activation;
  Matmul(s, args, scratch.data(), gang, isa);

  int64_t batches = 1;
  for (int d = 0; d < s.batch_rank; ++d) batches *= s.batch[d];
  std::vector<bool> written(c.size());
  for (int64_t batch = 0; batch < batches; ++batch) {
    int64_t oa = 0, ob = 0, oc = 0, od = 0, index = batch;
    for (int d = s.batch_rank - 1; d >= 0; --d) {
      int64_t i = index % s.batch[d];
      index /= s.batch[d];
      oa += i * s.a.batch[d], ob += i * s.b.batch[d], oc += i * s.c.batch[d], od += i * s.residual.batch[d];
    }
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) {
        double sum = 0, magnitude = 2;
        for (int64_t p = 0; p < s.k; ++p) {
          double product = double{a[oa + i * s.a.row + p * s.a.col]} * b[ob + p * s.b.row + j * s.b.col];
          sum += product, magnitude += std::fabs(product);
        }
        if (test.bias) sum += bias[j];
        if (test.residual) sum += residual[od + i * s.residual.row + j];
        if (test.activation.kind == ActivationKind::kRelu) sum = std::max(sum, 0.0);
        if (test.activation.kind == ActivationKind::kGeluErf) sum = sum * 0.5 * std::erfc(-sum * M_SQRT1_2);
        int64_t at = oc + i * s.c.row + j;
        written[at] = true;
        ASSERT_TRUE(Close(c[at], sum, 1.2 * SumTolerance(s.k, magnitude)))
            << "m " << s.m << " n " << s.n << " k " << s.k << " batch " << batch << " of " << batches << " at " << i << "," << j
            << " packed " << test.packed << " isa " << CpuIsaName(isa) << " threads " << gang.threads();
      }
    }
  }
  for (int64_t i = 0; i < c.size(); ++i) {
    ASSERT_TRUE(written[i] || c[i] == -77.0f) << "element " << i << " is outside of C";
  }
}

int64_t RandomExtent(Random& random) {
  static constexpr int64_t kInteresting[] = {0, 1, 2, 13, 14, 15, 31, 32, 33, 64, 97, 130};
  return random.OneIn(2) ? random.Int(1, 70) : kInteresting[random.Int(0, 11)];
}

TEST(Matmul, AgreesWithNaiveLoopsOnRandomShapes) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Case test;
    MatmulShape& s = test.s;
    s.m = RandomExtent(random), s.n = RandomExtent(random), s.k = RandomExtent(random);
    if (random.OneIn(12)) s.k = random.Int(1000, 2300);
    if (random.OneIn(15)) s.k = 1024 * random.Int(1, 2);
    if (random.OneIn(10)) s.n = random.Int(200, 400);
    if (random.OneIn(10)) s.m = 1;
    s.batch_rank = random.OneIn(2) ? 0 : static_cast<int>(random.Int(1, 3));
    for (int d = 0; d < s.batch_rank; ++d) s.batch[d] = random.OneIn(20) ? 0 : random.Int(1, 4);
    s.a = RandomLayout(random, true, s.m, s.k, s, true);
    s.b = RandomLayout(random, true, s.k, s.n, s, true);
    s.c = RandomLayout(random, false, s.m, s.n, s, false);
    s.residual = RandomLayout(random, false, s.m, s.n, s, true);
    test.packed = random.OneIn(2);
    if (test.packed) std::fill(s.b.batch, s.b.batch + kMatmulMaxBatchDims, 0);
    test.bias = random.OneIn(2);
    test.residual = random.OneIn(3);
    if (random.OneIn(3)) test.activation.kind = ActivationKind::kRelu;
    if (random.OneIn(6)) test.activation.kind = ActivationKind::kGeluErf;
    for (CpuIsa isa : TestedIsas()) Check(test, isa, gangs[1 + seed % 3], random);
    if (HasFatalFailure()) return;
  }
}

TEST(Matmul, AgreesWithNaiveLoopsOnTransformerAndClassifierShapes) {
  Gangs gangs;
  Random random(7);
  const int64_t shapes[][3] = {{128, 768, 96}, {100, 70, 3072}, {1, 1000, 1280}, {4, 10, 4096}, {1, 3, 9000}, {200, 33, 1024}};
  for (const auto& mnk : shapes) {
    for (bool packed : {true, false}) {
      for (int threads : {1, 2, 3}) {
        Case test;
        test.s = DenseMatmul(mnk[0], mnk[1], mnk[2]);
        test.packed = packed;
        test.bias = true;
        Check(test, HostCpu().isa, gangs[threads], random);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Matmul, GivesTheActivationOfTheBiasWhenKIsZero) {
  Gang gang;
  float bias[] = {-1, 2, 3}, c[6] = {9, 9, 9, 9, 9, 9}, none = 0;
  MatmulArgs args{.a = &none, .b = &none, .bias = bias, .c = c};
  args.activation.kind = ActivationKind::kRelu;
  MatmulShape s = DenseMatmul(2, 3, 0);
  Buffer<char> scratch(MatmulScratchBytes(s, false, 1));
  Matmul(s, args, scratch.data(), gang);
  EXPECT_THAT(c, ::testing::ElementsAre(0, 2, 3, 0, 2, 3));
}

TEST(Matmul, IsTheSameOnEveryRun) {
  Gangs gangs;
  Random random(3);
  MatmulShape s = DenseMatmul(3, 40, 5000);
  Buffer<float> a = random.Floats(s.m * s.k), b = random.Floats(s.k * s.n), first(s.m * s.n);
  for (int run = 0; run < 20; ++run) {
    Buffer<float> c(s.m * s.n);
    Buffer<char> scratch(MatmulScratchBytes(s, false, 3));
    Matmul(s, {.a = a.data(), .b = b.data(), .c = c.data()}, scratch.data(), gangs[3]);
    if (run == 0) first = c;
    for (int64_t i = 0; i < c.size(); ++i) ASSERT_EQ(c[i], first[i]);
  }
}

}  // namespace
}  // namespace tfengine::cpu
