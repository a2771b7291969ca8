// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "backends/cpu/kernels/binary.h"
#include "backends/cpu/kernels/convert.h"
#include "backends/cpu/kernels/typed_test_util.h"
#include "backends/cpu/kernels/unary.h"

namespace tfengine::cpu {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Convert, RoundsOnceBetweenAllFormats) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t n = random.OneIn(8) ? random.Int(40000, 80000) : random.Int(0, 130);
    for (Storage a : kAllStorages) {
      for (Storage b : kAllStorages) {
        const TypedBuffer x = RandomValues(random, RandomFormat(random, a), n);
        TypedBuffer y(RandomFormat(random, b), n);
        for (CpuIsa isa : TestedIsas()) {
          Convert(x.data(), x.format, y.data(), y.format, n, gangs[1 + seed % 3], isa);
          for (int64_t i = 0; i < n; ++i) ASSERT_TRUE(Rounded(y, i, x[i], std::fabs(x[i]) * 0x1p-23)) << CpuIsaName(isa);
        }
      }
    }
  }
}

TEST(Convert, RoundsTiesToEvenAndKeepsSpecialValues) {
  Gang gang;
  const uint32_t bits[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0xff800000, 0x7f800001, 0xffffffff, 0x80000000};
  const uint16_t want[] = {0x3f80, 0x3f82, 0x3f81, 0x7f80, 0xff80, 0, 0, 0x8000};
  for (CpuIsa isa : TestedIsas()) {
    for (int64_t n : {8, 3}) {
      uint16_t y[8] = {};
      Convert(bits, {}, y, {Storage::kBf16}, n, gang, isa);
      for (int64_t i = 0; i < n; ++i) {
        if (i == 5 || i == 6) {
          EXPECT_TRUE((y[i] & 0x7f80) == 0x7f80 && (y[i] & 0x40)) << "NaN must be quiet";
        } else {
          EXPECT_EQ(y[i], want[i]) << i;
        }
      }
    }
    const float x[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, kNan, kInf, -kInf, 1e30f, -1e30f, 300, 0, 7, 8, 9, 10, 11, 12, 13, 14};
    const int codes[] = {10, 12, 12, 10, 8, 10, 200, 3, 200, 3, 200, 10, 17, 18, 19, 20, 21, 22, 23, 24};
    uint8_t q[20];
    Convert(x, {}, q, {Storage::kU8, 1, 10, 3, 200}, 20, gang, isa);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(q[i], codes[i]) << i << " " << CpuIsaName(isa);
  }
}

TEST(TypedUnary, AgreesWithDoublePrecision) {
  Gangs gangs;
  struct Case {
    UnaryOp op;
    double (*reference)(double);
  };
  const Case cases[] = {{UnaryOp::k_relu, [](double x) { return x < 0 ? 0 : x; }},
                        {UnaryOp::k_clip, [](double x) { return std::clamp(x, -0.25, 0.5); }},
                        {UnaryOp::k_tanh, [](double x) { return std::tanh(x); }},
                        {UnaryOp::k_gelu_erf, [](double x) { return x * 0.5 * std::erfc(-x * M_SQRT1_2); }},
                        {UnaryOp::k_sin, [](double x) { return std::sin(x); }}};
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t n = random.OneIn(4) ? random.Int(2000, 40000) : random.Int(0, 70);
    const Case& c = cases[seed % 5];
    for (Storage a : kAllStorages) {
      for (Storage b : kAllStorages) {
        const TypedBuffer x = RandomValues(random, RandomFormat(random, a), n);
        TypedBuffer y(RandomFormat(random, b), n);
        for (CpuIsa isa : TestedIsas()) {
          Unary(c.op, x.data(), x.format, y.data(), y.format, n, -0.25f, 0.5f, gangs[1 + seed % 3], isa);
          for (int64_t i = 0; i < n; ++i) ASSERT_TRUE(Rounded(y, i, c.reference(x[i]), 2e-6)) << CpuIsaName(isa);
        }
      }
    }
  }
}

