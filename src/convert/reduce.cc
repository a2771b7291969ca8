// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"
#include "convert/symbolic.h"

namespace tfengine::convert {

Verdict ConvertReduce(Context& c) {
  std::string kind = c.op();
  for (char& ch : kind) ch = static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
  const bool logical = kind == "all" || kind == "any";
  // The axes are integers whatever is reduced. TensorFlow's mean of integers truncates.
  TFE_REQUIRE(Contains(logical ? kBools : kind == "mean" ? kFloats : kNumbers, c.dtype()), Reason::kDType,
              "input 0 has dtype {}", DTypeName(c.dtype()));
  std::vector<int64_t> axes;
  Verdict verdict = ReadAxes(c, 1, c.rank(0), &axes);
  if (!verdict.ok()) return verdict;
  if (axes.empty()) return c.Alias(0, 0);
  const bool keep = c.Bool("keep_dims", false);
  if (c.rank(0) == 1) {
    if (std::optional<Dim> d = ReduceContent(c, kind)) {
      return c.SetContent(0, keep ? Shape{1} : Shape{}, {*d});
    }
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kReduce, {c.value(0)}, {{"kind", kind}, {"axes", axes}, {"keepdims", keep}}));
  return c.Set(0, y);
}

Verdict ConvertArgReduce(Context& c) {
  const DType type = c.Type("output_type", DType::kInt64);
  TFE_REQUIRE(Contains(kInts, type), Reason::kDType, "output_type: expected int32 or int64, got {}", DTypeName(type));
  int axis;
  Verdict verdict = ReadAxis(c, 1, c.rank(0), &axis);
  if (!verdict.ok()) return verdict;
  TFE_LOWER(ValueId y, c.Emit(Op::kArgReduce, {c.value(0)},
                              {{"kind", c.op() == "ArgMax" ? "max" : "min"},
                               {"axis", static_cast<int64_t>(axis)},
                               {"dtype", static_cast<int64_t>(type)}}));
  return c.Set(0, y);
}

// TopK has k as an attribute. Results are sorted, which unsorted ones may be too.
Verdict ConvertTopK(Context& c) {
  TFE_REQUIRE(c.rank(0) >= 1, Reason::kAttribute, "expected rank 1 or more");
  Dim k = c.Int("k", 0);
  if (c.op() == "TopKV2") {
    Verdict verdict = ReadSize(c, 1, &k);
    if (!verdict.ok()) return verdict;
  }
  Verdict verdict = RequireAtMost(c, k, c.shape(0).back(), "k");
  if (!verdict.ok()) return verdict;
  TFE_LOWER(ValueId values, c.Emit(Op::kTopK, {c.value(0)}, {{"k", DimAttr(k)}}));
  TFE_LOWER(ValueId indices, c.Cast(values + 1, c.Type("index_type", DType::kInt32)));
  verdict = c.Set(0, values);
  return verdict.ok() ? c.Set(1, indices) : verdict;
}

Verdict ConvertCumulative(Context& c) {
  int axis;
  Verdict verdict = ReadAxis(c, 1, c.rank(0), &axis);
  if (!verdict.ok()) return verdict;
  TFE_LOWER(ValueId y, c.Emit(Op::kCumulative, {c.value(0)},
                              {{"kind", c.op() == "Cumsum" ? "sum" : "prod"},
                               {"axis", static_cast<int64_t>(axis)},
                               {"exclusive", c.Bool("exclusive", false)},
                               {"reverse", c.Bool("reverse", false)}}));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
