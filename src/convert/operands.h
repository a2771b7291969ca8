// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "convert/context.h"

// Operands that TensorFlow passes as tensors and an engine needs as attributes.
namespace tfengine::convert {

// A constant scalar axis in [-rank, rank), made non-negative.
Verdict ReadAxis(Context& c, int input, int rank, int* axis);
// The same for an axis that is an attribute or is already known.
Verdict NormalizeAxis(int64_t axis, int rank, int* normal);
// A constant list (or scalar) of axes, normalised and sorted; repeated axes are rejected.
Verdict ReadAxes(Context& c, int input, int rank, std::vector<int64_t>* axes);
// A rank-0 or rank-1 tensor of sizes known once the input shapes are known.
Verdict ReadSizes(Context& c, int input, Shape* sizes);
// A scalar of that kind.
Verdict ReadSize(Context& c, int input, Dim* size);

// a <= b, which TensorFlow checks at run time: proven, false (rejected), or from now on a condition of the network.
Verdict RequireAtMost(Context& c, Dim a, Dim b, const char* what);

// ceil(a / b) for b > 0.
Dim CeilDiv(DimTable& dims, Dim a, Dim b);

// x [N,C,H,W] -> [N,H,W,C] and back.
Result<ValueId> ToNhwc(Context& c, ValueId x);
Result<ValueId> ToNchw(Context& c, ValueId x);

// A slice of one axis; the other axes are kept.
Result<ValueId> SliceAxis(Context& c, ValueId x, int axis, Dim begin, Dim size);

// Two-dimensional window attributes of Conv2D, MaxPool ... from lists in the node's data format.
struct Window {
  bool nchw = false;
  std::vector<int64_t> strides;    // [2]
  std::vector<int64_t> dilations;  // [2]
};
// Reads data_format, strides and dilations. Rejects strides over batch or channels.
Verdict ReadWindow(Context& c, Window* window);
// pads[4] = top, bottom, left, right of a window of `ksize` over `in`, from attributes padding and explicit_paddings.
Verdict ReadPads(Context& c, const Window& window, const Shape& in_hw, const std::vector<int64_t>& ksize, Shape* pads);

}  // namespace tfengine::convert
