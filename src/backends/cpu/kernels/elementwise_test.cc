// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "backends/cpu/kernels/binary.h"
#include "backends/cpu/kernels/select.h"
#include "backends/cpu/kernels/test_util.h"
#include "backends/cpu/kernels/unary.h"

namespace tfengine::cpu {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double Clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

// Each op in double precision, with the interval to test and the error allowed: `ulp` of the result plus `absolute`.
struct UnaryCase {
  UnaryOp op;
  const char* name;
  double (*reference)(double);
  float low, high;
  double ulp, absolute;
};
const UnaryCase kUnaryCases[] = {
    {UnaryOp::k_abs, "abs", [](double x) { return std::fabs(x); }, -50, 50, 0, 0},
    {UnaryOp::k_neg, "neg", [](double x) { return -x; }, -50, 50, 0, 0},
    {UnaryOp::k_exp, "exp", [](double x) { return std::exp(x); }, -104, 88.7f, 4, 2e-45},
    {UnaryOp::k_expm1, "expm1", [](double x) { return std::expm1(x); }, -20, 80, 4, 0},
    {UnaryOp::k_log, "log", [](double x) { return std::log(x); }, 1e-6f, 100, 4, 0},
    {UnaryOp::k_log1p, "log1p", [](double x) { return std::log1p(x); }, -0.99f, 100, 2, 0},
    {UnaryOp::k_sqrt, "sqrt", [](double x) { return std::sqrt(x); }, 0, 1e6f, 1, 0},
    {UnaryOp::k_rsqrt, "rsqrt", [](double x) { return 1 / std::sqrt(x); }, 1e-6f, 1e6f, 2, 0},
    {UnaryOp::k_square, "square", [](double x) { return x * x; }, -100, 100, 1, 0},
    {UnaryOp::k_reciprocal, "reciprocal", [](double x) { return 1 / x; }, -100, 100, 1, 0},
    {UnaryOp::k_sin, "sin", [](double x) { return std::sin(x); }, -100, 100, 2, 0},
    {UnaryOp::k_cos, "cos", [](double x) { return std::cos(x); }, -100, 100, 2, 0},
    {UnaryOp::k_tan, "tan", [](double x) { return std::tan(x); }, -1.5f, 1.5f, 2, 0},
    {UnaryOp::k_asin, "asin", [](double x) { return std::asin(x); }, -1, 1, 2, 0},
    {UnaryOp::k_acos, "acos", [](double x) { return std::acos(x); }, -1, 1, 2, 0},
    {UnaryOp::k_atan, "atan", [](double x) { return std::atan(x); }, -10, 10, 2, 0},
    {UnaryOp::k_sinh, "sinh", [](double x) { return std::sinh(x); }, -10, 10, 4, 0},
    {UnaryOp::k_cosh, "cosh", [](double x) { return std::cosh(x); }, -10, 10, 4, 0},
    {UnaryOp::k_asinh, "asinh", [](double x) { return std::asinh(x); }, -10, 10, 4, 0},
    {UnaryOp::k_acosh, "acosh", [](double x) { return std::acosh(x); }, 1, 10, 4, 0},
    {UnaryOp::k_atanh, "atanh", [](double x) { return std::atanh(x); }, -0.99f, 0.99f, 4, 0},
    {UnaryOp::k_tanh, "tanh", [](double x) { return std::tanh(x); }, -12, 12, 4, 0},
    {UnaryOp::k_sigmoid, "sigmoid", [](double x) { return Sigmoid(x); }, -80, 80, 4, 0},
    {UnaryOp::k_erf, "erf", [](double x) { return std::erf(x); }, -5, 5, 4, 0},
    {UnaryOp::k_erfc, "erfc", [](double x) { return std::erfc(x); }, -5, 9, 10, 0},
    {UnaryOp::k_relu, "relu", [](double x) { return x < 0 ? 0 : x; }, -5, 5, 0, 0},
    {UnaryOp::k_relu6, "relu6", [](double x) { return Clamp(x, 0, 6); }, -5, 10, 0, 0},
    {UnaryOp::k_leaky_relu, "leaky_relu", [](double x) { return x < 0 ? 0.25 * x : x; }, -5, 5, 1, 0},
    {UnaryOp::k_elu, "elu", [](double x) { return x < 0 ? 0.25 * std::expm1(x) : x; }, -20, 5, 4, 0},
    {UnaryOp::k_selu, "selu",
     [](double x) { return 1.0507009873554804934 * (x < 0 ? 1.6732632423543772848 * std::expm1(x) : x); }, -20, 5, 5, 0},
    {UnaryOp::k_softplus, "softplus", [](double x) { return std::log1p(std::exp(x)); }, -80, 80, 6, 0},
    {UnaryOp::k_softsign, "softsign", [](double x) { return x / (1 + std::fabs(x)); }, -80, 80, 2, 0},
    {UnaryOp::k_silu, "silu", [](double x) { return x * Sigmoid(x); }, -80, 80, 5, 0},
    {UnaryOp::k_gelu_erf, "gelu_erf", [](double x) { return x * 0.5 * std::erfc(-x * M_SQRT1_2); }, -8, 8, 10, 1e-12},
    {UnaryOp::k_gelu_tanh, "gelu_tanh",
     [](double x) { return x * Sigmoid(2 * std::sqrt(M_2_PI) * (x + 0.044715 * x * x * x)); }, -8, 8, 8, 1e-8},
    {UnaryOp::k_hard_swish, "hard_swish", [](double x) { return x * Clamp(x + 3, 0, 6) / 6; }, -5, 5, 4, 1e-7},
    {UnaryOp::k_hard_sigmoid, "hard_sigmoid", [](double x) { return Clamp(x + 3, 0, 6) / 6; }, -5, 5, 2, 1e-7},
    {UnaryOp::k_clip, "clip", [](double x) { return Clamp(x, 0.25, 0.75); }, -2, 2, 0, 0},
    {UnaryOp::k_floor, "floor", [](double x) { return std::floor(x); }, -50, 50, 0, 0},
    {UnaryOp::k_ceil, "ceil", [](double x) { return std::ceil(x); }, -50, 50, 0, 0},
    {UnaryOp::k_round, "round", [](double x) { return std::nearbyint(x); }, -50, 50, 0, 0},
    {UnaryOp::k_sign, "sign", [](double x) { return static_cast<double>((x > 0) - (x < 0)); }, -5, 5, 0, 0},
};

double Ulp(double value) {
  const float v = std::fabs(static_cast<float>(value));
  return std::nextafter(v, kInf) - v;
}

TEST(Unary, IsWithinItsErrorBoundOnEveryInstructionSet) {
  Gangs gangs;
  Random random(1);
  for (const UnaryCase& c : kUnaryCases) {
    for (CpuIsa isa : TestedIsas()) {
      const int64_t n = 40000 + random.Int(0, 40);
      Buffer<float> x = random.Floats(n, c.low, c.high), y(n);
      for (int64_t i = 0; i < n / 4; ++i) x[i] *= 1e-3f, x[i] = std::clamp(x[i], c.low, c.high);
      Unary(c.op, x.data(), y.data(), n, 0.25f, 0.75f, gangs[1 + n % 3], isa);
      // Without fused multiply-add an operation more is rounded here and there, among them the square in exp(-x^2).
      const double plain = isa == CpuIsa::kPortable ? 1 : 0;
      const bool squares = c.op == UnaryOp::k_erfc || c.op == UnaryOp::k_gelu_erf;
      for (int64_t i = 0; i < n; ++i) {
        const double want = c.reference(x[i]);
        const double ulp = c.ulp * (1 + 0.5 * plain) + (squares ? 2 * plain * x[i] * x[i] : 0);
        ASSERT_TRUE(Close(y[i], want, ulp * Ulp(want) + c.absolute)) << c.name << "(" << x[i] << ") on " << CpuIsaName(isa);
      }
    }
  }
}

TEST(Unary, PassesOnNanAndGivesTheLimitsAtInfinity) {
  Gang gang;
  struct {
    UnaryOp op;
    float at_minus_inf, at_inf;
  } cases[] = {{UnaryOp::k_relu, 0, kInf},        {UnaryOp::k_relu6, 0, 6},     {UnaryOp::k_leaky_relu, -kInf, kInf},
               {UnaryOp::k_elu, -0.25f, kInf},    {UnaryOp::k_selu, -1.7580993f, kInf}, {UnaryOp::k_softplus, 0, kInf},
               {UnaryOp::k_softsign, kNan, kNan}, {UnaryOp::k_sign, -1, 1},     {UnaryOp::k_sigmoid, 0, 1},
               {UnaryOp::k_tanh, -1, 1},          {UnaryOp::k_erf, -1, 1},      {UnaryOp::k_erfc, 2, 0},
               {UnaryOp::k_exp, 0, kInf},         {UnaryOp::k_expm1, -1, kInf}, {UnaryOp::k_log, kNan, kInf},
               {UnaryOp::k_log1p, kNan, kInf},    {UnaryOp::k_rsqrt, kNan, 0},  {UnaryOp::k_sqrt, kNan, kInf},
               {UnaryOp::k_clip, 0.25f, 0.75f},   {UnaryOp::k_floor, -kInf, kInf}, {UnaryOp::k_ceil, -kInf, kInf},
               {UnaryOp::k_round, -kInf, kInf},   {UnaryOp::k_gelu_erf, kNan, kInf}, {UnaryOp::k_silu, kNan, kInf}};
  for (CpuIsa isa : TestedIsas()) {
    for (const auto& c : cases) {
      const float x[] = {kNan, -kInf, kInf};
      float y[3];
      Unary(c.op, x, y, 3, 0.25f, 0.75f, gang, isa);
      EXPECT_TRUE(std::isnan(y[0])) << static_cast<int>(c.op) << " " << CpuIsaName(isa);
      // x * 0 at minus infinity: TensorFlow's composed forms give NaN, fused ones 0.
      if (!std::isnan(c.at_minus_inf)) {
        EXPECT_FLOAT_EQ(y[1], c.at_minus_inf) << static_cast<int>(c.op) << " " << CpuIsaName(isa);
      }
      if (!std::isnan(c.at_inf)) {
        EXPECT_FLOAT_EQ(y[2], c.at_inf) << static_cast<int>(c.op) << " " << CpuIsaName(isa);
      }
    }
    const float x[] = {0.0f, -0.0f, -1.0f};
    float y[3];
    Unary(UnaryOp::k_log, x, y, 3, 0, 0, gang, isa);
    EXPECT_EQ(y[0], -kInf);
    EXPECT_EQ(y[1], -kInf);
    EXPECT_TRUE(std::isnan(y[2]));
    Unary(UnaryOp::k_rsqrt, x, y, 2, 0, 0, gang, isa);
    EXPECT_EQ(y[0], kInf);
    EXPECT_EQ(y[1], -kInf);
    const float halves[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1e30f, 8388609.0f};
    float rounded[7];
    Unary(UnaryOp::k_round, halves, rounded, 7, 0, 0, gang, isa);
    EXPECT_THAT(rounded, testing::ElementsAre(0, 2, 2, 0, -2, 1e30f, 8388609.0f));
  }
}

TEST(Unary, TestsForNanAndInfinity) {
  Gang gang;
  const float x[] = {kNan, kInf, -kInf, 0, 3e38f, -1};
  bool y[6];
  for (CpuIsa isa : TestedIsas()) {
    Unary(UnaryTest::k_is_nan, x, y, 6, gang, isa);
    EXPECT_THAT(y, testing::ElementsAre(true, false, false, false, false, false));
    Unary(UnaryTest::k_is_inf, x, y, 6, gang, isa);
    EXPECT_THAT(y, testing::ElementsAre(false, true, true, false, false, false));
    Unary(UnaryTest::k_is_finite, x, y, 6, gang, isa);
    EXPECT_THAT(y, testing::ElementsAre(false, false, false, true, true, true));
  }
  LogicalNot(y, y, 6, gang);
  EXPECT_THAT(y, testing::ElementsAre(true, true, true, false, false, false));
}

double Reference(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::k_add: return a + b;
    case BinaryOp::k_sub: return a - b;
    case BinaryOp::k_mul: return a * b;
    case BinaryOp::k_div: return a / b;
    case BinaryOp::k_floor_div: return std::floor(static_cast<float>(a) / static_cast<float>(b));
    case BinaryOp::k_floor_mod: {
      double r = std::fmod(a, b);
      return r != 0 && (b < 0) != (r < 0) ? static_cast<float>(r) + static_cast<float>(b) : r;
    }
    case BinaryOp::k_truncate_mod: return std::fmod(a, b);
    case BinaryOp::k_div_no_nan: return b == 0 ? 0 : a / b;
    case BinaryOp::k_mul_no_nan: return b == 0 ? 0 : a * b;
    case BinaryOp::k_pow: return std::pow(a, b);
    case BinaryOp::k_min: return std::isnan(a) || std::isnan(b) ? kNan : std::min(a, b);
    case BinaryOp::k_max: return std::isnan(a) || std::isnan(b) ? kNan : std::max(a, b);
    case BinaryOp::k_squared_difference: return (a - b) * (a - b);
    case BinaryOp::k_atan2: return std::atan2(a, b);
  }
  return 0;
}

