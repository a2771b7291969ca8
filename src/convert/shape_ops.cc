// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

// A reshape of input 0; contents keep their elements.
Verdict SetReshaped(Context& c, Shape shape) {
  if (c.content(0) && IsStatic(shape)) return c.SetContent(0, std::move(shape), *c.content(0));
  TFE_LOWER(ValueId y, c.Reshape(c.value(0), std::move(shape)));
  Verdict verdict = c.Set(0, y);
  if (verdict.ok() && c.input(0).uniform) c.SetUniform(0, *c.input(0).uniform);
  return verdict;
}

}  // namespace

// Shape and ShapeN.
Verdict ConvertShape(Context& c) {
  for (int i = 0; i < c.num_inputs(); ++i) {
    Verdict verdict = c.SetContent(i, {c.rank(i)}, c.shape(i));
    if (!verdict.ok()) return verdict;
  }
  return {};
}

Verdict ConvertSize(Context& c) { return c.SetContent(0, {}, {c.dims().Product(c.shape(0))}); }

Verdict ConvertRank(Context& c) { return c.SetContent(0, {}, {c.rank(0)}); }

Verdict ConvertReshape(Context& c) {
  Shape shape;
  Verdict verdict = ReadSizes(c, 1, &shape);
  if (!verdict.ok()) return verdict;
  DimTable& dims = c.dims();
  int open = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!shape[i].is_const() || shape[i].value >= 0) continue;
    TFE_REQUIRE(shape[i].is(-1) && open < 0, Reason::kAttribute, "shape {}: expected sizes and at most one -1",
                ShapeText(dims, shape));
    open = static_cast<int>(i);
  }
  if (open >= 0) {
    // Equal factors cancel first, so that what remains is simple and a symbol of 0 does not matter.
    Shape left = c.shape(0);
    Shape right;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (static_cast<int>(i) == open) continue;
      auto same = std::find(left.begin(), left.end(), shape[i]);
      if (same != left.end() && !shape[i].is(0)) {
        left.erase(same);
      } else {
        right.push_back(shape[i]);
      }
    }
    Dim all = dims.Product(left);
    Dim others = dims.Product(right);
    TFE_REQUIRE(!others.is(0), Reason::kUnknownShape, "shape {}: -1 beside a size of 0", ShapeText(dims, shape));
    if (!dims.DividesExactly(all, others, &shape[open])) shape[open] = dims.FloorDiv(all, others);
  }
  return SetReshaped(c, std::move(shape));
}

Verdict ConvertSqueeze(Context& c) {
  std::vector<int64_t> listed = c.Ints("squeeze_dims");
  std::vector<bool> squeezed(c.rank(), false);
  for (int64_t v : listed) {
    int axis;
    Verdict verdict = NormalizeAxis(v, c.rank(), &axis);
    if (!verdict.ok()) return verdict;
    squeezed[axis] = true;
  }
  Shape shape;
  for (int i = 0; i < c.rank(); ++i) {
    Dim d = c.shape()[i];
    if (listed.empty()) {
      TFE_REQUIRE(d.is_const(), Reason::kUnknownShape, "the size of axis {} decides the rank and is not known", i);
      squeezed[i] = d.is(1);
    } else if (squeezed[i] && !d.is(1)) {
      TFE_REQUIRE(!d.is_const(), Reason::kAttribute, "axis {}: expected size 1, got {}", i, d.value);
      c.network().AddConstraint(d, 1);
    }
    if (!squeezed[i]) shape.push_back(d);
  }
  return SetReshaped(c, std::move(shape));
}

Verdict ConvertExpandDims(Context& c) {
  int axis;
  Verdict verdict = ReadAxis(c, 1, c.rank(0) + 1, &axis);
  if (!verdict.ok()) return verdict;
  Shape shape = c.shape(0);
  shape.insert(shape.begin() + axis, Dim(1));
  return SetReshaped(c, std::move(shape));
}

Verdict ConvertTranspose(Context& c) {
  std::optional<std::vector<int64_t>> perm = c.ConstInts(1);
  TFE_REQUIRE(perm, Reason::kNotConstant, "input 1 (perm) must be constant");
  TFE_REQUIRE(static_cast<int>(perm->size()) == c.rank(0), Reason::kAttribute, "perm: expected {} axes, got {}",
              c.rank(0), perm->size());
  for (int64_t& axis : *perm) {
    int normal;
    Verdict verdict = NormalizeAxis(axis, c.rank(0), &normal);
    if (!verdict.ok()) return verdict;
    axis = normal;
  }
  bool identity = true;
  for (size_t i = 0; i < perm->size(); ++i) identity &= (*perm)[i] == static_cast<int64_t>(i);
  if (identity) return c.Alias(0, 0);
  TFE_LOWER(ValueId y, c.Transpose(c.value(0), *perm));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
