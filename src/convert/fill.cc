// SPDX-License-Identifier: Apache-2.0
// Tensors made from sizes: Fill, BroadcastTo, ZerosLike, OnesLike, Tile, Range.
#include <cmath>

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

// Output 0 is `value` (one element) everywhere.
Verdict SetFilled(Context& c, ValueId value, Shape shape, std::optional<double> uniform) {
  TFE_LOWER(value, c.Reshape(value, {}));
  TFE_LOWER(ValueId y, c.Emit(Op::kBroadcast, {value}, {{"shape", std::move(shape)}}));
  Verdict verdict = c.Set(0, y);
  if (verdict.ok() && uniform) c.SetUniform(0, *uniform);
  return verdict;
}

bool SmallStatic(const Shape& shape) {
  std::optional<int64_t> n = StaticElements(shape);
  return n && *n <= kMaxContent;
}

}  // namespace

Verdict ConvertFill(Context& c) {
  Shape shape;
  Verdict verdict = ReadSizes(c, 0, &shape);
  if (!verdict.ok()) return verdict;
  for (Dim d : shape) {
    TFE_REQUIRE(c.dims().IsNonNegative(d), Reason::kAttribute, "dims: expected sizes, got {}",
                ShapeText(c.dims(), shape));
  }
  TFE_REQUIRE(c.rank(1) == 0, Reason::kAttribute, "value: expected a scalar, got rank {}", c.rank(1));
  if (c.content(1) && SmallStatic(shape)) {
    Content content(*StaticElements(shape), c.content(1)->front());
    return c.SetContent(0, std::move(shape), std::move(content));
  }
  return SetFilled(c, c.value(1), std::move(shape), c.input(1).uniform);
}

Verdict ConvertLike(Context& c) {
  const int64_t value = c.op() == "OnesLike" ? 1 : 0;
  if (Contains(kInts, c.dtype()) && SmallStatic(c.shape())) {
    return c.SetContent(0, c.shape(), Content(*StaticElements(c.shape()), Dim(value)));
  }
  return SetFilled(c, c.Scalar(c.dtype(), static_cast<double>(value)), c.shape(), static_cast<double>(value));
}

Verdict ConvertBroadcastTo(Context& c) {
  Shape shape;
  Verdict verdict = ReadSizes(c, 1, &shape);
  if (!verdict.ok()) return verdict;
  if (shape == c.shape(0)) return c.Alias(0, 0);
  TFE_LOWER(ValueId y, c.Emit(Op::kBroadcast, {c.value(0)}, {{"shape", std::move(shape)}}));
  verdict = c.Set(0, y);
  if (verdict.ok() && c.input(0).uniform) c.SetUniform(0, *c.input(0).uniform);
  return verdict;
}

Verdict ConvertTile(Context& c) {
  Shape reps;
  Verdict verdict = ReadSizes(c, 1, &reps);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(static_cast<int>(reps.size()) == c.rank(0), Reason::kAttribute, "multiples: expected {} numbers, got {}",
              c.rank(0), reps.size());
  bool once = true;
  for (Dim d : reps) {
    once &= d.is(1);
    TFE_REQUIRE(c.dims().IsNonNegative(d), Reason::kAttribute, "multiples: expected 0 or more");
  }
  if (once) return c.Alias(0, 0);
  if (c.content(0) && c.rank(0) == 1 && reps[0].is_const() &&
      reps[0].value * static_cast<int64_t>(c.content(0)->size()) <= kMaxContent) {
    Content content;
    for (int64_t i = 0; i < reps[0].value; ++i) {
      content.insert(content.end(), c.content(0)->begin(), c.content(0)->end());
    }
    Shape shape{Dim(static_cast<int64_t>(content.size()))};
    return c.SetContent(0, std::move(shape), std::move(content));
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kTile, {c.value(0)}, {{"reps", std::move(reps)}}));
  verdict = c.Set(0, y);
  if (verdict.ok() && c.input(0).uniform) c.SetUniform(0, *c.input(0).uniform);
  return verdict;
}

namespace {

// A range of numbers that are all known.
template <typename T>
Verdict FloatRange(Context& c, double start, double limit, double delta) {
  TFE_REQUIRE(delta != 0, Reason::kAttribute, "delta must not be 0");
  // Element type arithmetic, as the kernel of TensorFlow does it.
  const T from = static_cast<T>(start);
  const T step = static_cast<T>(delta);
  double steps = std::ceil(std::abs((limit - start) / delta));
  if ((delta > 0) != (limit > start)) steps = 0;
  TFE_REQUIRE(steps < 1e7, Reason::kAttribute, "a range of {} elements", steps);
  const int64_t n = static_cast<int64_t>(steps);
  auto tensor = std::make_shared<Tensor>(c.dtype(), std::vector<int64_t>{n});
  for (int64_t i = 0; i < n; ++i) tensor->mutable_as<T>()[i] = from + static_cast<T>(i) * step;
  return c.SetConstant(0, std::move(tensor));
}

}  // namespace

Verdict ConvertRange(Context& c) {
  for (int i = 0; i < 3; ++i) {
    TFE_REQUIRE(StaticElements(c.shape(i)) == 1, Reason::kAttribute, "input {}: expected a scalar", i);
  }
  if (Contains(kFloats, c.dtype())) {
    std::optional<double> start = c.ConstScalar(0);
    std::optional<double> limit = c.ConstScalar(1);
    std::optional<double> delta = c.ConstScalar(2);
    TFE_REQUIRE(start && limit && delta, Reason::kNotConstant, "a range of {} must be constant", DTypeName(c.dtype()));
    if (c.dtype() == DType::kFloat32) return FloatRange<float>(c, *start, *limit, *delta);
    TFE_REQUIRE(c.dtype() == DType::kFloat64, Reason::kDType, "a range of {}", DTypeName(c.dtype()));
    return FloatRange<double>(c, *start, *limit, *delta);
  }
  Dim start, limit, delta;
  Verdict verdict = ReadSize(c, 0, &start);
  if (verdict.ok()) verdict = ReadSize(c, 1, &limit);
  if (verdict.ok()) verdict = ReadSize(c, 2, &delta);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(delta.is_const() && delta.value != 0, Reason::kNotConstant, "delta must be constant and not 0");
  DimTable& dims = c.dims();
  Dim distance = delta.value > 0 ? dims.Sub(limit, start) : dims.Sub(start, limit);
  if (!dims.IsNonNegative(distance)) {
    // TensorFlow rejects a range that runs backwards.
    TFE_REQUIRE(!distance.is_const(), Reason::kAttribute, "the range runs against its delta");
    c.network().AddConstraint(dims.Max(distance, 0), distance);
  }
  Dim size = CeilDiv(dims, distance, std::abs(delta.value));
  if (size.is_const() && size.value <= kMaxContent) {
    Content content;
    for (int64_t i = 0; i < size.value; ++i) content.push_back(dims.Add(start, dims.Mul(delta, i)));
    return c.SetContent(0, {size}, std::move(content));
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kRange, {},
                              {{"start", DimAttr(start)},
                               {"size", DimAttr(size)},
                               {"delta", DimAttr(delta)},
                               {"dtype", static_cast<int64_t>(c.dtype())}}));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
