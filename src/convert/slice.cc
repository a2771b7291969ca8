// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

// Elements begin + i*stride, i < size, of one axis.
struct AxisSlice {
  Dim begin = 0;
  Dim size = 0;
  int64_t stride = 1;
  bool shrink = false;
};

// Emits the slice of input 0 and gives it the shape `shape` (axes shrunk and added). Contents of rank 1 are sliced now.
Verdict SetSliced(Context& c, const std::vector<AxisSlice>& axes, Shape shape) {
  const Content* content = c.content(0);
  if (content && axes.size() == 1 && axes[0].begin.is_const() && axes[0].size.is_const() && IsStatic(shape)) {
    Content picked;
    for (int64_t i = 0; i < axes[0].size.value; ++i) {
      picked.push_back((*content)[axes[0].begin.value + i * axes[0].stride]);
    }
    return c.SetContent(0, std::move(shape), std::move(picked));
  }
  Shape begins, sizes;
  std::vector<int64_t> strides;
  bool whole = true;
  for (size_t i = 0; i < axes.size(); ++i) {
    begins.push_back(axes[i].begin);
    sizes.push_back(axes[i].size);
    strides.push_back(axes[i].stride);
    whole &= axes[i].begin.is(0) && axes[i].stride == 1 && axes[i].size == c.shape(0)[i];
  }
  ValueId y = c.value(0);
  if (!whole) {
    TFE_LOWER(y, c.Emit(Op::kSlice, {y}, {{"begin", begins}, {"size", sizes}, {"strides", strides}}));
  }
  TFE_LOWER(y, c.Reshape(y, std::move(shape)));
  return c.Set(0, y);
}

// One end of a strided slice as TensorFlow's canonical position in [low, high]; `low` is 0 for positive strides.
// Positions that are known to lie outside are clamped; open sizes become conditions where the position is a number.
Verdict Position(Context& c, Dim at, Dim dim, bool is_end, Dim* position) {
  DimTable& dims = c.dims();
  if (at.is_const() && dim.is_const()) {
    int64_t p = at.value < 0 ? at.value + dim.value : at.value;
    *position = std::max<int64_t>(0, std::min(p, dim.value));
    return {};
  }
  if (at.is_const() && at.value < 0) {
    *position = dims.Add(dim, at);
    return RequireAtMost(c, -at.value, dim, "slice");
  }
  TFE_REQUIRE(dims.IsNonNegative(at), Reason::kUnknownShape, "slice: the sign of {} is not known", dims.ToString(at));
  if (is_end || !at.is_const()) {
    *position = dims.IsNonNegative(dims.Sub(dim, at)) ? at : dims.Min(at, dim);
    return {};
  }
  *position = at;
  return RequireAtMost(c, at, dim, "slice");
}

Verdict Forward(Context& c, std::optional<Dim> begin, std::optional<Dim> end, Dim dim, AxisSlice* axis) {
  DimTable& dims = c.dims();
  Dim from = 0;
  Dim to = dim;
  Verdict verdict;
  if (begin) verdict = Position(c, *begin, dim, /*is_end=*/false, &from);
  if (verdict.ok() && end) verdict = Position(c, *end, dim, /*is_end=*/true, &to);
  if (!verdict.ok()) return verdict;
  Dim length = dims.Sub(to, from);
  if (length.is_const()) {
    length = std::max<int64_t>(0, length.value);
  } else if (!from.is(0) && !(to == dim && from.is_const())) {
    // Otherwise from <= to has been shown or made a condition.
    length = dims.Max(length, 0);
  }
  axis->begin = from;
  axis->size = axis->stride == 1 ? length : CeilDiv(dims, length, axis->stride);
  if (axis->size.is(0)) axis->begin = 0;
  return {};
}

