// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

Verdict CheckImageAndFilter(Context& c, int image, int filter) {
  TFE_REQUIRE(c.dtype(image) == DType::kFloat32 && c.dtype(filter) == DType::kFloat32, Reason::kDType,
              "expected float32, got {} and {}", DTypeName(c.dtype(image)), DTypeName(c.dtype(filter)));
  TFE_REQUIRE(c.rank(image) == 4, Reason::kAttribute, "input {}: expected rank 4, got {}", image, c.rank(image));
  TFE_REQUIRE(c.rank(filter) == 4 && IsStatic(c.shape(filter)), Reason::kUnknownShape,
              "input {} (filter): expected four known sizes, got {}", filter, ShapeText(c.dims(), c.shape(filter)));
  TFE_REQUIRE(c.input(filter).is_constant, Reason::kNotConstant, "input {} (filter) must be constant", filter);
  return {};
}

// conv2d of input 0 and `filter`, which is in network form; handles NCHW by transposes around it.
Verdict Convolve(Context& c, ValueId filter, int64_t groups) {
  Window window;
  Verdict verdict = ReadWindow(c, &window);
  if (!verdict.ok()) return verdict;
  ValueId x = c.value(0);
  if (window.nchw) {
    TFE_LOWER(x, ToNhwc(c, x));
  }
  const Shape& in = c.ShapeOf(x);
  const Shape& f = c.ShapeOf(filter);
  Shape pads;
  verdict = ReadPads(c, window, {in[1], in[2]}, {f[0].value, f[1].value}, &pads);
  if (!verdict.ok()) return verdict;
  TFE_LOWER(ValueId y, c.Emit(Op::kConv2d, {x, filter, kNoValue, kNoValue},
                              {{"strides", window.strides},
                               {"dilations", window.dilations},
                               {"pads", pads},
                               {"groups", groups}}));
  if (window.nchw) {
    TFE_LOWER(y, ToNchw(c, y));
  }
  return c.Set(0, y);
}

Verdict StaticChannels(Context& c, int image, int64_t* channels) {
  int axis = c.Str("data_format", "NHWC") == "NCHW" ? 1 : 3;
  Dim d = c.shape(image)[axis];
  TFE_REQUIRE(d.is_const(), Reason::kUnknownShape, "input {}: the number of channels is not known", image);
  *channels = d.value;
  return {};
}

}  // namespace

Verdict ConvertConv2D(Context& c) {
  Verdict verdict = CheckImageAndFilter(c, 0, 1);
  int64_t channels = 0;
  if (verdict.ok()) verdict = StaticChannels(c, 0, &channels);
  if (!verdict.ok()) return verdict;
  int64_t depth = c.shape(1)[2].value;
  int64_t filters = c.shape(1)[3].value;
  TFE_REQUIRE(depth > 0 && channels > 0 && channels % depth == 0 && filters % (channels / depth) == 0,
              Reason::kAttribute, "filter {} does not fit {} input channels", ShapeText(c.dims(), c.shape(1)), channels);
  return Convolve(c, c.value(1), channels / depth);
}

Verdict ConvertDepthwiseConv2D(Context& c) {
  Verdict verdict = CheckImageAndFilter(c, 0, 1);
  int64_t channels = 0;
  if (verdict.ok()) verdict = StaticChannels(c, 0, &channels);
  if (!verdict.ok()) return verdict;
  const Shape f = c.shape(1);
  TFE_REQUIRE(f[2].is(channels) && channels > 0, Reason::kAttribute, "filter {} does not fit {} input channels",
              ShapeText(c.dims(), f), channels);
  // [KH,KW,C,M] is [KH,KW,1,C*M] in memory, and filter c*M + m belongs to group c.
  TFE_LOWER(ValueId filter, c.Reshape(c.value(1), {f[0], f[1], 1, channels * f[3].value}));
  return Convolve(c, filter, channels);
}