struct Shapes {
  std::vector<int64_t> result, operands[3];
};

// A random result shape, and shapes that broadcast to it.
Shapes RandomShapes(Random& random) {
  Shapes s;
  const int rank = static_cast<int>(random.Int(0, 6));
  for (int d = 0; d < rank; ++d) s.result.push_back(random.OneIn(12) ? 0 : random.OneIn(4) ? 1 : random.Int(1, 5));
  if (rank > 0 && random.OneIn(3)) s.result.back() = random.Int(10, 150);
  if (rank > 1 && random.OneIn(6)) s.result[0] = random.Int(50, 100);
  for (auto& operand : s.operands) {
    const int64_t skipped = random.OneIn(2) ? 0 : random.Int(0, rank);
    for (int64_t d = skipped; d < rank; ++d) operand.push_back(random.OneIn(3) ? 1 : s.result[d]);
    if (random.OneIn(3)) operand = s.result;
  }
  return s;
}

int64_t At(const Shapes& s, int operand, int64_t index) {
  const auto& shape = s.operands[operand];
  int64_t at = 0, stride = 1;
  for (int64_t d = static_cast<int64_t>(s.result.size()) - 1, k = static_cast<int64_t>(shape.size()) - 1; k >= 0; --d, --k) {
    if (shape[k] != 1) at += index % s.result[d] * stride;
    stride *= shape[k];
    index /= s.result[d];
  }
  return at;
}

