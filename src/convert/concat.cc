// SPDX-License-Identifier: Apache-2.0
// Concat, Pack, and their inverses.
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

// Contents of inputs [first, last) one after the other, if all have one.
std::optional<Content> Joined(const Context& c, int first, int last) {
  Content joined;
  for (int i = first; i < last; ++i) {
    if (!c.content(i)) return std::nullopt;
    joined.insert(joined.end(), c.content(i)->begin(), c.content(i)->end());
  }
  if (static_cast<int64_t>(joined.size()) > kMaxContent) return std::nullopt;
  return joined;
}

// Output `port` is elements [begin, begin + size) of `axis` of input `input`; `squeeze` removes the axis.
Verdict SetPart(Context& c, int port, int input, int axis, Dim begin, Dim size, bool squeeze) {
  Shape shape = c.shape(input);
  shape[axis] = size;
  if (squeeze) shape.erase(shape.begin() + axis);
  if (const Content* content = c.content(input); content && c.rank(input) == 1 && begin.is_const() && size.is_const()) {
    auto first = content->begin() + begin.value;
    return c.SetContent(port, std::move(shape), Content(first, first + size.value));
  }
  TFE_LOWER(ValueId part, SliceAxis(c, c.value(input), axis, begin, size));
  TFE_LOWER(part, c.Reshape(part, std::move(shape)));
  return c.Set(port, part);
}

}  // namespace

Verdict ConvertPack(Context& c) {
  TFE_REQUIRE(c.num_inputs() >= 1, Reason::kAttribute, "expected inputs");
  int axis;
  Verdict verdict = NormalizeAxis(c.Int("axis", 0), c.rank(0) + 1, &axis);
  if (!verdict.ok()) return verdict;
  Shape part = c.shape(0);
  for (int i = 1; i < c.num_inputs(); ++i) {
    TFE_REQUIRE(c.rank(i) == c.rank(0), Reason::kAttribute, "inputs 0 and {} have different ranks", i);
  }
  if (axis == 0) {
    if (std::optional<Content> joined = Joined(c, 0, c.num_inputs())) {
      Shape shape = c.shape(0);
      shape.insert(shape.begin(), Dim(c.num_inputs()));
      return c.SetContent(0, std::move(shape), std::move(*joined));
    }
  }
  std::vector<ValueId> parts;
  for (int i = 0; i < c.num_inputs(); ++i) {
    Shape shape = c.shape(i);
    shape.insert(shape.begin() + axis, Dim(1));
    TFE_LOWER(ValueId v, c.Reshape(c.value(i), std::move(shape)));
    parts.push_back(v);
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kConcat, std::move(parts), {{"axis", static_cast<int64_t>(axis)}}));
  return c.Set(0, y);
}

Verdict ConvertUnpack(Context& c) {
  int axis;
  Verdict verdict = NormalizeAxis(c.Int("axis", 0), c.rank(0), &axis);
  if (!verdict.ok()) return verdict;
  Dim size = c.shape(0)[axis];
  if (!size.is(c.num_outputs())) {
    TFE_REQUIRE(!size.is_const(), Reason::kAttribute, "axis {}: expected size {}, got {}", axis, c.num_outputs(),
                size.value);
    c.network().AddConstraint(size, c.num_outputs());
  }
  for (int p = 0; p < c.num_outputs(); ++p) {
    if (!c.used(p)) continue;
    verdict = SetPart(c, p, 0, axis, p, 1, /*squeeze=*/true);
    if (!verdict.ok()) return verdict;
  }
  return {};
}

// Concat has the axis first, ConcatV2 last.
Verdict ConvertConcat(Context& c) {
  const bool axis_first = c.op() == "Concat";
  const int n = c.num_inputs() - 1;
  TFE_REQUIRE(n >= 1, Reason::kAttribute, "expected values and an axis");
  const int first = axis_first ? 1 : 0;
  for (int i = first; i < first + n; ++i) {
    TFE_REQUIRE(c.rank(i) == c.rank(first) && c.rank(i) >= 1, Reason::kAttribute, "values have ranks {} and {}",
                c.rank(first), c.rank(i));
  }
  int axis;
  Verdict verdict = ReadAxis(c, axis_first ? 0 : n, c.rank(first), &axis);
  if (!verdict.ok()) return verdict;
  if (n == 1) return c.Alias(0, first);
  if (c.rank(first) == 1) {
    if (std::optional<Content> joined = Joined(c, first, first + n)) {
      Shape shape{Dim(static_cast<int64_t>(joined->size()))};
      return c.SetContent(0, std::move(shape), std::move(*joined));
    }
  }
  std::vector<ValueId> parts;
  for (int i = first; i < first + n; ++i) parts.push_back(c.value(i));
  TFE_LOWER(ValueId y, c.Emit(Op::kConcat, std::move(parts), {{"axis", static_cast<int64_t>(axis)}}));
  return c.Set(0, y);
}

Verdict ConvertSplit(Context& c) {
  int axis;
  Verdict verdict = ReadAxis(c, 0, c.rank(1), &axis);
  if (!verdict.ok()) return verdict;
  const int64_t n = c.num_outputs();
  Dim size = c.shape(1)[axis];
  Dim part;
  if (!c.dims().DividesExactly(size, n, &part)) {
    TFE_REQUIRE(!size.is_const(), Reason::kAttribute, "axis {}: {} is not a multiple of {}", axis, size.value, n);
    part = c.dims().FloorDiv(size, n);
    c.network().AddConstraint(size, c.dims().Mul(part, n));
  }
  for (int p = 0; p < n; ++p) {
    if (!c.used(p)) continue;
    verdict = SetPart(c, p, 1, axis, c.dims().Mul(part, p), part, /*squeeze=*/false);
    if (!verdict.ok()) return verdict;
  }
  return {};
}

Verdict ConvertSplitV(Context& c) {
  Shape sizes;
  int axis = 0;
  Verdict verdict = ReadSizes(c, 1, &sizes);
  if (verdict.ok()) verdict = ReadAxis(c, 2, c.rank(0), &axis);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(static_cast<int>(sizes.size()) == c.num_outputs(), Reason::kAttribute,
              "size_splits: expected {} numbers, got {}", c.num_outputs(), sizes.size());
  const Dim size = c.shape(0)[axis];
  Dim known = 0;
  int open = -1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i].is(-1)) {
      TFE_REQUIRE(open < 0, Reason::kAttribute, "size_splits: expected at most one -1");
      open = static_cast<int>(i);
      continue;
    }
    TFE_REQUIRE(c.dims().IsNonNegative(sizes[i]), Reason::kAttribute, "size_splits: expected sizes");
    known = c.dims().Add(known, sizes[i]);
  }
  verdict = RequireAtMost(c, known, size, "size_splits");
  if (!verdict.ok()) return verdict;
  if (open >= 0) {
    sizes[open] = c.dims().Sub(size, known);
  } else if (known != size) {
    TFE_REQUIRE(!(known.is_const() && size.is_const()), Reason::kAttribute, "size_splits: sum {} is not {}",
                known.value, size.value);
    c.network().AddConstraint(known, size);
  }
  Dim begin = 0;
  for (size_t p = 0; p < sizes.size(); ++p) {
    if (c.used(static_cast<int>(p))) {
      verdict = SetPart(c, static_cast<int>(p), 0, axis, begin, sizes[p], /*squeeze=*/false);
      if (!verdict.ok()) return verdict;
    }
    begin = c.dims().Add(begin, sizes[p]);
  }
  return {};
}

}  // namespace tfengine::convert
