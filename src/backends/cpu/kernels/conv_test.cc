// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/pixels_test_util.h"

namespace tfengine::cpu {
namespace {

// Exactly sized, 64-byte aligned when asked: the address sanitizer sees every read beyond the end.
class Buffer {
 public:
  explicit Buffer(int64_t bytes) : data_(bytes == 0 ? nullptr : std::aligned_alloc(64, (bytes + 63) / 64 * 64)) {}
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  void* data() { return data_; }

 private:
  void* data_;
};

std::string Describe(const ConvShape& s) {
  return fmt::format("n{} {}x{}x{} -> {}x{}x{} k{}x{} s{}x{} d{}x{} p{},{} g{}", s.batch, s.in_h, s.in_w, s.in_c, s.out_h, s.out_w,
                     s.out_c, s.k_h, s.k_w, s.stride_h, s.stride_w, s.dil_h, s.dil_w, s.pad_top, s.pad_left, s.groups);
}

struct Expected {
  std::vector<double> value;
  std::vector<double> magnitude;  // sum of |x| |w|, for the error bound
};

Expected Naive(const ConvShape& s, const float* x, const float* w) {
  Expected e;
  e.value.resize(s.Pixels() * s.out_c);
  e.magnitude.resize(e.value.size());
  const int64_t gi = s.in_c / s.groups, go = s.out_c / s.groups;
  size_t at = 0;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t oy = 0; oy < s.out_h; ++oy)
      for (int64_t ox = 0; ox < s.out_w; ++ox)
        for (int64_t o = 0; o < s.out_c; ++o, ++at) {
          double sum = 0, magnitude = 0;
          for (int64_t ky = 0; ky < s.k_h; ++ky) {
            const int64_t iy = oy * s.stride_h + ky * s.dil_h - s.pad_top;
            if (iy < 0 || iy >= s.in_h) continue;
            for (int64_t kx = 0; kx < s.k_w; ++kx) {
              const int64_t ix = ox * s.stride_w + kx * s.dil_w - s.pad_left;
              if (ix < 0 || ix >= s.in_w) continue;
              for (int64_t i = 0; i < gi; ++i) {
                const double a = x[((n * s.in_h + iy) * s.in_w + ix) * s.in_c + o / go * gi + i];
                const double b = w[((ky * s.k_w + kx) * gi + i) * s.out_c + o];
                sum += a * b;
                magnitude += std::fabs(a * b);
              }
            }
          }
          e.value[at] = sum;
          e.magnitude[at] = magnitude;
        }
  return e;
}

// How far a tactic's algorithm may exceed plain summation's error. Winograd's transforms amplify rounding, and spread it over
// a tile, inputs under padding outputs included: its bound takes the largest sum of |x| |w| in place of each output's own.
// The factor is the root of what |A^T| (|G| |w| |G^T| |B^T| |x| |B|) |A| may exceed that sum by, for random signs: 2.8 for
// F(2x2, 3x3), 9.5 for F(4x4, 3x3), 8 for F(2x2, 5x5), 20 for F(4x4, 5x5); along one axis the root of that.
double AlgorithmFactor(std::string_view name, int64_t taps) {
  if (name.find("winograd") == name.npos) return 1;
  const int points = static_cast<int>(taps) + (name.find("winograd2") != name.npos ? 1 : 3);
  return points == 4 ? 3 : points == 6 ? 8 : 20;
}

// Runs every tactic with 1, 2 and 3 threads, with and without bias, residual (also in place) and activation, then with pixels
// that lie apart, which must not change a bit.
void Check(const ConvShape& s, std::mt19937& rng, ThreadPool& pool) {
  SCOPED_TRACE(Describe(s));
  std::uniform_real_distribution<float> uniform(-1, 1);
  auto random = [&](int64_t n) {
    auto v = std::make_unique<float[]>(n);
    for (int64_t i = 0; i < n; ++i) v[i] = uniform(rng);
    return v;
  };
  const int64_t out = s.Pixels() * s.out_c;
  auto x = random(s.batch * s.in_h * s.in_w * s.in_c);
  auto w = random(s.WeightCount());
  auto bias = random(s.out_c);
  auto residual = random(out);
  const Expected expected = Naive(s, x.get(), w.get());
  const double terms = static_cast<double>(s.k_h * s.k_w * s.in_c / s.groups) + 2;
  const double typical = terms * 0.25;  // the mean of |x| |w| is 1/4
  const double largest = std::max(typical, *std::max_element(expected.magnitude.begin(), expected.magnitude.end()));
  static constexpr ActivationKind kKinds[] = {ActivationKind::kNone, ActivationKind::kRelu, ActivationKind::kRelu6, ActivationKind::kSilu,
                                              ActivationKind::kLeakyRelu};
  int variant = static_cast<int>(rng() % 16);
  for (const ConvTactic* tactic : ConvTactics(s)) {
    Buffer packed(tactic->PackedBytes(s));
    tactic->Pack(s, w.get(), packed.data());
    for (int threads : {1, 2, 3}) {
      ++variant;
      Gang gang(threads, [&](auto helper) { pool.Schedule(std::move(helper)); });
      Buffer scratch(tactic->ScratchBytes(s, threads));
      std::unique_ptr<float[]> y(new float[out]);
      const bool with_bias = variant & 1, with_residual = variant & 2, in_place = variant & 4;
      ConvArgs args;
      args.x = x.get();
      args.packed = packed.data();
      args.y = y.get();
      args.scratch = scratch.data();
      args.activation = {kKinds[variant % 5], 0.25f, 0};
      if (with_bias) args.bias = bias.get();
      if (with_residual) args.residual = in_place ? y.get() : residual.get();
      for (int64_t i = 0; i < out; ++i) y[i] = with_residual && in_place ? residual[i] : NAN;
      tactic->Run(s, args, gang);
      for (int64_t i = 0; i < out; ++i) {
        double b = with_bias ? bias[i % s.out_c] : 0, r = with_residual ? residual[i] : 0;
        const float sum = static_cast<float>(expected.value[i] + b + r);
        float want;
        ApplyActivationReference(args.activation, &sum, &want, 1);
        const double factor = AlgorithmFactor(tactic->name(), std::max(s.k_h, s.k_w));
        const double magnitude = (factor > 1 ? largest : expected.magnitude[i]) + std::fabs(b) + std::fabs(r);
        const double tolerance = 4 * factor * 6e-8 * std::sqrt(terms) * magnitude + 1e-6;
        ASSERT_NEAR(y[i], want, tolerance) << tactic->name() << " threads " << threads << " at " << i << " bias " << with_bias << " residual "
                                           << with_residual << " in place " << in_place << " "
                                           << ActivationName(args.activation.kind);
      }
      ConvShape apart = s;
      apart.x_pixel = s.in_c + static_cast<int64_t>(rng() % 20);
      apart.y_pixel = s.out_c + static_cast<int64_t>(rng() % 20);
      apart.residual_pixel = in_place ? apart.y_pixel : s.out_c + static_cast<int64_t>(rng() % 20);
      ApartPixels apart_x(x.get(), s.batch * s.in_h * s.in_w, s.in_c * 4, apart.x_pixel * 4);
      ApartPixels apart_y(with_residual && in_place ? residual.get() : nullptr, s.Pixels(), s.out_c * 4, apart.y_pixel * 4);
      ApartPixels apart_residual(residual.get(), s.Pixels(), s.out_c * 4, apart.residual_pixel * 4);
      Buffer apart_scratch(tactic->ScratchBytes(apart, threads));
      args.x = static_cast<const float*>(apart_x.data());
      args.y = static_cast<float*>(apart_y.data());
      if (with_residual) args.residual = in_place ? args.y : static_cast<const float*>(apart_residual.data());
      args.scratch = apart_scratch.data();
      tactic->Run(apart, args, gang);
      ASSERT_TRUE(apart_y.Equal(y.get())) << tactic->name() << " threads " << threads << " pixels apart " << apart.x_pixel << " " << apart.y_pixel;
    }
  }
}

// Output size and padding of TensorFlow's SAME, or VALID when `same` is false.
void Resolve(ConvShape* s, bool same) {
  auto one = [&](int64_t in, int64_t k, int64_t stride, int64_t dil, int64_t* out, int64_t* pad) {
    const int64_t span = (k - 1) * dil + 1;
    *out = same ? (in + stride - 1) / stride : in < span ? 0 : (in - span) / stride + 1;
    *pad = same ? std::max<int64_t>(0, (*out - 1) * stride + span - in) / 2 : 0;
  };
  one(s->in_h, s->k_h, s->stride_h, s->dil_h, &s->out_h, &s->pad_top);
  one(s->in_w, s->k_w, s->stride_w, s->dil_w, &s->out_w, &s->pad_left);
}

class Conv : public testing::Test {
 protected:
  Conv() : seed_(std::random_device()()), rng_(seed_), pool_(2) { RecordProperty("seed", std::to_string(seed_)); }
  int64_t Uniform(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng_); }
  // Kernel, stride, dilation, padding and image; channels are the caller's.
  ConvShape RandomWindow(int64_t max_kernel) {
    for (;;) {
      ConvShape s;
      s.batch = Uniform(1, 3);
      s.in_h = Uniform(1, 16);
      s.in_w = Uniform(0, 3) == 0 ? Uniform(30, 60) : Uniform(1, 20);
      s.k_h = Uniform(1, max_kernel);
      s.k_w = Uniform(1, max_kernel);
      s.stride_h = Uniform(1, 3);
      s.stride_w = Uniform(1, 4);
      if (Uniform(0, 2) == 0) {
        s.dil_h = Uniform(1, 3);
        s.dil_w = Uniform(1, 3);
      }
      Resolve(&s, Uniform(0, 1));
      if (Uniform(0, 2) == 0) {  // explicit: any padding, also larger than the kernel
        s.pad_top = Uniform(0, 4);
        s.pad_left = Uniform(0, 4);
        s.out_h = Uniform(1, s.out_h + 3);
        s.out_w = Uniform(1, s.out_w + 3);
      }
      if (s.out_h > 0 && s.out_w > 0) return s;
    }
  }
  void TearDown() override {
    if (HasFailure()) fmt::print("seed {}\n", seed_);
  }

