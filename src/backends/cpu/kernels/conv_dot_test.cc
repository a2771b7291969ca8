// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_dot.h"

#include <fmt/format.h>

#include <limits>
#include <map>
#include <string>
#include <string_view>

#include "backends/cpu/kernels/dot_test_util.h"
#include "backends/cpu/kernels/pixels_test_util.h"

namespace tfengine::cpu {
namespace {

std::string Describe(const ConvShape& s) {
  return fmt::format("n{} {}x{}x{} -> {}x{}x{} k{}x{} s{}x{} d{}x{} p{},{} g{}", s.batch, s.in_h, s.in_w, s.in_c, s.out_h, s.out_w,
                     s.out_c, s.k_h, s.k_w, s.stride_h, s.stride_w, s.dil_h, s.dil_w, s.pad_top, s.pad_left, s.groups);
}

struct Sums {
  std::vector<double> value, magnitude;
};

Sums Naive(const ConvShape& s, const TypedBuffer& x, const std::vector<double>& w) {
  Sums e;
  const int64_t gi = s.in_c / s.groups, go = s.out_c / s.groups;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t oy = 0; oy < s.out_h; ++oy)
      for (int64_t ox = 0; ox < s.out_w; ++ox)
        for (int64_t o = 0; o < s.out_c; ++o) {
          double sum = 0, magnitude = 0;
          for (int64_t ky = 0; ky < s.k_h; ++ky) {
            const int64_t iy = oy * s.stride_h + ky * s.dil_h - s.pad_top;
            if (iy < 0 || iy >= s.in_h) continue;
            for (int64_t kx = 0; kx < s.k_w; ++kx) {
              const int64_t ix = ox * s.stride_w + kx * s.dil_w - s.pad_left;
              if (ix < 0 || ix >= s.in_w) continue;
              for (int64_t i = 0; i < gi; ++i) {
                const double product = x[((n * s.in_h + iy) * s.in_w + ix) * s.in_c + o / go * gi + i] * w[((ky * s.k_w + kx) * gi + i) * s.out_c + o];
                sum += product;
                magnitude += std::fabs(product);
              }
            }
          }
          e.value.push_back(sum);
          e.magnitude.push_back(magnitude);
        }
  return e;
}

class DotConv : public testing::TestWithParam<DotType> {
 protected:
  // Runs every tactic with random output stages and numbers of threads, then with pixels that lie apart, which must not change a
  // bit.
  void Check(const ConvShape& s, Random& random) {
    SCOPED_TRACE(Describe(s));
    const DotType type = GetParam();
    const bool int8 = type == DotType::kInt8;
    const Format in = RandomInputFormat(type, random);
    const TypedBuffer x = RandomValues(random, in, s.batch * s.in_h * s.in_w * s.in_c, -1, 1);
    const RandomWeights w(type, s.WeightCount(), s.out_c, in.scale, random);
    const Sums sums = Naive(s, x, w.reals);
    const int64_t terms = s.k_h * s.k_w * s.in_c / s.groups;
    const int64_t out = s.Pixels() * s.out_c;
    for (const DotConvTactic* tactic : DotConvTactics(s, type)) {
      // Transformed inputs (up to 4 times as large) and filters are rounded to 8 bits each, and spread over a tile: six sigma of
      // nine positions' products.
      const bool winograd = std::string_view(tactic->name()).find("winograd") != std::string_view::npos;
      const double algorithm_error = winograd ? 6 * 0x1p-9 * std::sqrt(static_cast<double>(s.in_c) * 9) : 0;
      Buffer<char> packed(tactic->PackedBytes(s));
      tactic->Pack(s, w.values.data(), int8 ? w.steps.data() : nullptr, packed.data());
      for (int round = 0; round < 4; ++round) {
        const int threads = static_cast<int>(random.Int(1, 3));
        const RandomStage stage(type, s.out_c, out, terms, w, round % 2 == 0, random);
        DotConvArgs args;
        args.stage = stage.stage;
        TypedBuffer y(stage.stage.out, out);
        if (stage.residual && stage.in_place) y.bytes = stage.residual->bytes;
        if (stage.residual) args.residual = stage.in_place ? y.data() : stage.residual->data();
        Buffer<char> scratch(tactic->ScratchBytes(s, threads), char{-1});
        args.x = x.data();
        args.zero = in.zero;
        args.packed = packed.data();
        args.y = y.data();
        args.scratch = scratch.data();
        tactic->Run(s, args, gangs_[threads]);
        for (int64_t i = 0; i < out; ++i) {
          ASSERT_TRUE(stage.Agrees(y, i, i, i % s.out_c, sums.value[i], sums.magnitude[i], algorithm_error))
              << tactic->name() << " at " << i << " threads " << threads << " " << stage.Describe();
        }
        ConvShape apart = s;
        apart.x_pixel = s.in_c + random.Int(0, 19);
        apart.y_pixel = s.out_c + random.Int(0, 19);
        apart.residual_pixel = stage.in_place ? apart.y_pixel : s.out_c + random.Int(0, 19);
        const int64_t x_bytes = StorageBytes(in.storage), y_bytes = StorageBytes(stage.stage.out.storage);
        const int64_t residual_bytes = StorageBytes(stage.stage.residual.storage);
        const void* residual = stage.residual ? stage.residual->data() : nullptr;
        ApartPixels apart_x(x.data(), s.batch * s.in_h * s.in_w, s.in_c * x_bytes, apart.x_pixel * x_bytes);
        ApartPixels apart_y(stage.in_place ? residual : nullptr, s.Pixels(), s.out_c * y_bytes, apart.y_pixel * y_bytes);
        ApartPixels apart_residual(residual, s.Pixels(), s.out_c * residual_bytes, apart.residual_pixel * residual_bytes);
        Buffer<char> apart_scratch(tactic->ScratchBytes(apart, threads), char{-1});
        args.x = apart_x.data();
        args.y = apart_y.data();
        if (stage.residual) args.residual = stage.in_place ? args.y : apart_residual.data();
        args.scratch = apart_scratch.data();
        tactic->Run(apart, args, gangs_[threads]);
        ASSERT_TRUE(apart_y.Equal(y.data())) << tactic->name() << " threads " << threads << " pixels apart " << apart.x_pixel << " "
                                             << apart.y_pixel << " " << stage.Describe();
      }
    }
  }