Verdict Backward(Context& c, std::optional<Dim> begin, std::optional<Dim> end, Dim dim, AxisSlice* axis) {
  DimTable& dims = c.dims();
  if (dim.is_const() && (!begin || begin->is_const()) && (!end || end->is_const())) {
    auto clamp = [&](int64_t p) {
      if (p < 0) p += dim.value;
      return std::max<int64_t>(-1, std::min(p, dim.value - 1));
    };
    int64_t from = begin ? clamp(begin->value) : dim.value - 1;
    int64_t to = end ? clamp(end->value) : -1;
    axis->size = from > to ? (from - to - axis->stride - 1) / -axis->stride : 0;
    axis->begin = axis->size.is(0) ? 0 : from;
    return {};
  }
  TFE_REQUIRE(!end && (!begin || (begin->is_const() && begin->value < 0)), Reason::kUnknownShape,
              "slice: a negative stride over a size that is not known");
  int64_t from_end = begin ? -begin->value : 1;
  Verdict verdict = RequireAtMost(c, from_end, dim, "slice");
  if (!verdict.ok()) return verdict;
  axis->begin = dims.Sub(dim, from_end);
  axis->size = CeilDiv(dims, dims.Add(axis->begin, 1), -axis->stride);
  return {};
}

Verdict Single(Context& c, Dim at, Dim dim, AxisSlice* axis) {
  DimTable& dims = c.dims();
  bool from_end = at.is_const() && at.value < 0;
  TFE_REQUIRE(from_end || dims.IsNonNegative(at), Reason::kUnknownShape, "slice: the sign of {} is not known",
              dims.ToString(at));
  Dim position = from_end ? dims.Add(dim, at) : at;
  TFE_REQUIRE(!position.is_const() || position.value >= 0, Reason::kAttribute, "slice: index {} is beyond a size of {}",
              dims.ToString(at), dims.ToString(dim));
  Verdict verdict = RequireAtMost(c, from_end ? Dim(-at.value) : dims.Add(at, 1), dim, "slice index");
  if (!verdict.ok()) return verdict;
  *axis = {.begin = position, .size = 1, .stride = 1, .shrink = true};
  return {};
}

}  // namespace

Verdict ConvertSlice(Context& c) {
  Shape begin, size;
  Verdict verdict = ReadSizes(c, 1, &begin);
  if (verdict.ok()) verdict = ReadSizes(c, 2, &size);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(static_cast<int>(begin.size()) == c.rank(0) && size.size() == begin.size(), Reason::kAttribute,
              "begin and size: expected {} numbers each, got {} and {}", c.rank(0), begin.size(), size.size());
  std::vector<AxisSlice> axes(begin.size());
  Shape shape;
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim dim = c.shape(0)[i];
    TFE_REQUIRE(c.dims().IsNonNegative(begin[i]), Reason::kAttribute, "begin: expected 0 or more, got {}",
                c.dims().ToString(begin[i]));
    axes[i].begin = begin[i];
    axes[i].size = size[i].is(-1) ? c.dims().Sub(dim, begin[i]) : size[i];
    TFE_REQUIRE(size[i].is(-1) || c.dims().IsNonNegative(size[i]), Reason::kAttribute,
                "size: expected -1 or more, got {}", c.dims().ToString(size[i]));
    verdict = RequireAtMost(c, size[i].is(-1) ? begin[i] : c.dims().Add(begin[i], size[i]), dim, "begin + size");
    if (!verdict.ok()) return verdict;
    shape.push_back(axes[i].size);
  }
  return SetSliced(c, axes, std::move(shape));
}