TEST(Binary, AgreesWithNaiveBroadcastingOnRandomShapes) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 250; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Shapes s = RandomShapes(random);
    const auto op = static_cast<BinaryOp>(random.Int(0, 13));
    Buffer<float> a = random.Floats(NumElements(s.operands[0]), -3, 3), b = random.Floats(NumElements(s.operands[1]), -3, 3);
    if (op == BinaryOp::k_pow && random.OneIn(2)) std::fill(b.begin(), b.end(), static_cast<float>(random.Int(-1, 3)));
    if (random.OneIn(3)) {
      for (float& v : a) v = random.OneIn(20) ? kNan : random.OneIn(20) ? kInf : random.OneIn(20) ? 0 : v;
      for (float& v : b) v = random.OneIn(20) ? kNan : random.OneIn(20) ? -kInf : random.OneIn(10) ? 0 : v;
    }
    const int64_t n = NumElements(s.result);
    const LoopNest loops = MakeLoopNest(s.result, {s.operands[0], s.operands[1]});
    EXPECT_EQ(loops.size, n);
    Activation activation;
    if (random.OneIn(2)) activation.kind = ActivationKind::kRelu;
    for (CpuIsa isa : TestedIsas()) {
      const bool in_place = s.operands[0] == s.result;
      Buffer<float> y = in_place ? a : Buffer<float>(n, -9.0f);
      Binary(op, loops, in_place ? y.data() : a.data(), b.data(), y.data(), activation, gangs[1 + seed % 3], isa);
      for (int64_t i = 0; i < n; ++i) {
        const double u = a[At(s, 0, i)], v = b[At(s, 1, i)];
        double want = Reference(op, u, v);
        if (activation.kind == ActivationKind::kRelu && want < 0) want = 0;
        ASSERT_TRUE(Close(y[i], want, 4 * Ulp(want))) << "op " << static_cast<int>(op) << " of " << u << ", " << v << " at " << i;
      }
    }
  }
}

