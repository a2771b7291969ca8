// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"
#include "base/status_macros.h"

namespace tfengine::ref {
namespace {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSqrtTwoOverPi = 0.79788456080286535588;

double Clip(double x, double lo, double hi) { return std::isnan(x) ? x : std::min(std::max(x, lo), hi); }

double Sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

// Integers take only the kinds that inference lets through.
template <typename W>
W ApplyInteger(UnaryKind kind, W x, double alpha, double beta) {
  switch (kind) {
    case UnaryKind::k_abs: return x < 0 ? Minus<W>(0, x) : x;
    case UnaryKind::k_neg: return Minus<W>(0, x);
    case UnaryKind::k_square: return TimesOf(x, x);
    case UnaryKind::k_sign: return x > 0 ? W(1) : x < 0 ? W(-1) : W(0);
    case UnaryKind::k_relu: return std::max<W>(x, 0);
    case UnaryKind::k_relu6: return std::min<W>(std::max<W>(x, 0), 6);
    case UnaryKind::k_clip: {
      // Compared as doubles only where the bound is outside of W.
      const double least = static_cast<double>(std::numeric_limits<W>::min());
      const double most = static_cast<double>(std::numeric_limits<W>::max());
      if (alpha > least) x = std::max(x, alpha >= most ? std::numeric_limits<W>::max() : static_cast<W>(alpha));
      if (beta < most) x = std::min(x, beta <= least ? std::numeric_limits<W>::min() : static_cast<W>(beta));
      return x;
    }
    default: return x;  // floor, ceil, round
  }
}

double FloorMod(double x, double y) {
  const double r = std::fmod(x, y);
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

double ApplyBinary(BinaryKind kind, double x, double y) {
  switch (kind) {
    case BinaryKind::k_add: return x + y;
    case BinaryKind::k_sub: return x - y;
    case BinaryKind::k_mul: return x * y;
    case BinaryKind::k_div: return x / y;
    case BinaryKind::k_floor_mod: return FloorMod(x, y);
    case BinaryKind::k_truncate_mod: return std::fmod(x, y);
    case BinaryKind::k_div_no_nan: return y == 0 ? 0 : x / y;
    case BinaryKind::k_mul_no_nan: return y == 0 ? 0 : x * y;
    case BinaryKind::k_pow: return std::pow(x, y);
    case BinaryKind::k_min: return std::isnan(x) || std::isnan(y) ? x + y : std::min(x, y);
    case BinaryKind::k_max: return std::isnan(x) || std::isnan(y) ? x + y : std::max(x, y);
    case BinaryKind::k_squared_difference: return (x - y) * (x - y);
    case BinaryKind::k_atan2: return std::atan2(x, y);
    default: return 0;  // floor_div, which needs the element type, and comparisons are elsewhere
  }
}

template <typename W>
W IntegerPower(W base, W exponent) {
  W result = 1;
  for (uint64_t e = static_cast<uint64_t>(exponent); e > 0; e >>= 1) {
    if (e & 1) result = TimesOf(result, base);
    base = TimesOf(base, base);
  }
  return result;
}

bool Divides(BinaryKind kind) {
  return kind == BinaryKind::k_div || kind == BinaryKind::k_floor_div || kind == BinaryKind::k_floor_mod ||
         kind == BinaryKind::k_truncate_mod;
}

// y != 0 for divisions, y >= 0 for pow.
template <typename W>
W ApplyBinary(BinaryKind kind, W x, W y) {
  if constexpr (std::is_signed_v<W>)
    if (y == -1 && Divides(kind))  // INT64_MIN / -1 must not trap
      return kind == BinaryKind::k_div || kind == BinaryKind::k_floor_div ? Minus<W>(0, x) : 0;
  switch (kind) {
    case BinaryKind::k_add: return Plus(x, y);
    case BinaryKind::k_sub: return Minus(x, y);
    case BinaryKind::k_mul: return TimesOf(x, y);
    case BinaryKind::k_div: return x / y;
    case BinaryKind::k_floor_div: return x / y - (x % y != 0 && (x < 0) != (y < 0) ? 1 : 0);
    case BinaryKind::k_floor_mod: return x % y != 0 && (x < 0) != (y < 0) ? x % y + y : x % y;
    case BinaryKind::k_truncate_mod: return x % y;
    case BinaryKind::k_pow: return IntegerPower(x, y);
    case BinaryKind::k_min: return std::min(x, y);
    case BinaryKind::k_max: return std::max(x, y);
    case BinaryKind::k_squared_difference: return TimesOf(Minus(x, y), Minus(x, y));
    default: return 0;
  }
}

template <typename W>
bool Compare(BinaryKind kind, W x, W y) {
  switch (kind) {
    case BinaryKind::k_equal: return x == y;
    case BinaryKind::k_not_equal: return x != y;
    case BinaryKind::k_less: return x < y;
    case BinaryKind::k_less_equal: return x <= y;
    case BinaryKind::k_greater: return x > y;
    case BinaryKind::k_greater_equal: return x >= y;
    case BinaryKind::k_logical_and: return x != 0 && y != 0;
    default: return x != 0 || y != 0;
  }
}

// Calls fn(offset in out, offset in a, offset in b).
template <typename F>
void ForEachPair(const Tensor& a, const Tensor& b, const std::vector<int64_t>& shape, F&& fn) {
  const auto sa = BroadcastStrides(a.shape(), shape), sb = BroadcastStrides(b.shape(), shape);
  int64_t i = 0;
  ForEachIndex(shape, [&](const std::vector<int64_t>& index) { fn(i++, Offset(index, sa), Offset(index, sb)); });
}

template <typename W>
Status CheckDivisors(BinaryKind kind, const std::vector<W>& divisors) {
  for (W v : divisors) {
    if (v == 0 && Divides(kind)) return Error(ErrorId::kArithmetic, "integer division by zero");
    if (v < 0 && kind == BinaryKind::k_pow) return Error(ErrorId::kArithmetic, "integer to a negative power");
  }
  return OkStatus();
}

// x86 conversion of a double: values that do not fit give the lowest number of the instruction's result type.
int64_t ToInt64(double v) {
  return v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? static_cast<int64_t>(v) : INT64_MIN;
}
int32_t ToInt32(double v) {
  return v > -2147483649.0 && v < 2147483648.0 ? static_cast<int32_t>(v) : INT32_MIN;
}
uint64_t ToUint64(double v) {
  const int64_t low = ToInt64(v);
  return static_cast<uint64_t>(low < 0 ? low | ToInt64(v - 9223372036854775808.0) : low);
}

template <typename T>
T CastFloat(double v) {
  if constexpr (std::is_same_v<T, bool> || std::is_floating_point_v<T> || std::is_same_v<T, Half> ||
                std::is_same_v<T, Bfloat16> || std::is_same_v<T, Float8>) {
    return Narrow<T>(v);
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return ToUint64(v);
  } else if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, uint32_t>) {
    return static_cast<T>(ToInt64(v));
  } else {
    return static_cast<T>(ToInt32(v));
  }
}

// Integers become 16-bit floats by way of f32, as in TensorFlow.
template <typename T, typename W>
T CastInteger(W v) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bfloat16>) {
    return T::From(static_cast<float>(v));
  } else {
    return Narrow<T>(v);
  }
}

}  // namespace