  uint32_t seed_;
  std::mt19937 rng_;
  ThreadPool pool_;
};

TEST_F(Conv, MatchesTheNaiveLoopOnRandomShapes) {
  for (int i = 0; i < 120 && !HasFailure(); ++i) {
    ConvShape s = RandomWindow(i % 4 == 0 ? 7 : 3);
    s.batch = Uniform(1, 5);
    s.in_c = Uniform(1, 70);
    s.out_c = Uniform(1, 70);
    Check(s, rng_, pool_);
  }
}

TEST_F(Conv, MatchesTheNaiveLoopOnRandomPointwiseShapes) {
  for (int i = 0; i < 60 && !HasFailure(); ++i) {
    ConvShape s = RandomWindow(1);
    s.in_c = Uniform(1, 200);
    s.out_c = Uniform(1, 200);
    Check(s, rng_, pool_);
  }
}

TEST_F(Conv, MatchesTheNaiveLoopOnRandomGroups) {
  for (int i = 0; i < 60 && !HasFailure(); ++i) {
    ConvShape s = RandomWindow(3);
    s.groups = Uniform(1, 8);
    s.in_c = s.groups * Uniform(1, 20);
    s.out_c = s.groups * Uniform(1, 20);
    Check(s, rng_, pool_);
  }
}

