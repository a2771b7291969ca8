// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_dot.h"

#include <fmt/format.h>

#include "backends/cpu/kernels/test_util.h"

namespace tfengine::cpu {
namespace {

float FromBf16(uint16_t v) {
  const uint32_t bits = static_cast<uint32_t>(v) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

std::string Describe(const ConvShape& s) {
  return fmt::format("n{} {}x{}x{} -> {}x{}x{} k{}x{} s{}x{} d{}x{} p{},{} g{}", s.batch, s.in_h, s.in_w, s.in_c, s.out_h, s.out_w,
                     s.out_c, s.k_h, s.k_w, s.stride_h, s.stride_w, s.dil_h, s.dil_w, s.pad_top, s.pad_left, s.groups);
}

// A tensor in some format and the reals it stands for.
struct Typed {
  Buffer<char> bytes;
  std::vector<double> reals;
};

Typed RandomTyped(const Format& f, int64_t n, Random& random) {
  Typed t{Buffer<char>(n * StorageBytes(f.storage)), std::vector<double>(n)};
  for (int64_t i = 0; i < n; ++i) {
    if (f.storage == Storage::kU8) {
      const int code = static_cast<int>(random.Int(f.lo, f.hi));
      t.bytes[i] = static_cast<char>(code);
      t.reals[i] = static_cast<double>(f.scale) * (code - f.zero);
      continue;
    }
    const float v = random.Float();
    if (f.storage == Storage::kF32) {
      std::memcpy(t.bytes.data() + i * 4, &v, 4);
      t.reals[i] = v;
    } else {
      const uint16_t code = RoundToBf16(v);
      std::memcpy(t.bytes.data() + i * 2, &code, 2);
      t.reals[i] = FromBf16(code);
    }
  }
  return t;
}

// Element i of `bytes` is `want` rounded to the format; `error`: of the real before rounding.
::testing::AssertionResult Stores(const Format& f, const char* bytes, int64_t i, double want, double error) {
  if (f.storage == Storage::kU8) {
    const int got = static_cast<uint8_t>(bytes[i]);
    const double slack = error / f.scale + 1e-3;
    auto code = [&](double v) { return static_cast<int>(std::clamp<double>(std::nearbyint(v) + f.zero, f.lo, f.hi)); };
    const int low = code(want / f.scale - slack), high = code(want / f.scale + slack);
    if (std::isnan(want) ? got == std::clamp(f.zero, f.lo, f.hi) : got >= low && got <= high) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "code " << got << ", want " << low << ".." << high << " for " << want;
  }
  float got;
  if (f.storage == Storage::kBf16) {
    uint16_t v;
    std::memcpy(&v, bytes + i * 2, 2);
    got = FromBf16(v);
    error += std::fabs(want) * 0x1.01p-8;
  } else {
    std::memcpy(&got, bytes + i * 4, 4);
  }
  return Close(got, want, error + 1e-30);
}

struct Sums {
  std::vector<double> value, magnitude;
};

Sums Naive(const ConvShape& s, const std::vector<double>& x, const std::vector<double>& w) {
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

Format RandomFormat(Random& random, float range) {
  Format f;
  f.storage = static_cast<Storage>(random.Int(0, 2));
  if (f.storage != Storage::kU8) return f;
  f.scale = range / 255 * random.Float(0.5f, 1.5f);
  f.zero = static_cast<int32_t>(random.Int(0, 255));
  if (random.OneIn(3)) f.lo = static_cast<int32_t>(random.Int(0, 100)), f.hi = static_cast<int32_t>(random.Int(f.lo, 255));
  return f;
}

constexpr Activation kActivations[] = {{ActivationKind::kNone},          {ActivationKind::kRelu},
                                       {ActivationKind::kRelu6},         {ActivationKind::kClip, -0.5f, 0.25f},
                                       {ActivationKind::kLeakyRelu, 0.3f}, {ActivationKind::kGeluErf},
                                       {ActivationKind::kSilu}};

class DotConv : public testing::TestWithParam<DotType> {
 protected:
  // Every tactic with random output stages and numbers of threads.
  void Check(const ConvShape& s, Random& random) {
    SCOPED_TRACE(Describe(s));
    const bool int8 = GetParam() == DotType::kInt8;
    Format in;
    in.storage = int8 ? Storage::kU8 : Storage::kBf16;
    if (int8) in.scale = 0.02f, in.zero = random.OneIn(3) ? 0 : static_cast<int32_t>(random.Int(0, 255));
    const Typed x = RandomTyped(in, s.batch * s.in_h * s.in_w * s.in_c, random);
    const Buffer<float> w = random.Floats(s.WeightCount());
    const Buffer<float> steps = random.Floats(s.out_c, 0.5f / 127, 1.5f / 127);
    std::vector<double> weights(w.size());
    for (int64_t i = 0; i < w.size(); ++i)
      weights[i] = int8 ? static_cast<double>(WeightCode(w[i], steps[i % s.out_c])) * steps[i % s.out_c] : FromBf16(RoundToBf16(w[i]));
    const Sums sums = Naive(s, x.reals, weights);
    const double terms = static_cast<double>(s.k_h * s.k_w * s.in_c / s.groups);
    const float range = static_cast<float>(std::sqrt(terms)) * 4 + 1;
    const Buffer<float> bias = random.Floats(s.out_c);
    Buffer<float> scale(s.out_c);
    for (int64_t o = 0; o < s.out_c; ++o) scale[o] = int8 ? steps[o] * in.scale : 1;
    const int64_t out = s.Pixels() * s.out_c;
    for (const DotConvTactic* tactic : DotConvTactics(s, GetParam())) {
      Buffer<char> packed(tactic->PackedBytes(s));
      tactic->Pack(s, w.data(), int8 ? steps.data() : nullptr, packed.data());
      for (int round = 0; round < 4; ++round) {
        DotConvArgs args;
        const int threads = static_cast<int>(random.Int(1, 3));
        args.stage.out = RandomFormat(random, range);
        args.stage.residual = RandomFormat(random, range);
        if (round % 2 == 0) {  // the form that is written from registers
          args.stage.out = args.stage.residual = in;
          if (int8) args.stage.out.scale = range / 255, args.stage.residual.zero = 3;
        }
        args.stage.activation = kActivations[random.Int(0, round % 2 == 0 ? 3 : 6)];
        const bool with_residual = random.OneIn(2), with_bias = random.OneIn(2);
        const bool in_place = with_residual && args.stage.residual.storage == args.stage.out.storage && random.OneIn(2);
        const Typed residual = RandomTyped(args.stage.residual, out, random);
        Buffer<char> y(out * StorageBytes(args.stage.out.storage), char{-1});
        if (in_place) y = residual.bytes;
        Buffer<char> scratch(tactic->ScratchBytes(s, threads), char{-1});
        args.x = x.bytes.data();
        args.zero = in.zero;
        args.packed = packed.data();
        if (int8) args.stage.scale = scale.data();
        if (with_bias) args.stage.bias = bias.data();
        if (with_residual) args.residual = in_place ? y.data() : residual.bytes.data();
        args.y = y.data();
        args.scratch = scratch.data();
        tactic->Run(s, args, gangs_[threads]);
        for (int64_t i = 0; i < out; ++i) {
          const double b = with_bias ? bias[i % s.out_c] : 0, r = with_residual ? residual.reals[i] : 0;
          const float real = static_cast<float>(sums.value[i] + b + r);
          float want;
          ApplyActivationReference(args.stage.activation, &real, &want, 1);
          // int8 sums are exact; what remains is the f32 arithmetic after them.
          const double roundings = int8 ? 8 : 8 + 2 * std::sqrt(terms);
          const double error = roundings * 0x1p-24 * 1.2 * (sums.magnitude[i] + std::fabs(b) + std::fabs(r)) + 1e-6;
          ASSERT_TRUE(Stores(args.stage.out, y.data(), i, want, error))
              << tactic->name() << " at " << i << " threads " << threads << " bias " << with_bias << " residual " << with_residual
              << " in place " << in_place << " " << ActivationName(args.stage.activation.kind) << " zero " << in.zero << " out "
              << static_cast<int>(args.stage.out.storage) << " residual " << static_cast<int>(args.stage.residual.storage);
        }
      }
    }
  }

  static ConvShape RandomWindow(Random& random, int64_t max_kernel) {
    for (;;) {
      ConvShape s;
      s.batch = random.Int(1, 3);
      s.in_h = random.Int(1, 12);
      s.in_w = random.Int(1, 18);
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

INSTANTIATE_TEST_SUITE_P(Types, DotConv, testing::Values(DotType::kInt8, DotType::kBf16),
                         [](const auto& info) { return info.param == DotType::kInt8 ? "Int8" : "Bf16"; });

}  // namespace
}  // namespace tfengine::cpu