Activation::Activation(const Attrs& attrs) : alpha(attrs.Float("alpha")), beta(attrs.Float("beta")) {
  TFE_CHECK(ParseKind(attrs.Str("act", "none"), &kind));
}

double ApplyUnary(UnaryKind kind, double x, double alpha, double beta) {
  switch (kind) {
    case UnaryKind::k_none: return x;
    case UnaryKind::k_abs: return std::fabs(x);
    case UnaryKind::k_neg: return -x;
    case UnaryKind::k_exp: return std::exp(x);
    case UnaryKind::k_expm1: return std::expm1(x);
    case UnaryKind::k_log: return std::log(x);
    case UnaryKind::k_log1p: return std::log1p(x);
    case UnaryKind::k_sqrt: return std::sqrt(x);
    case UnaryKind::k_rsqrt: return 1 / std::sqrt(x);
    case UnaryKind::k_square: return x * x;
    case UnaryKind::k_reciprocal: return 1 / x;
    case UnaryKind::k_sin: return std::sin(x);
    case UnaryKind::k_cos: return std::cos(x);
    case UnaryKind::k_tan: return std::tan(x);
    case UnaryKind::k_asin: return std::asin(x);
    case UnaryKind::k_acos: return std::acos(x);
    case UnaryKind::k_atan: return std::atan(x);
    case UnaryKind::k_sinh: return std::sinh(x);
    case UnaryKind::k_cosh: return std::cosh(x);
    case UnaryKind::k_asinh: return std::asinh(x);
    case UnaryKind::k_acosh: return std::acosh(x);
    case UnaryKind::k_atanh: return std::atanh(x);
    case UnaryKind::k_tanh: return std::tanh(x);
    case UnaryKind::k_sigmoid: return Sigmoid(x);
    case UnaryKind::k_erf: return std::erf(x);
    case UnaryKind::k_erfc: return std::erfc(x);
    case UnaryKind::k_relu: return x < 0 ? 0 : x;
    case UnaryKind::k_relu6: return Clip(x, 0, 6);
    case UnaryKind::k_leaky_relu: return x > 0 ? x : alpha * x;
    case UnaryKind::k_elu: return x < 0 ? alpha * std::expm1(x) : x;
    case UnaryKind::k_selu:
      return 1.0507009873554804934193349852946 *
             (x < 0 ? 1.6732632423543772848170429916717 * std::expm1(x) : x);
    case UnaryKind::k_softplus: return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case UnaryKind::k_softsign: return x / (1 + std::fabs(x));
    case UnaryKind::k_silu: return x * Sigmoid(x);
    case UnaryKind::k_gelu_erf: return 0.5 * x * std::erfc(-x * kSqrtHalf);
    case UnaryKind::k_gelu_tanh: return 0.5 * x * (1 + std::tanh(kSqrtTwoOverPi * (x + 0.044715 * x * x * x)));
    case UnaryKind::k_hard_swish: return x * Clip(x + 3, 0, 6) / 6;
    case UnaryKind::k_hard_sigmoid: return Clip(x + 3, 0, 6) / 6;
    case UnaryKind::k_clip: return Clip(x, alpha, beta);
    case UnaryKind::k_floor: return std::floor(x);
    case UnaryKind::k_ceil: return std::ceil(x);
    case UnaryKind::k_round: return std::nearbyint(x);
    case UnaryKind::k_sign: return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x;
    case UnaryKind::k_is_nan: return std::isnan(x);
    case UnaryKind::k_is_inf: return std::isinf(x);
    case UnaryKind::k_is_finite: return std::isfinite(x);
    case UnaryKind::k_logical_not: return x == 0;
  }
  return x;
}

