// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"

namespace tfengine::convert {
namespace {

// Paddings [rank,2] as two lists.
Verdict ReadPaddings(Context& c, Shape* lo, Shape* hi) {
  const Content* content = c.content(1);
  TFE_REQUIRE(content, Reason::kNotConstant, "input 1 (paddings): its value is not known before run time");
  TFE_REQUIRE(static_cast<int>(content->size()) == 2 * c.rank(0), Reason::kAttribute,
              "paddings: expected two numbers per axis of rank {}, got {}", c.rank(0), content->size());
  for (int i = 0; i < c.rank(0); ++i) {
    lo->push_back((*content)[2 * i]);
    hi->push_back((*content)[2 * i + 1]);
    TFE_REQUIRE(c.dims().IsNonNegative(lo->back()) && c.dims().IsNonNegative(hi->back()), Reason::kAttribute,
                "paddings: expected 0 or more, got {} and {}", c.dims().ToString(lo->back()),
                c.dims().ToString(hi->back()));
  }
  return {};
}

}  // namespace

Verdict ConvertPad(Context& c) {
  Shape lo, hi;
  Verdict verdict = ReadPaddings(c, &lo, &hi);
  if (!verdict.ok()) return verdict;
  double value = 0;
  if (c.op() == "PadV2") {
    std::optional<double> scalar = c.ConstScalar(2);
    TFE_REQUIRE(scalar, Reason::kNotConstant, "input 2 (the value) must be a constant");
    value = *scalar;
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kPad, {c.value(0)}, {{"lo", lo}, {"hi", hi}, {"value", value}}));
  return c.Set(0, y);
}

Verdict ConvertMirrorPad(Context& c) {
  const std::string mode = c.Str("mode", "");
  TFE_REQUIRE(mode == "REFLECT" || mode == "SYMMETRIC", Reason::kAttribute,
              "mode: expected REFLECT or SYMMETRIC, got \"{}\"", mode);
  Shape lo, hi;
  Verdict verdict = ReadPaddings(c, &lo, &hi);
  if (!verdict.ok()) return verdict;
  // More padding than there is to mirror is an error in TensorFlow.
  for (int i = 0; i < c.rank(0); ++i) {
    for (Dim pad : {lo[i], hi[i]}) {
      if (pad.is(0)) continue;
      Dim least = mode == "REFLECT" ? c.dims().Add(pad, 1) : pad;
      TFE_REQUIRE(c.dims().IsNonNegative(c.dims().Sub(c.shape(0)[i], least)), Reason::kUnknownShape,
                  "axis {}: padding {} needs a size of at least {}", i, c.dims().ToString(pad),
                  c.dims().ToString(least));
    }
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kPad, {c.value(0)},
                              {{"lo", lo}, {"hi", hi}, {"mode", mode == "REFLECT" ? "reflect" : "symmetric"}}));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