TEST(TypedBinary, AgreesWithDoublePrecisionUnderBroadcasting) {
  Gangs gangs;
  struct Case {
    BinaryOp op;
    double (*reference)(double, double);
  };
  const Case cases[] = {{BinaryOp::k_add, [](double a, double b) { return a + b; }},
                        {BinaryOp::k_mul, [](double a, double b) { return a * b; }},
                        {BinaryOp::k_sub, [](double a, double b) { return a - b; }},
                        {BinaryOp::k_max, [](double a, double b) { return std::max(a, b); }}};
  const std::vector<std::vector<int64_t>> shapes[] = {
      {{3, 5, 37}, {3, 5, 37}, {3, 5, 37}}, {{4, 700, 24}, {4, 700, 24}, {24}},   {{9, 130}, {9, 130}, {130}},
      {{2, 6, 33}, {2, 6, 33}, {2, 1, 33}}, {{2, 6, 3000}, {2, 6, 3000}, {1}},    {{2, 6, 3000}, {1}, {2, 6, 3000}},
      {{5, 17}, {5, 1}, {1, 17}},           {{40, 1100}, {40, 1100}, {40, 1100}}, {{3, 2}, {1}, {1}}};
  const Activation activations[] = {{}, {ActivationKind::kRelu}, {ActivationKind::kClip, -0.5f, 0.75f}, {ActivationKind::kTanh}};
  for (uint32_t seed = 0; seed < 27; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Case& c = cases[seed % 4];
    const auto& dims = shapes[seed % std::size(shapes)];
    const Activation& activation = activations[random.Int(0, 3)];
    const LoopNest loops = MakeLoopNest(dims[0], {dims[1], dims[2]});
    for (int combination = 0; combination < 27; ++combination) {
      const Storage sa = kAllStorages[combination % 3], sb = kAllStorages[combination / 3 % 3], sy = kAllStorages[combination / 9];
      const TypedBuffer a = RandomValues(random, RandomFormat(random, sa), NumElements(dims[1]));
      const TypedBuffer b = RandomValues(random, RandomFormat(random, sb), NumElements(dims[2]));
      TypedBuffer y(RandomFormat(random, sy), NumElements(dims[0]));
      for (CpuIsa isa : TestedIsas()) {
        Binary(c.op, loops, a.data(), a.format, b.data(), b.format, y.data(), y.format, activation, gangs[1 + seed % 3], isa);
        ForEachRun(loops, 0, loops.size, [&](int64_t at, int64_t n, const int64_t* offsets) {
          for (int64_t i = 0; i < n; ++i) {
            const double u = a[offsets[0] + i * loops.strides[0][loops.rank - 1]];
            const double v = b[offsets[1] + i * loops.strides[1][loops.rank - 1]];
            float want = static_cast<float>(c.reference(u, v));
            ApplyActivationReference(activation, &want, &want, 1);
            ASSERT_TRUE(Rounded(y, at + i, want, (std::fabs(u) + std::fabs(v) + std::fabs(u * v)) * 0x1p-21 + 1e-6)) << CpuIsaName(isa);
          }
        });
      }
    }
  }
}

TEST(TypedBinary, ScalesCodesByChannels) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t images = random.Int(1, 3), rows = random.OneIn(4) ? random.Int(100, 400) : random.Int(2, 20);
    const int64_t channels = random.OneIn(4) ? random.Int(200, 5000) : random.Int(1, 200);
    const LoopNest loops = MakeLoopNest(std::vector<int64_t>{images, rows, channels},
                                        {std::vector<int64_t>{images, rows, channels}, std::vector<int64_t>{images, 1, channels}});
    const TypedBuffer a = RandomValues(random, RandomFormat(random, Storage::kU8), images * rows * channels);
    TypedBuffer b = RandomValues(random, RandomFormat(random, kAllStorages[seed % 3]), images * channels);
    const bool infinite = b.format.storage == Storage::kF32 && random.OneIn(2);
    if (infinite) reinterpret_cast<float*>(b.bytes.data())[b.size - 1] = random.OneIn(2) ? kInf : 1e30f;
    for (CpuIsa isa : TestedIsas()) {
      TypedBuffer y(RandomFormat(random, Storage::kU8), a.size);
      const bool in_place = random.OneIn(2);
      if (in_place) y.bytes = a.bytes;
      Binary(BinaryOp::k_mul, loops, in_place ? y.data() : a.data(), a.format, b.data(), b.format, y.data(), y.format, {},
             gangs[1 + seed % 3], isa);
      for (int64_t i = 0; i < y.size; ++i) {
        const double want = a[i] * b[i / channels / rows * channels + i % channels];
        ASSERT_TRUE(Rounded(y, i, want, std::fabs(want) * 0x1p-21)) << i << " " << CpuIsaName(isa);
      }
    }
  }
}

TEST(TypedBinary, WritesOverAnOperand) {
  Gang gang;
  Random random(1);
  for (Storage s : kAllStorages) {
    const Format f = RandomFormat(random, s);
    const TypedBuffer a = RandomValues(random, f, 5000), b = RandomValues(random, f, 5000);
    const int64_t dims[] = {5000};
    for (BinaryOp op : {BinaryOp::k_add, BinaryOp::k_sub}) {
      TypedBuffer y(f, 5000), in_place = b;
      Binary(op, MakeLoopNest(dims, {dims, dims}), a.data(), f, b.data(), f, y.data(), f, {}, gang);
      Binary(op, MakeLoopNest(dims, {dims, dims}), a.data(), f, in_place.data(), f, in_place.data(), f, {}, gang);
      EXPECT_TRUE(std::equal(y.bytes.begin(), y.bytes.end(), in_place.bytes.begin()));
    }
  }
}

}  // namespace
}  // namespace tfengine::cpu