Status RunUnary(const Call& c) {
  UnaryKind kind;
  TFE_CHECK(ParseKind(c.attrs.Str("kind"), &kind));
  const double alpha = c.attrs.Float("alpha"), beta = c.attrs.Float("beta");
  WithWideType(c.in(0).dtype(), [&](auto tag) {
    using W = decltype(tag);
    std::vector<W> x = Read<W>(c.in(0));
    for (W& v : x) {
      if constexpr (std::is_same_v<W, double>) {
        v = ApplyUnary(kind, v, alpha, beta);
      } else {
        v = kind == UnaryKind::k_logical_not ? W(v == 0) : ApplyInteger(kind, v, alpha, beta);
      }
    }
    Write(x, c.out());
  });
  return OkStatus();
}

Status RunBinary(const Call& c) {
  BinaryKind kind;
  TFE_CHECK(ParseKind(c.attrs.Str("kind"), &kind));
  const Activation act(c.attrs);
  const DType dtype = c.in(0).dtype();
  return WithWideType(dtype, [&](auto tag) -> Status {
    using W = decltype(tag);
    const std::vector<W> a = Read<W>(c.in(0)), b = Read<W>(c.in(1));
    const std::vector<int64_t>& shape = c.out()->shape();
    if (IsPredicate(kind)) {
      bool* out = c.out()->template mutable_as<bool>();
      ForEachPair(c.in(0), c.in(1), shape,
                  [&](int64_t i, int64_t ia, int64_t ib) { out[i] = Compare(kind, a[ia], b[ib]); });
      return OkStatus();
    }
    std::vector<W> out(static_cast<size_t>(c.out()->num_elements()));
    if constexpr (std::is_same_v<W, double>) {
      if (kind == BinaryKind::k_floor_div) {
        // The quotient is rounded to the element type before the floor.
        ForEachPair(c.in(0), c.in(1), shape, [&](int64_t i, int64_t ia, int64_t ib) { out[i] = a[ia] / b[ib]; });
        Write(out, c.out());
        out = Read<W>(*c.out());
        for (W& v : out) v = act(std::floor(v));
        Write(out, c.out());
        return OkStatus();
      }
    } else if (!out.empty()) {
      TFE_RETURN_IF_ERROR(CheckDivisors(kind, b));
    }
    ForEachPair(c.in(0), c.in(1), shape,
                [&](int64_t i, int64_t ia, int64_t ib) { out[i] = act(ApplyBinary(kind, a[ia], b[ib])); });
    Write(out, c.out());
    return OkStatus();
  });
}

Status RunSelect(const Call& c) {
  const std::vector<int64_t>& shape = c.out()->shape();
  const size_t size = DTypeSize(c.out()->dtype());
  const auto strides = BroadcastStrides(c.in(0).shape(), shape);
  const auto sa = BroadcastStrides(c.in(1).shape(), shape), sb = BroadcastStrides(c.in(2).shape(), shape);
  char* out = c.out()->mutable_as<char>();
  ForEachIndex(shape, [&](const std::vector<int64_t>& index) {
    const bool cond = c.in(0).as<bool>()[Offset(index, strides)];
    const char* from = cond ? c.in(1).as<char>() + Offset(index, sa) * size : c.in(2).as<char>() + Offset(index, sb) * size;
    std::memcpy(out, from, size);
    out += size;
  });
  return OkStatus();
}

Status RunCast(const Call& c) {
  WithElementType(c.out()->dtype(), [&](auto to) {
    using T = decltype(to);
    T* out = c.out()->mutable_as<T>();
    WithWideType(c.in(0).dtype(), [&](auto from) {
      using W = decltype(from);
      for (W v : Read<W>(c.in(0))) {
        if constexpr (std::is_same_v<W, double>) {
          *out++ = CastFloat<T>(v);
        } else {
          *out++ = CastInteger<T>(v);
        }
      }
    });
  });
  return OkStatus();
}

}  // namespace tfengine::ref
