// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/matmul_dot.h"

#include <limits>

#include "backends/cpu/kernels/dot_kernels.h"
#include "backends/cpu/kernels/dot_test_util.h"
#include "backends/cpu/kernels/matmul_test_util.h"

namespace tfengine::cpu {
namespace {

class DotMatmulTest : public testing::TestWithParam<DotType> {
 protected:
  void Check(const MatmulShape& s, bool packs, Random& random) {
    const DotType type = GetParam();
    const bool int8 = type == DotType::kInt8;
    const Format in = RandomInputFormat(type, random);
    const TypedBuffer a = RandomValues(random, in, Extent(s, s.a, s.m, s.k), -1, 1);
    const TypedBuffer plain_b = RandomValues(random, {in.storage}, packs ? 0 : Extent(s, s.b, s.k, s.n), -1, 1);
    const RandomWeights w(type, packs ? s.k * s.n : 0, s.n, in.scale, random);
    const int64_t outputs = Extent(s, s.c, s.m, s.n);
    std::vector<bool> written(outputs);
    struct Sum {
      int64_t at, residual_at, column;
      double value, magnitude;
    };
    std::vector<Sum> sums;
    int64_t batches = 1;
    for (int d = 0; d < s.batch_rank; ++d) batches *= s.batch[d];
    for (int64_t batch = 0; batch < batches; ++batch) {
      int64_t oa = 0, ob = 0, oc = 0, od = 0, index = batch;
      for (int d = s.batch_rank - 1; d >= 0; --d) {
        const int64_t i = index % s.batch[d];
        index /= s.batch[d];
        oa += i * s.a.batch[d], ob += i * s.b.batch[d], oc += i * s.c.batch[d], od += i * s.residual.batch[d];
      }
      for (int64_t i = 0; i < s.m; ++i) {
        for (int64_t j = 0; j < s.n; ++j) {
          Sum sum = {oc + i * s.c.row + j, od + i * s.residual.row + j, j, 0, 0};
          for (int64_t p = 0; p < s.k; ++p) {
            const double product =
                a[oa + i * s.a.row + p * s.a.col] * (packs ? w.reals[p * s.n + j] : plain_b[ob + p * s.b.row + j * s.b.col]);
            sum.value += product, sum.magnitude += std::fabs(product);
          }
          written[sum.at] = true;
          sums.push_back(sum);
        }
      }
    }
    for (const DotKernels* kernels : AllDotKernels(type)) {
      if (!kernels->Usable()) continue;
      for (int round = 0; round < 4; ++round) {
        const int threads = static_cast<int>(random.Int(1, 3));
        const RandomStage stage(type, s.n, Extent(s, s.residual, s.m, s.n), s.k, w, round % 2 == 0, random);
        Buffer<char> packed(packs ? DotPackedMatmulBBytes(*kernels, s.k, s.n) : 0);
        if (packs) DotPackMatmulB(*kernels, w.values.data(), s.n, 1, s.k, s.n, int8 ? w.steps.data() : nullptr, packed.data());
        TypedBuffer c(stage.stage.out, outputs);
        std::fill(c.bytes.begin(), c.bytes.end(), 0x5a);
        const Buffer<unsigned char> before = c.bytes;
        Buffer<char> scratch(static_cast<int64_t>(DotMatmulScratchBytes(*kernels, s, packs, threads)), char{-1});
        DotMatmulArgs args;
        args.a = a.data();
        args.zero = in.zero;
        (packs ? args.packed_b : args.b) = packs ? static_cast<const void*>(packed.data()) : plain_b.data();
        args.stage = stage.stage;
        if (stage.residual) args.residual = stage.residual->data();
        args.c = c.data();
        DotMatmul(*kernels, s, args, scratch.data(), gangs_[threads]);

        for (const Sum& sum : sums) {
          ASSERT_TRUE(stage.Agrees(c, sum.at, sum.residual_at, sum.column, sum.value, sum.magnitude))
              << kernels->isa_name << " m " << s.m << " n " << s.n << " k " << s.k << " batches " << s.batch_rank << " at " << sum.at
              << " packed " << packs << " threads " << threads << " " << stage.Describe();
        }
        const int64_t size = StorageBytes(stage.stage.out.storage);
        for (int64_t i = 0; i < outputs * size; ++i)
          ASSERT_TRUE(written[i / size] || c.bytes[i] == before[i]) << "element " << i / size << " is outside of C";
      }
    }
  }