Verdict ConvertConv2DBackpropInput(Context& c) {
  TFE_REQUIRE(c.num_inputs() == 3, Reason::kAttribute, "expected 3 inputs, got {}", c.num_inputs());
  Verdict verdict = CheckImageAndFilter(c, 2, 1);
  Window window;
  if (verdict.ok()) verdict = ReadWindow(c, &window);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(window.dilations[0] == 1 && window.dilations[1] == 1, Reason::kAttribute,
              "dilations: expected 1, got {}x{}", window.dilations[0], window.dilations[1]);
  const Shape f = c.shape(1);  // [KH,KW,out channels,in channels]
  Shape sizes;
  verdict = ReadSizes(c, 0, &sizes);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(sizes.size() == 4, Reason::kAttribute, "input_sizes: expected 4 numbers, got {}", sizes.size());
  ValueId x = c.value(2);
  if (window.nchw) {
    TFE_LOWER(x, ToNhwc(c, x));
    sizes = {sizes[0], sizes[2], sizes[3], sizes[1]};
  }
  const Shape in = c.ShapeOf(x);
  TFE_REQUIRE(in[3] == f[3] && sizes[3] == f[2], Reason::kAttribute,
              "filter {} does not fit input {} and output {}", ShapeText(c.dims(), f), ShapeText(c.dims(), in),
              ShapeText(c.dims(), sizes));
  Shape pads;
  verdict = ReadPads(c, window, {sizes[1], sizes[2]}, {f[0].value, f[1].value}, &pads);
  if (!verdict.ok()) return verdict;
  // The forward convolution must give the size of x back.
  DimTable& dims = c.dims();
  for (int axis = 0; axis < 2; ++axis) {
    Dim padded = dims.Add(sizes[1 + axis], dims.Add(pads[2 * axis], pads[2 * axis + 1]));
    Dim forward = dims.Add(dims.FloorDiv(dims.Sub(padded, f[axis]), window.strides[axis]), 1);
    Dim got = in[1 + axis];
    TFE_REQUIRE(!forward.is_const() || !got.is_const() || forward == got, Reason::kAttribute,
                "input_sizes {} do not fit the input {}", ShapeText(dims, sizes), ShapeText(dims, in));
    if (forward != got) c.network().AddConstraint(forward, got);
  }
  if (sizes[0] != in[0]) {
    TFE_REQUIRE(!(sizes[0].is_const() && in[0].is_const()), Reason::kAttribute, "input_sizes: batch {} is not {}",
                sizes[0].value, in[0].value);
    c.network().AddConstraint(sizes[0], in[0]);
    sizes[0] = in[0];
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kConv2dTranspose, {x, c.value(1), kNoValue},
                              {{"strides", window.strides},
                               {"pads", pads},
                               {"output_shape", sizes}}));
  if (window.nchw) {
    TFE_LOWER(y, ToNchw(c, y));
  }
  return c.Set(0, y);
}

Verdict ConvertBiasAdd(Context& c) {
  TFE_REQUIRE(c.rank(1) == 1 && c.rank(0) >= 2, Reason::kAttribute, "expected a bias of rank 1 and a value of rank >= 2");
  const bool channels_first = c.Str("data_format", "NHWC").substr(0, 2) == "NC" && c.rank(0) > 2;
  ValueId x = c.value(0);
  std::vector<int64_t> to_last{0};
  std::vector<int64_t> back{0, c.rank(0) - 1};
  if (channels_first) {
    for (int i = 2; i < c.rank(0); ++i) to_last.push_back(i);
    to_last.push_back(1);
    for (int i = 1; i + 1 < c.rank(0); ++i) back.push_back(i);
    TFE_LOWER(x, c.Transpose(x, to_last));
  }
  Dim channels = c.ShapeOf(x).back();
  Dim bias = c.shape(1)[0];
  TFE_REQUIRE(channels == bias || !channels.is_const() || !bias.is_const(), Reason::kAttribute,
              "bias has {} elements, the value {} channels", bias.value, channels.value);
  TFE_REQUIRE(!bias.is(1) || channels.is(1), Reason::kUnknownShape, "the number of channels is not known");
  TFE_LOWER(ValueId y, c.Emit(Op::kBinary, {x, c.value(1)}, {{"kind", "add"}}));
  if (channels_first) {
    TFE_LOWER(y, c.Transpose(y, back));
  }
  return c.Set(0, y);
}

}  // namespace tfengine::convert