  static ConvShape RandomWindow(Random& random, int64_t max_kernel) {
    for (;;) {
      ConvShape s;
      s.batch = random.Int(1, 3);
      s.in_h = random.Int(1, 12);
      s.in_w = random.OneIn(4) ? random.Int(30, 60) : random.Int(1, 18);
      s.k_h = random.Int(1, max_kernel);
      s.k_w = random.Int(1, max_kernel);
      s.stride_h = random.Int(1, 3);
      s.stride_w = random.Int(1, 3);
      if (random.OneIn(3)) s.dil_h = random.Int(1, 3), s.dil_w = random.Int(1, 3);
      s.pad_top = random.OneIn(2) ? 0 : random.Int(0, s.k_h);
      s.pad_left = random.OneIn(2) ? 0 : random.Int(0, s.k_w);
      const int64_t span_h = (s.k_h - 1) * s.dil_h + 1, span_w = (s.k_w - 1) * s.dil_w + 1;
      s.out_h = (s.in_h + 2 * s.pad_top - span_h) / s.stride_h + 1;
      s.out_w = (s.in_w + 2 * s.pad_left - span_w) / s.stride_w + 1;
      if (s.in_h + 2 * s.pad_top >= span_h && s.in_w + 2 * s.pad_left >= span_w) return s;
    }
  }

