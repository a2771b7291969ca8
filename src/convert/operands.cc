// SPDX-License-Identifier: Apache-2.0
#include "convert/operands.h"

#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine::convert {

Verdict NormalizeAxis(int64_t axis, int rank, int* normal) {
  int64_t a = axis < 0 ? axis + rank : axis;
  TFE_REQUIRE(a >= 0 && a < rank, Reason::kAttribute, "axis: expected in [{},{}), got {}", -rank, rank, axis);
  *normal = static_cast<int>(a);
  return {};
}

Verdict ReadAxis(Context& c, int input, int rank, int* axis) {
  std::optional<std::vector<int64_t>> values = c.ConstInts(input);
  TFE_REQUIRE(values, Reason::kNotConstant, "input {} (axis) must be constant", input);
  TFE_REQUIRE(values->size() == 1, Reason::kAttribute, "input {} (axis): expected one number, got {}", input,
              values->size());
  return NormalizeAxis((*values)[0], rank, axis);
}

Verdict ReadAxes(Context& c, int input, int rank, std::vector<int64_t>* axes) {
  std::optional<std::vector<int64_t>> values = c.ConstInts(input);
  TFE_REQUIRE(values, Reason::kNotConstant, "input {} (axes) must be constant", input);
  axes->clear();
  for (int64_t v : *values) {
    int axis;
    Verdict verdict = NormalizeAxis(v, rank, &axis);
    if (!verdict.ok()) return verdict;
    axes->push_back(axis);
  }
  std::sort(axes->begin(), axes->end());
  TFE_REQUIRE(std::adjacent_find(axes->begin(), axes->end()) == axes->end(), Reason::kAttribute,
              "input {} (axes) names an axis twice", input);
  return {};
}

Verdict ReadSizes(Context& c, int input, Shape* sizes) {
  const Content* content = c.content(input);
  TFE_REQUIRE(content, Reason::kNotConstant, "input {}: its value is not known before run time", input);
  TFE_REQUIRE(c.rank(input) <= 1, Reason::kAttribute, "input {}: expected a vector, got rank {}", input,
              c.rank(input));
  *sizes = *content;
  return {};
}

Verdict ReadSize(Context& c, int input, Dim* size) {
  Shape sizes;
  Verdict verdict = ReadSizes(c, input, &sizes);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(sizes.size() == 1, Reason::kAttribute, "input {}: expected one number, got {}", input, sizes.size());
  *size = sizes[0];
  return {};
}

Verdict RequireAtMost(Context& c, Dim a, Dim b, const char* what) {
  Dim room = c.dims().Sub(b, a);
  if (c.dims().IsNonNegative(room)) return {};
  TFE_REQUIRE(!room.is_const(), Reason::kAttribute, "{}: {} is beyond {}", what, c.dims().ToString(a),
              c.dims().ToString(b));
  c.network().AddConstraint(c.dims().Min(a, b), a);
  return {};
}

Dim CeilDiv(DimTable& dims, Dim a, Dim b) { return dims.FloorDiv(dims.Sub(dims.Add(a, b), 1), b); }

Result<ValueId> ToNhwc(Context& c, ValueId x) { return c.Transpose(x, {0, 2, 3, 1}); }
Result<ValueId> ToNchw(Context& c, ValueId x) { return c.Transpose(x, {0, 3, 1, 2}); }

Result<ValueId> SliceAxis(Context& c, ValueId x, int axis, Dim begin, Dim size) {
  Shape begins(c.ShapeOf(x).size(), Dim(0));
  Shape sizes = c.ShapeOf(x);
  if (begin.is(0) && size == sizes[axis]) return x;
  std::vector<int64_t> strides(begins.size(), 1);
  begins[axis] = begin;
  sizes[axis] = size;
  return c.Emit(Op::kSlice, {x}, {{"begin", begins}, {"size", sizes}, {"strides", strides}});
}

Verdict ReadWindow(Context& c, Window* window) {
  std::string format = c.Str("data_format", "NHWC");
  TFE_REQUIRE(format == "NHWC" || format == "NCHW", Reason::kAttribute, "data_format: expected NHWC or NCHW, got {}",
              format);
  window->nchw = format == "NCHW";
  const int h = window->nchw ? 2 : 1;
  const int channel = window->nchw ? 1 : 3;
  auto read = [&](const char* key, std::vector<int64_t>* pair) -> Verdict {
    std::vector<int64_t> list = c.Ints(key);
    if (list.empty()) list = {1, 1, 1, 1};
    TFE_REQUIRE(list.size() == 4 && list[0] == 1 && list[channel] == 1, Reason::kAttribute,
                "{}: expected four numbers, 1 for batch and channels", key);
    TFE_REQUIRE(list[h] > 0 && list[h + 1] > 0, Reason::kAttribute, "{}: expected positive numbers", key);
    *pair = {list[h], list[h + 1]};
    return {};
  };
  Verdict verdict = read("strides", &window->strides);
  return verdict.ok() ? read("dilations", &window->dilations) : verdict;
}

Verdict ReadPads(Context& c, const Window& window, const Shape& in_hw, const std::vector<int64_t>& ksize,
                 Shape* pads) {
  DimTable& dims = c.dims();
  std::string padding = c.Str("padding", "");
  *pads = Shape(4, Dim(0));
  if (padding == "VALID") return {};
  if (padding == "EXPLICIT") {
    std::vector<int64_t> list = c.Ints("explicit_paddings");
    const int h = window.nchw ? 4 : 2;
    const int channel = window.nchw ? 2 : 6;
    TFE_REQUIRE(list.size() == 8 && list[0] == 0 && list[1] == 0 && list[channel] == 0 && list[channel + 1] == 0,
                Reason::kAttribute, "explicit_paddings: expected eight numbers, 0 for batch and channels");
    for (int i = 0; i < 4; ++i) {
      TFE_REQUIRE(list[h + i] >= 0, Reason::kAttribute, "explicit_paddings: expected non-negative numbers");
      (*pads)[i] = list[h + i];
    }
    return {};
  }
  TFE_REQUIRE(padding == "SAME", Reason::kAttribute, "padding: expected SAME, VALID or EXPLICIT, got \"{}\"", padding);
  // TensorFlow puts the odd row at the end.
  for (int axis = 0; axis < 2; ++axis) {
    int64_t covered = (ksize[axis] - 1) * window.dilations[axis] + 1;
    Dim total = SamePadding(dims, in_hw[axis], covered, window.strides[axis]);
    (*pads)[2 * axis] = dims.FloorDiv(total, 2);
    (*pads)[2 * axis + 1] = dims.Sub(total, (*pads)[2 * axis]);
  }
  return {};
}

}  // namespace tfengine::convert
