// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

bool IsUniform(const Context& c, int input, double value) {
  return c.input(input).uniform && *c.input(input).uniform == value;
}

// y * scale + offset over channels that `shape` places among the axes of y; all-one scales and all-zero offsets cost
// nothing.
Result<ValueId> ScaleAndShift(Context& c, ValueId y, const Shape& shape) {
  if (!IsUniform(c, 1, 1)) {
    TFE_ASSIGN_OR_RETURN(ValueId scale, c.Reshape(c.value(1), shape));
    TFE_ASSIGN_OR_RETURN(y, c.Emit(Op::kBinary, {y, scale}, {{"kind", "mul"}}));
  }
  if (!IsUniform(c, 2, 0)) {
    TFE_ASSIGN_OR_RETURN(ValueId offset, c.Reshape(c.value(2), shape));
    TFE_ASSIGN_OR_RETURN(y, c.Emit(Op::kBinary, {y, offset}, {{"kind", "add"}}));
  }
  return y;
}

// One image in channels-first order: each channel is normalised over its own pixels, which is a layer norm over the
// last axis. Keras 2 writes LayerNormalization so.
//
//   x [1,C,H,W] -> reshape [C,H*W] -> layer_norm -> reshape [1,C,H,W]
Result<ValueId> NormalizeRows(Context& c, double epsilon) {
  const Shape shape = c.shape(0);
  Dim row = c.dims().Product(Shape(shape.begin() + 2, shape.end()));
  TFE_ASSIGN_OR_RETURN(ValueId rows, c.Reshape(c.value(0), {shape[1], row}));
  TFE_ASSIGN_OR_RETURN(ValueId y, c.Emit(Op::kLayerNorm, {rows, kNoValue, kNoValue, kNoValue}, {{"epsilon", epsilon}}));
  TFE_ASSIGN_OR_RETURN(y, ScaleAndShift(c, y, {shape[1], 1}));
  return c.Reshape(y, shape);
}

// (x - mean) * rsqrt(variance + epsilon), statistics over every axis but `channel`.
Result<ValueId> NormalizeBatch(Context& c, int channel, double epsilon) {
  std::vector<int64_t> axes;
  Shape broadcast(c.rank(0), Dim(1));
  broadcast[channel] = c.shape(0)[channel];
  for (int i = 0; i < c.rank(0); ++i) {
    if (i != channel) axes.push_back(i);
  }
  Attrs mean{{"kind", "mean"}, {"axes", axes}, {"keepdims", true}};
  TFE_ASSIGN_OR_RETURN(ValueId average, c.Emit(Op::kReduce, {c.value(0)}, mean));
  TFE_ASSIGN_OR_RETURN(ValueId centered, c.Emit(Op::kBinary, {c.value(0), average}, {{"kind", "sub"}}));
  TFE_ASSIGN_OR_RETURN(ValueId squares, c.Emit(Op::kUnary, {centered}, {{"kind", "square"}}));
  TFE_ASSIGN_OR_RETURN(ValueId variance, c.Emit(Op::kReduce, {squares}, mean));
  TFE_ASSIGN_OR_RETURN(variance, c.Emit(Op::kBinary, {variance, c.Scalar(DType::kFloat32, epsilon)}, {{"kind", "add"}}));
  TFE_ASSIGN_OR_RETURN(ValueId factor, c.Emit(Op::kUnary, {variance}, {{"kind", "rsqrt"}}));
  TFE_ASSIGN_OR_RETURN(ValueId y, c.Emit(Op::kBinary, {centered, factor}, {{"kind", "mul"}}));
  return ScaleAndShift(c, y, broadcast);
}

}  // namespace

// FusedBatchNorm, V2, V3. The statistics outputs are those of training and have no converter.
Verdict ConvertFusedBatchNorm(Context& c) {
  TFE_REQUIRE(c.dtype() == DType::kFloat32, Reason::kDType, "expected float32, got {}", DTypeName(c.dtype()));
  const std::string format = c.Str("data_format", "NHWC");
  const bool first = format == "NCHW" || format == "NCDHW";
  TFE_REQUIRE(first || format == "NHWC" || format == "NDHWC", Reason::kAttribute, "data_format: {} is not supported",
              format);
  TFE_REQUIRE(c.rank(0) == static_cast<int>(format.size()), Reason::kAttribute, "expected rank {}, got {}",
              format.size(), c.rank(0));
  const double epsilon = static_cast<double>(c.Float("epsilon", 1e-4f));
  const int last = c.rank(0) - 1;
  if (c.Bool("is_training", true)) {
    TFE_REQUIRE(!c.used(1) && !c.used(2), Reason::kAttribute, "is_training=true with statistics that are used");
    const bool rows = first && c.shape(0)[0].is(1);
    TFE_LOWER(ValueId y, rows ? NormalizeRows(c, epsilon) : NormalizeBatch(c, first ? 1 : last, epsilon));
    return c.Set(0, y);
  }
  ValueId x = c.value(0);
  std::vector<int64_t> to_last{0}, back{0, last};
  for (int i = 2; i <= last; ++i) to_last.push_back(i);
  for (int i = 1; i < last; ++i) back.push_back(i);
  to_last.push_back(1);
  if (first) {
    TFE_LOWER(x, c.Transpose(x, to_last));
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kBatchNorm, {x, c.value(1), c.value(2), c.value(3), c.value(4)},
                              {{"epsilon", epsilon}}));
  if (first) {
    TFE_LOWER(y, c.Transpose(y, back));
  }
  return c.Set(0, y);
}

}  // namespace tfengine::convert