  Gangs gangs_;
};

TEST_P(DotConv, AgreesWithNaiveLoopsOnRandomShapes) {
  for (uint32_t seed = 0; seed < 100 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ConvShape s = RandomWindow(random, seed % 4 == 0 ? 7 : 3);
    s.in_c = random.OneIn(2) ? 4 * random.Int(1, 20) : random.Int(1, 70);
    s.out_c = random.Int(1, 70);
    Check(s, random);
  }
}

TEST_P(DotConv, AgreesWithNaiveLoopsOnPointwiseShapes) {
  for (uint32_t seed = 0; seed < 60 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ConvShape s = RandomWindow(random, 1);
    s.in_c = random.OneIn(2) ? 4 * random.Int(1, 70) : random.Int(1, 300);
    s.out_c = random.Int(1, 200);
    Check(s, random);
  }
}

TEST_P(DotConv, AgreesWithNaiveLoopsOnGroups) {
  for (uint32_t seed = 0; seed < 40 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ConvShape s = RandomWindow(random, 3);
    s.groups = random.Int(1, 8);
    s.in_c = s.groups * random.Int(1, 20);
    s.out_c = s.groups * random.Int(1, 20);
    Check(s, random);
  }
}

TEST_P(DotConv, AgreesWithNaiveLoopsOnDepthwiseShapes) {
  for (uint32_t seed = 0; seed < 150 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ConvShape s = RandomWindow(random, seed % 4 == 0 ? 7 : 3);
    if (random.OneIn(2)) s.k_h = s.k_w = random.OneIn(4) ? 5 : 3, s.dil_h = s.dil_w = 1;
    s.pad_top = std::min(s.pad_top, s.k_h - 1), s.pad_left = std::min(s.pad_left, s.k_w - 1);
    s.in_c = s.groups = random.OneIn(2) ? random.Int(1, 200) : 16 * random.Int(1, 9);
    if (random.OneIn(3)) s.in_c = s.groups = 32 * random.Int(0, 3) + random.Int(1, 16);  // few channels left over
    s.out_c = s.in_c * (random.OneIn(5) ? random.Int(2, 4) : 1);
    Check(s, random);
  }
}

TEST_P(DotConv, AgreesWithNaiveLoopsOnThreeByThreeShapes) {
  for (uint32_t seed = 0; seed < 40 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ConvShape s;
    s.batch = random.Int(1, 4);
    s.in_h = random.Int(1, 20);
    s.in_w = random.Int(1, 20);
    s.k_h = s.k_w = 3;
    s.pad_top = s.pad_left = random.OneIn(4) ? 2 : 1;
    s.out_h = s.in_h + random.Int(0, 1);
    s.out_w = s.in_w + random.Int(0, 1);
    s.in_c = random.Int(8, 100);
    s.out_c = random.Int(8, 120);
    Check(s, random);
  }
}

// What rounding the filter to bf16 costs the direct form is the measure of the other.
TEST(WinogradDot, ErrsAtMostThreeTimesAsMuchAsRoundingTheFilter) {
  Random random(11);
  Gang gang;
  ConvShape s;
  s.in_h = s.in_w = s.out_h = s.out_w = 14;
  s.k_h = s.k_w = 3;
  s.pad_top = s.pad_left = 1;
  s.in_c = s.out_c = 128;
  const TypedBuffer x = RandomValues(random, {Storage::kBf16}, s.in_h * s.in_w * s.in_c, -1, 1);
  const Buffer<float> w = random.Floats(s.WeightCount());
  const Sums exact = Naive(s, x, std::vector<double>(w.begin(), w.end()));
  std::map<std::string, double> error;
  for (const DotConvTactic* tactic : DotConvTactics(s, DotType::kBf16)) {
    Buffer<char> packed(tactic->PackedBytes(s)), scratch(tactic->ScratchBytes(s, 1));
    tactic->Pack(s, w.data(), nullptr, packed.data());
    Buffer<float> y(s.Pixels() * s.out_c);
    DotConvArgs args;
    args.x = x.data();
    args.packed = packed.data();
    args.y = y.data();
    args.scratch = scratch.data();
    tactic->Run(s, args, gang);
    double sum = 0;
    for (int64_t i = 0; i < y.size(); ++i) sum += (y[i] - exact.value[i]) * (y[i] - exact.value[i]);
    error[tactic->name()] = std::sqrt(sum / static_cast<double>(y.size()));
  }
  if (error.count("winograd2_bf16_avx512bf16") == 0) GTEST_SKIP() << "no bf16 products on this machine";
  EXPECT_LT(error["winograd2_bf16_avx512bf16"], 3 * error["direct_bf16_avx512bf16"]);
}

TEST_P(DotConv, RunsStemsAndLongReductions) {
  Random random(1);
  for (auto [k, size, in_c, out_c, stride] :
       {std::array<int64_t, 5>{7, 40, 3, 64, 2}, {3, 33, 3, 32, 2}, {11, 40, 3, 20, 4}, {3, 7, 512, 96, 1}, {1, 7, 2048, 64, 1}, {3, 5, 515, 33, 1}}) {
    ConvShape s;
    s.in_h = s.in_w = size;
    s.in_c = in_c;
    s.k_h = s.k_w = k;
    s.stride_h = s.stride_w = stride;
    s.out_c = out_c;
    s.out_h = s.out_w = (size + stride - 1) / stride;
    s.pad_top = s.pad_left = std::max<int64_t>(0, (s.out_h - 1) * stride + k - size) / 2;
    Check(s, random);
    if (HasFatalFailure()) return;
  }
}

// Words that overlap, gathered pixels and padding must not turn an infinity into NaN, nor spread it.
TEST(DotConvInfinity, StaysWhereItBelongs) {
  Random random(3);
  for (int64_t in_c : {1, 3, 5, 8}) {
    for (int64_t stride : {1, 2}) {
      ConvShape s;
      s.in_h = s.in_w = 23;
      s.in_c = in_c;
      s.k_h = s.k_w = 7;
      s.stride_h = s.stride_w = stride;
      s.out_c = 20;
      s.out_h = s.out_w = 23 / stride + 23 % stride;
      s.pad_top = s.pad_left = 3;
      std::vector<uint16_t> values(s.in_h * s.in_w * in_c, RoundToBf16(1.0f));
      const int64_t row = 11, column = 9;
      values[(row * s.in_w + column) * in_c + in_c - 1] = RoundToBf16(std::numeric_limits<float>::infinity());
      const std::vector<float> ones(s.WeightCount(), 1.0f);
      for (const DotConvTactic* tactic : DotConvTactics(s, DotType::kBf16)) {
        Buffer<char> packed(tactic->PackedBytes(s)), scratch(tactic->ScratchBytes(s, 1), char{-1});
        tactic->Pack(s, ones.data(), nullptr, packed.data());
        DotConvArgs args;
        std::vector<float> y(s.Pixels() * s.out_c);
        args.x = values.data();
        args.packed = packed.data();
        args.y = y.data();
        args.scratch = scratch.data();
        Gang gang;
        tactic->Run(s, args, gang);
        for (int64_t oy = 0; oy < s.out_h; ++oy)
          for (int64_t ox = 0; ox < s.out_w; ++ox) {
            auto taps = [&](int64_t o, int64_t size) {
              const int64_t from = std::max<int64_t>(0, o * stride - 3), to = std::min(size, o * stride + 4);
              return std::pair{from, to};
            };
            const auto [top, bottom] = taps(oy, s.in_h);
            const auto [left, right] = taps(ox, s.in_w);
            const bool sees = top <= row && row < bottom && left <= column && column < right;
            const float want = sees ? std::numeric_limits<float>::infinity() : static_cast<float>((bottom - top) * (right - left) * in_c);
            ASSERT_EQ(y[(oy * s.out_w + ox) * s.out_c + 7], want) << tactic->name() << " channels " << in_c << " at " << oy << "," << ox;
          }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, DotConv, testing::Values(DotType::kInt8, DotType::kBf16, DotType::kF32), DotTypeName);

}  // namespace
}  // namespace tfengine::cpu
