// SPDX-License-Identifier: Apache-2.0
#include "base/status_macros.h"
#include "network/infer.h"

namespace tfengine::infer {
namespace {

bool IsBool(DType dtype) { return dtype == DType::kBool; }

struct TypeRule {
  bool (*accepts)(DType);
  const char* expected;
};
constexpr TypeRule kAny = {IsElement, "any"};
constexpr TypeRule kNumbers = {IsNumeric, "numeric"};
constexpr TypeRule kFloats = {IsFloat, "floating point"};
constexpr TypeRule kBooleans = {IsBool, "bool"};

TypeRule RuleOf(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::k_none: return kAny;
    case UnaryKind::k_abs: case UnaryKind::k_neg: case UnaryKind::k_square: case UnaryKind::k_relu:
    case UnaryKind::k_relu6: case UnaryKind::k_clip: case UnaryKind::k_sign: case UnaryKind::k_floor:
    case UnaryKind::k_ceil: case UnaryKind::k_round: return kNumbers;
    case UnaryKind::k_logical_not: return kBooleans;
    default: return kFloats;
  }
}

TypeRule RuleOf(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::k_equal: case BinaryKind::k_not_equal: return kAny;
    case BinaryKind::k_logical_and: case BinaryKind::k_logical_or: return kBooleans;
    case BinaryKind::k_div_no_nan: case BinaryKind::k_mul_no_nan: case BinaryKind::k_atan2: return kFloats;
    default: return kNumbers;
  }
}

}  // namespace

Result<Types> Unary(Context& c) {
  const std::string name = c.attrs().Str("kind");
  UnaryKind kind;
  if (!ParseKind(name, &kind)) return c.Fail("attribute kind: unknown unary kind \"{}\"", name);
  const TypeRule rule = RuleOf(kind);
  TFE_RETURN_IF_ERROR(c.Type(0, rule.accepts, rule.expected));
  const bool predicate =
      kind == UnaryKind::k_is_nan || kind == UnaryKind::k_is_inf || kind == UnaryKind::k_is_finite;
  return Types{{predicate ? DType::kBool : c.dtype(0), c.shape(0)}};
}

Result<Types> Binary(Context& c) {
  const std::string name = c.attrs().Str("kind");
  BinaryKind kind;
  if (!ParseKind(name, &kind)) return c.Fail("attribute kind: unknown binary kind \"{}\"", name);
  const TypeRule rule = RuleOf(kind);
  TFE_RETURN_IF_ERROR(c.Type(0, rule.accepts, rule.expected));
  TFE_RETURN_IF_ERROR(c.SameType(1, 1));
  TFE_RETURN_IF_ERROR(c.Activation());
  if (IsPredicate(kind) && c.attrs().Str("act", "none") != "none")
    return c.Fail("attribute act: a comparison has no activation");
  Shape out;
  TFE_RETURN_IF_ERROR(c.Broadcast(c.shape(0), c.shape(1), "operands", &out));
  return Types{{IsPredicate(kind) ? DType::kBool : c.dtype(0), out}};
}

Result<Types> Select(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsBool, "bool"));
  if (c.dtype(1) != c.dtype(2))
    return c.Fail("input 2: expected element type {}, got {}", ShortName(c.dtype(1)), ShortName(c.dtype(2)));
  Shape values, out;
  TFE_RETURN_IF_ERROR(c.Broadcast(c.shape(1), c.shape(2), "a and b", &values));
  TFE_RETURN_IF_ERROR(c.Broadcast(values, c.shape(0), "cond", &out));
  return Types{{c.dtype(1), out}};
}

Result<Types> FakeQuant(Context& c) {
  for (int i = 0; i < c.num_inputs(); ++i)
    if (c.has(i)) TFE_RETURN_IF_ERROR(c.Type(i, [](DType d) { return d == DType::kFloat32; }, "f32"));
  const std::string rounding = c.attrs().Str("rounding");
  if (rounding != "even" && rounding != "up" && rounding != "offset")
    return c.Fail("attribute rounding: expected even, up or offset, got \"{}\"", rounding);
  const Shape x = c.shape(0);
  Shape channels;
  if (c.rank(1) == 1) {
    if (!c.attrs().Has("axis")) return c.Fail("attribute axis is missing");
    TFE_RETURN_IF_ERROR(c.Range("axis", 0, c.rank(0) - 1));
    channels = {x[static_cast<size_t>(c.attrs().Int("axis"))]};
  }
  for (int i = 1; i < c.num_inputs(); ++i) TFE_RETURN_IF_ERROR(c.Optional(i, channels));
  return Types{{DType::kFloat32, x}};
}

Result<Types> Cast(Context& c) { return Types{{c.attrs().Type(), c.shape(0)}}; }

}  // namespace tfengine::infer
