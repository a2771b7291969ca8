// SPDX-License-Identifier: Apache-2.0
#include <string_view>

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"
#include "convert/symbolic.h"

namespace tfengine::convert {
namespace {

struct KindRow {
  std::string_view op;
  const char* kind;
};

// TensorFlow op -> UnaryKind.
constexpr KindRow kUnaries[] = {
    {"Abs", "abs"},           {"Acos", "acos"},         {"Acosh", "acosh"},         {"Asin", "asin"},
    {"Asinh", "asinh"},       {"Atan", "atan"},         {"Atanh", "atanh"},         {"Ceil", "ceil"},
    {"Cos", "cos"},           {"Cosh", "cosh"},         {"Elu", "elu"},             {"Erf", "erf"},
    {"Erfc", "erfc"},         {"Exp", "exp"},           {"Expm1", "expm1"},         {"Floor", "floor"},
    {"Inv", "reciprocal"},    {"IsFinite", "is_finite"}, {"IsInf", "is_inf"},       {"IsNan", "is_nan"},
    {"LeakyRelu", "leaky_relu"}, {"Log", "log"},        {"Log1p", "log1p"},         {"LogicalNot", "logical_not"},
    {"Neg", "neg"},           {"Reciprocal", "reciprocal"}, {"Relu", "relu"},       {"Relu6", "relu6"},
    {"Rint", "round"},        {"Round", "round"},       {"Rsqrt", "rsqrt"},         {"Selu", "selu"},
    {"Sigmoid", "sigmoid"},   {"Sign", "sign"},         {"Sin", "sin"},             {"Sinh", "sinh"},
    {"Softplus", "softplus"}, {"Softsign", "softsign"}, {"Sqrt", "sqrt"},           {"Square", "square"},
    {"Tan", "tan"},           {"Tanh", "tanh"}};

// TensorFlow op -> BinaryKind. TensorFlow's Mod truncates, as C does.
constexpr KindRow kBinaries[] = {
    {"Add", "add"},          {"AddV2", "add"},
    {"Atan2", "atan2"},      {"Div", "div"},
    {"DivNoNan", "div_no_nan"}, {"Equal", "equal"},
    {"FloorDiv", "floor_div"}, {"FloorMod", "floor_mod"},
    {"Greater", "greater"},  {"GreaterEqual", "greater_equal"},
    {"Less", "less"},        {"LessEqual", "less_equal"},
    {"LogicalAnd", "logical_and"}, {"LogicalOr", "logical_or"},
    {"Maximum", "max"},      {"Minimum", "min"},
    {"Mod", "truncate_mod"}, {"Mul", "mul"},
    {"MulNoNan", "mul_no_nan"}, {"NotEqual", "not_equal"},
    {"Pow", "pow"},          {"RealDiv", "div"},
    {"SquaredDifference", "squared_difference"}, {"Sub", "sub"},
    {"TruncateDiv", "div"},  {"TruncateMod", "truncate_mod"}};

template <size_t N>
const char* KindOf(const KindRow (&rows)[N], std::string_view op) {
  for (const KindRow& row : rows) {
    if (row.op == op) return row.kind;
  }
  TFE_CHECK(false && "an op of the table of converters has no kind");
  return "";
}

bool IsDivision(std::string_view kind) {
  return kind == "div" || kind == "floor_div" || kind == "floor_mod" || kind == "truncate_mod";
}

}  // namespace

Verdict ConvertUnary(Context& c) {
  const char* kind = KindOf(kUnaries, c.op());
  if (c.op() == "Neg" && c.content(0)) {
    Content negated;
    for (Dim d : *c.content(0)) negated.push_back(c.dims().Sub(0, d));
    return c.SetContent(0, c.shape(), std::move(negated));
  }
  Attrs attrs{{"kind", kind}};
  if (c.op() == "LeakyRelu") attrs.Set("alpha", Attr(static_cast<double>(c.Float("alpha", 0.2f))));
  if (c.op() == "Elu") attrs.Set("alpha", Attr(1.0));
  TFE_LOWER(ValueId y, c.Emit(Op::kUnary, {c.value(0)}, std::move(attrs)));
  return c.Set(0, y);
}

Verdict ConvertBinary(Context& c) {
  const char* kind = KindOf(kBinaries, c.op());
  if (std::optional<SymbolicResult> r = BinaryContent(c, kind)) {
    return c.SetContent(0, std::move(r->shape), std::move(r->content));
  }
  // With incompatible_shape_error=false shapes that do not broadcast give the scalar false (true).
  TFE_REQUIRE(c.Bool("incompatible_shape_error", true) || (IsStatic(c.shape(0)) && IsStatic(c.shape(1))),
              Reason::kAttribute, "incompatible_shape_error=false needs known shapes");
  if (Contains(kInts | kSmallInts, c.dtype()) && IsDivision(kind)) {
    // A division by zero is an error in TensorFlow.
    const TensorInfo& divisor = c.input(1);
    bool safe = divisor.uniform && *divisor.uniform != 0;
    if (divisor.content) {
      safe = true;
      for (Dim d : *divisor.content) safe &= d.is_const() && d.value != 0;
    }
    TFE_REQUIRE(safe, Reason::kNotConstant, "an integer divisor must be constant and not 0");
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kBinary, {c.value(0), c.value(1)}, {{"kind", kind}}));
  return c.Set(0, y);
}