  Gangs gangs_;
};

TEST_P(DotMatmulTest, AgreesWithNaiveLoopsOnRandomShapes) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    auto extent = [&] {
      static constexpr int64_t kInteresting[] = {0, 1, 2, 13, 14, 15, 31, 32, 33, 64, 97, 130};
      return random.OneIn(2) ? random.Int(1, 70) : kInteresting[random.Int(0, 11)];
    };
    MatmulShape s;
    s.m = extent(), s.n = extent(), s.k = extent();
    if (random.OneIn(8)) s.k = random.Int(500, 1300);
    if (random.OneIn(8)) s.m = 1;
    s.batch_rank = random.OneIn(2) ? 0 : static_cast<int>(random.Int(1, 3));
    for (int d = 0; d < s.batch_rank; ++d) s.batch[d] = random.OneIn(20) ? 0 : random.Int(1, 4);
    const bool packs = GetParam() == DotType::kInt8 || random.OneIn(2);
    s.a = RandomLayout(random, true, s.m, s.k, s, true);
    s.b = RandomLayout(random, true, s.k, s.n, s, true);
    if (packs) s.b = {};
    s.c = RandomLayout(random, false, s.m, s.n, s, false);
    s.residual = RandomLayout(random, false, s.m, s.n, s, true);
    Check(s, packs, random);
    if (HasFatalFailure()) return;
  }
}

TEST_P(DotMatmulTest, AgreesWithNaiveLoopsOnTransformerAndClassifierShapes) {
  Random random(7);
  const int64_t shapes[][3] = {{128, 96, 768}, {1, 1000, 1280}, {4, 10, 4096}, {9, 64, 3072}};
  for (const auto& mnk : shapes) {
    for (bool packs : {true, false}) {
      if (!packs && GetParam() == DotType::kInt8) continue;
      Check(DenseMatmul(mnk[0], mnk[1], mnk[2]), packs, random);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, DotMatmulTest, testing::Values(DotType::kInt8, DotType::kBf16, DotType::kF32), DotTypeName);

// Products of one row and no weights: codes of the bias. Columns that fill vectors and columns that do not.
TEST(DotMatmul, SaturatesCodesAndGivesTheZeroPointForNan) {
  Gang gang;
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const float values[] = {nan, inf, -inf, 1e30f, -1e30f, 0, 2.5f, 3.5f};
  const int expected[] = {7, 250, 5, 250, 5, 7, 9, 11};
  for (DotType type : {DotType::kInt8, DotType::kBf16, DotType::kF32}) {
    for (const DotKernels* kernels : AllDotKernels(type)) {
      if (!kernels->Usable()) continue;
      for (int64_t n : {8, 32, 40}) {
        const MatmulShape s = DenseMatmul(1, n, 4);
        const Buffer<float> weights(4 * n), ones(n, 1.0f);
        Buffer<float> bias(n);
        for (int64_t i = 0; i < n; ++i) bias[i] = values[i % 8];
        Buffer<char> packed(DotPackedMatmulBBytes(*kernels, 4, n)), scratch(static_cast<int64_t>(DotMatmulScratchBytes(*kernels, s, true, 1)));
        DotPackMatmulB(*kernels, weights.data(), n, 1, 4, n, type == DotType::kInt8 ? ones.data() : nullptr, packed.data());
        const Buffer<char> a(16);
        Buffer<uint8_t> c(n);
        DotMatmulArgs args;
        args.a = a.data();
        args.packed_b = packed.data();
        args.stage.bias = bias.data();
        args.stage.out = {Storage::kU8, 1.0f, 7, 5, 250};
        args.c = c.data();
        DotMatmul(*kernels, s, args, scratch.data(), gang);
        for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(c[i], expected[i % 8], i % 8 >= 6 ? 1 : 0) << kernels->isa_name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace tfengine::cpu