TEST_F(Conv, MatchesTheNaiveLoopOnRandomDepthwiseShapes) {
  for (int i = 0; i < 120 && !HasFailure(); ++i) {
    ConvShape s = RandomWindow(i % 3 == 0 ? 6 : 3);
    s.groups = s.in_c = Uniform(1, 70);
    s.out_c = s.in_c * (i % 3 == 0 ? Uniform(1, 4) : i % 10 == 1 ? Uniform(5, 40) : 1);
    Check(s, rng_, pool_);
  }
}

TEST_F(Conv, MatchesTheNaiveLoopOnRandomWinogradShapes) {
  static constexpr int64_t kFilters[][2] = {{3, 3}, {5, 5}, {1, 3}, {3, 1}, {1, 5}, {5, 1}, {1, 7}, {7, 1}};
  for (int i = 0; i < 80 && !HasFailure(); ++i) {
    ConvShape s;
    s.batch = Uniform(1, 5);
    s.in_h = Uniform(1, 20);
    s.in_w = Uniform(1, 20);
    s.in_c = Uniform(8, 80);
    s.out_c = Uniform(8, 120);
    s.k_h = kFilters[i % 8][0], s.k_w = kFilters[i % 8][1];
    Resolve(&s, i % 3 > 0);
    if (i % 5 == 0) s.pad_top = 3, s.pad_left = 2, s.out_h = s.in_h + 3, s.out_w = s.in_w + 1;
    if (s.out_h > 0 && s.out_w > 0) Check(s, rng_, pool_);
  }
}