Verdict ConvertStridedSlice(Context& c) {
  Shape begin, end, strides;
  Verdict verdict = ReadSizes(c, 1, &begin);
  if (verdict.ok()) verdict = ReadSizes(c, 2, &end);
  if (verdict.ok()) verdict = ReadSizes(c, 3, &strides);
  if (!verdict.ok()) return verdict;
  const int n = static_cast<int>(begin.size());
  TFE_REQUIRE(static_cast<int>(end.size()) == n && static_cast<int>(strides.size()) == n && n <= 32,
              Reason::kAttribute, "begin, end and strides: expected the same length, got {}, {} and {}", n, end.size(),
              strides.size());
  const int64_t begin_mask = c.Int("begin_mask", 0);
  const int64_t end_mask = c.Int("end_mask", 0);
  const int64_t new_mask = c.Int("new_axis_mask", 0);
  const int64_t shrink_mask = c.Int("shrink_axis_mask", 0);
  int64_t ellipsis_mask = c.Int("ellipsis_mask", 0);
  TFE_REQUIRE((ellipsis_mask & (ellipsis_mask - 1)) == 0, Reason::kAttribute, "ellipsis_mask has more than one bit");
  int ellipsis = n;  // a slice without one ends in one
  for (int i = 0; i < n; ++i) {
    if (ellipsis_mask >> i & 1) ellipsis = i;
  }
  // Axes that the entries other than the ellipsis and new axes take.
  int taken = 0;
  for (int i = 0; i < n; ++i) taken += i != ellipsis && !(new_mask >> i & 1);
  TFE_REQUIRE(taken <= c.rank(0), Reason::kAttribute, "{} indices into a tensor of rank {}", taken, c.rank(0));

  std::vector<AxisSlice> axes;
  Shape shape;
  for (int i = 0; i <= n; ++i) {
    if (i == ellipsis) {
      for (int k = 0; k < c.rank(0) - taken; ++k) {
        Dim dim = c.shape(0)[axes.size()];
        axes.push_back({.begin = 0, .size = dim});
        shape.push_back(dim);
      }
      continue;
    }
    if (i == n) break;
    if (new_mask >> i & 1) {
      shape.push_back(1);
      continue;
    }
    Dim dim = c.shape(0)[axes.size()];
    AxisSlice axis;
    TFE_REQUIRE(strides[i].is_const(), Reason::kNotConstant, "strides must be constant");
    axis.stride = strides[i].value;
    TFE_REQUIRE(axis.stride != 0, Reason::kAttribute, "strides must not be 0");
    std::optional<Dim> from = begin_mask >> i & 1 ? std::nullopt : std::optional<Dim>(begin[i]);
    std::optional<Dim> to = end_mask >> i & 1 ? std::nullopt : std::optional<Dim>(end[i]);
    if (shrink_mask >> i & 1) {
      TFE_REQUIRE(axis.stride > 0, Reason::kAttribute, "an index needs a positive stride");
      // A masked begin of an index is its position 0.
      verdict = Single(c, from.value_or(0), dim, &axis);
    } else if (axis.stride > 0) {
      verdict = Forward(c, from, to, dim, &axis);
    } else {
      verdict = Backward(c, from, to, dim, &axis);
    }
    if (!verdict.ok()) return verdict;
    axes.push_back(axis);
    if (!axis.shrink) shape.push_back(axis.size);
  }
  return SetSliced(c, axes, std::move(shape));
}

Verdict ConvertReverse(Context& c) {
  std::vector<int64_t> reversed;
  Verdict verdict = ReadAxes(c, 1, c.rank(0), &reversed);
  if (!verdict.ok()) return verdict;
  std::vector<AxisSlice> axes;
  for (Dim d : c.shape(0)) axes.push_back({.begin = 0, .size = d});
  for (int64_t i : reversed) {
    // Of no elements the first is none; 0 keeps the attribute valid.
    axes[i].begin = c.dims().Max(c.dims().Sub(axes[i].size, 1), 0);
    axes[i].stride = -1;
  }
  return SetSliced(c, axes, c.shape(0));
}

// Element i moves to i + shift, around the end: the last `shift` elements come first.
Verdict ConvertRoll(Context& c) {
  std::optional<std::vector<int64_t>> shifts = c.ConstInts(1);
  std::optional<std::vector<int64_t>> axes = c.ConstInts(2);
  TFE_REQUIRE(shifts && axes && shifts->size() == axes->size(), Reason::kNotConstant,
              "shift and axis must be constant and as many");
  ValueId x = c.value(0);
  for (size_t i = 0; i < axes->size(); ++i) {
    int axis;
    Verdict verdict = NormalizeAxis((*axes)[i], c.rank(0), &axis);
    if (!verdict.ok()) return verdict;
    Dim size = c.shape(0)[axis];
    TFE_REQUIRE(size.is_const(), Reason::kUnknownShape, "the size of axis {} is not known", axis);
    if (size.value == 0) continue;
    const int64_t shift = ((*shifts)[i] % size.value + size.value) % size.value;
    if (shift == 0) continue;
    TFE_LOWER(ValueId tail, SliceAxis(c, x, axis, size.value - shift, shift));
    TFE_LOWER(ValueId head, SliceAxis(c, x, axis, 0, size.value - shift));
    TFE_LOWER(x, c.Emit(Op::kConcat, {tail, head}, {{"axis", static_cast<int64_t>(axis)}}));
  }
  return c.Set(0, x);
}

}  // namespace tfengine::convert