Verdict ConvertAddN(Context& c) {
  TFE_REQUIRE(c.num_inputs() >= 1, Reason::kAttribute, "expected inputs");
  if (c.num_inputs() == 1) return c.Alias(0, 0);
  for (int i = 1; i < c.num_inputs(); ++i) {
    TFE_REQUIRE(c.rank(i) == c.rank(0), Reason::kAttribute, "inputs have different ranks");
    for (int axis = 0; axis < c.rank(0); ++axis) {
      // Nothing is broadcast.
      Dim a = c.shape(0)[axis];
      Dim b = c.shape(i)[axis];
      if (a == b) continue;
      TFE_REQUIRE(!(a.is_const() && b.is_const()), Reason::kAttribute, "inputs 0 and {} have different shapes", i);
      c.network().AddConstraint(a, b);
    }
  }
  ValueId sum = c.value(0);
  for (int i = 1; i < c.num_inputs(); ++i) {
    TFE_LOWER(sum, c.Emit(Op::kBinary, {sum, c.value(i)}, {{"kind", "add"}}));
  }
  return c.Set(0, sum);
}

Verdict ConvertClipByValue(Context& c) {
  std::optional<double> lo = c.ConstScalar(1);
  std::optional<double> hi = c.ConstScalar(2);
  if (c.dtype() == DType::kFloat32 && lo && hi && *lo <= *hi && c.rank(1) == 0 && c.rank(2) == 0) {
    TFE_LOWER(ValueId y, c.Emit(Op::kUnary, {c.value(0)}, {{"kind", "clip"}, {"alpha", *lo}, {"beta", *hi}}));
    return c.Set(0, y);
  }
  // Bounds are scalars or have the shape of the value; the upper one is applied first.
  for (int i : {1, 2}) {
    TFE_REQUIRE(c.rank(i) == 0 || c.shape(i) == c.shape(0), Reason::kAttribute,
                "input {}: expected a scalar or the shape of the value", i);
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kBinary, {c.value(0), c.value(2)}, {{"kind", "min"}}));
  TFE_LOWER(y, c.Emit(Op::kBinary, {y, c.value(1)}, {{"kind", "max"}}));
  return c.Set(0, y);
}

Verdict ConvertSelectV2(Context& c) {
  TFE_REQUIRE(c.dtype(0) == DType::kBool, Reason::kDType, "the condition must be bool");
  // A known condition picks an input. Shape arithmetic does that.
  const int picked = c.input(0).uniform && *c.input(0).uniform == 0 ? 2 : 1;
  if (c.input(0).uniform && c.rank(0) == 0 && c.shape(1) == c.shape(2)) return c.Alias(0, picked);
  TFE_LOWER(ValueId y, c.Emit(Op::kSelect, {c.value(0), c.value(1), c.value(2)}));
  return c.Set(0, y);
}

// The older Select takes a condition of the shape of the values, a scalar, or a vector over their first axis.
Verdict ConvertSelect(Context& c) {
  TFE_REQUIRE(c.dtype(0) == DType::kBool, Reason::kDType, "the condition must be bool");
  TFE_REQUIRE(c.rank(1) == c.rank(2), Reason::kAttribute, "the values have different ranks");
  for (int axis = 0; axis < c.rank(1); ++axis) {
    Dim a = c.shape(1)[axis];
    Dim b = c.shape(2)[axis];
    if (a == b) continue;
    TFE_REQUIRE(!(a.is_const() && b.is_const()), Reason::kAttribute, "the values have different shapes");
    c.network().AddConstraint(a, b);
  }
  if (c.rank(0) == 0 || c.rank(0) == c.rank(1)) return ConvertSelectV2(c);
  TFE_REQUIRE(c.rank(0) == 1, Reason::kAttribute, "the condition must be a scalar, a vector or of the values' shape");
  Shape rows(c.rank(1), Dim(1));
  rows[0] = c.shape(0)[0];
  TFE_LOWER(ValueId condition, c.Reshape(c.value(0), rows));
  TFE_LOWER(ValueId y, c.Emit(Op::kSelect, {condition, c.value(1), c.value(2)}));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