TEST_F(Conv, BlocksLongReductions) {
  for (auto [k, in_c, out_c, size] : {std::array<int64_t, 4>{1, 2048, 64, 7}, {3, 512, 96, 7}, {1, 1500, 200, 3}, {3, 320, 80, 5}, {5, 130, 160, 9}}) {
    ConvShape s;
    s.batch = 2;
    s.in_h = s.in_w = size;
    s.k_h = s.k_w = k;
    s.in_c = in_c;
    s.out_c = out_c;
    Resolve(&s, true);
    Check(s, rng_, pool_);
  }
}

TEST_F(Conv, RunsTheStems) {
  for (auto [k, size, out_c] : {std::array<int64_t, 3>{7, 56, 64}, {3, 33, 32}, {11, 40, 20}}) {
    ConvShape s;
    s.in_h = s.in_w = size;
    s.in_c = 3;
    s.k_h = s.k_w = k;
    s.stride_h = s.stride_w = 2;
    s.out_c = out_c;
    Resolve(&s, true);
    Check(s, rng_, pool_);
  }
}

// Short rows of few channels: their input is copied with its padding.
TEST_F(Conv, MatchesTheNaiveLoopOnRandomSmallImages) {
  for (int i = 0; i < 60 && !HasFailure(); ++i) {
    ConvShape s;
    s.batch = Uniform(1, 9);
    s.in_c = Uniform(1, 15);
    s.out_c = Uniform(1, 50);
    s.k_h = Uniform(1, 7);
    s.k_w = Uniform(2, 7);
    s.stride_h = Uniform(1, 3);
    s.stride_w = Uniform(1, 2);
    s.dil_h = Uniform(1, 2);
    s.pad_top = Uniform(-2, 5);  // negative: transposed convolutions make such
    s.pad_left = Uniform(-2, 9);
    s.in_h = Uniform(1, 30);
    s.in_w = Uniform(1, 60);
    s.out_h = Uniform(1, 30);
    s.out_w = std::array<int64_t, 6>{7, 12, 14, 24, 28, 56}[static_cast<size_t>(i % 6)];  // whole tiles of every instruction set
    Check(s, rng_, pool_);
  }
}

TEST(Activation, VectorFormsFollowTheLibrary) {
  for (const ConvKernels* kernels : {&ConvKernelsPortable(), &ConvKernelsAvx2(), &ConvKernelsAvx512()}) {
    if (!HostCpu().Has(kernels->isa)) continue;
    for (int k = 0; k <= static_cast<int>(ActivationKind::kMish); ++k) {
      const Activation a = {static_cast<ActivationKind>(k), 0.3f, 0.6f};
      std::vector<float> x;
      for (float v = 1e-30f; v < 80.0f; v *= 1.0013f) {
        x.push_back(v);
        x.push_back(-v);
      }
      for (float v : {0.0f, -0.0f, 1e30f, 3e38f, HUGE_VALF}) x.push_back(v);
      std::vector<float> y(x.size()), want(x.size());
      kernels->activate(a, x.data(), y.data(), static_cast<int64_t>(x.size()));
      ApplyActivationReference(a, x.data(), want.data(), static_cast<int64_t>(x.size()));
      double worst = 0;
      float worst_at = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        if (y[i] == want[i] || (std::isnan(y[i]) && std::isnan(want[i]))) continue;
        // Near a zero crossing, or where 1 - tanh cancels, only the absolute error is small.
        const bool absolute = a.kind == ActivationKind::kGeluTanh || a.kind == ActivationKind::kHardSigmoid;
        const double scale = std::max<double>(std::fabs(want[i]), absolute ? 0.1 : 1e-37);
        const double error = std::fabs(static_cast<double>(y[i]) - want[i]) / scale / 1.2e-7;
        if (!(error <= worst)) worst = error, worst_at = x[i];
      }
      // Without fused multiply-adds the square in exp(-x^2/2) keeps its rounding error.
      const double limit = kernels->isa != CpuIsa::kPortable ? 4.5 : a.kind == ActivationKind::kGeluErf ? 40 : 6;
      EXPECT_LE(worst, limit) << CpuIsaName(kernels->isa) << " " << ActivationName(a.kind) << " at " << worst_at;
      const float nan = NAN;
      float out = 0;
      kernels->activate(a, &nan, &out, 1);
      EXPECT_TRUE(std::isnan(out)) << ActivationName(a.kind);
    }
  }
}

}  // namespace
}  // namespace tfengine::cpu