TEST(Binary, ComparesAndSelectsWithBroadcasting) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Shapes s = RandomShapes(random);
    const int64_t n = NumElements(s.result);
    Buffer<float> a(NumElements(s.operands[0])), b(NumElements(s.operands[1]));
    for (float& v : a) v = random.OneIn(9) ? kNan : static_cast<float>(random.Int(0, 2));
    for (float& v : b) v = random.OneIn(9) ? kNan : static_cast<float>(random.Int(0, 2));
    const auto op = static_cast<CompareOp>(seed % 6);
    Gang& gang = gangs[1 + seed % 3];
    Buffer<bool> y(n);
    for (CpuIsa isa : TestedIsas()) {
      Compare(op, MakeLoopNest(s.result, {s.operands[0], s.operands[1]}), a.data(), b.data(), y.data(), gang, isa);
      for (int64_t i = 0; i < n; ++i) {
        const float u = a[At(s, 0, i)], v = b[At(s, 1, i)];
        const bool want[] = {u == v, u != v, u < v, u <= v, u > v, u >= v};
        ASSERT_EQ(y[i], want[seed % 6]) << u << " " << v;
      }
    }
    Buffer<bool> p(a.size()), q(b.size());
    for (bool& v : p) v = random.OneIn(2);
    for (bool& v : q) v = random.OneIn(2);
    Logical(static_cast<LogicalOp>(seed % 2), MakeLoopNest(s.result, {s.operands[0], s.operands[1]}), p.data(), q.data(), y.data(), gang);
    for (int64_t i = 0; i < n; ++i) {
      const bool u = p[At(s, 0, i)], v = q[At(s, 1, i)];
      ASSERT_EQ(y[i], seed % 2 ? u || v : u && v);
    }
    auto check_select = [&]<typename T>(T) {
      Buffer<T> yes(NumElements(s.operands[1])), no(NumElements(s.operands[2])), z(n);
      for (T& v : yes) v = static_cast<T>(random.Int(0, 100));
      for (T& v : no) v = static_cast<T>(random.Int(0, 100));
      Select(MakeLoopNest(s.result, {s.operands[0], s.operands[1], s.operands[2]}), p.data(), yes.data(), no.data(), z.data(),
             sizeof(T), gang);
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(z[i], p[At(s, 0, i)] ? yes[At(s, 1, i)] : no[At(s, 2, i)]);
    };
    check_select(uint8_t{});
    check_select(uint16_t{});
    check_select(uint32_t{});
    check_select(uint64_t{});
  }
}

TEST(Binary, AddsManyInputsInPlace) {
  Gangs gangs;
  Random random(5);
  for (int64_t n : {0, 1, 17, 5000, 100000}) {
    Buffer<float> a = random.Floats(n), b = random.Floats(n), c = random.Floats(n), y = c;
    const float* inputs[] = {a.data(), b.data(), y.data()};
    AddN(inputs, y.data(), n, {ActivationKind::kRelu6}, gangs[3]);
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], std::clamp(a[i] + b[i] + c[i], 0.0f, 6.0f));
  }
}

}  // namespace
}  // namespace tfengine::cpu
