// SPDX-License-Identifier: Apache-2.0
// Convolutions, pooling and other ops on images [N,H,W,C].
#include "base/status_macros.h"
#include "network/infer.h"

namespace tfengine {

Dim SamePadding(DimTable& dims, Dim size, int64_t window, int64_t stride) {
  if (window <= 1) return Dim(0);
  // (ceil(size / stride) - 1) * stride + window - size, which is never negative if window >= stride.
  const Dim outputs = dims.FloorDiv(dims.Add(size, Dim(stride - 1)), Dim(stride));
  const Dim total = dims.Sub(dims.Add(dims.Mul(dims.Sub(outputs, Dim(1)), Dim(stride)), Dim(window)), size);
  return window >= stride ? total : dims.Max(total, Dim(0));
}

namespace infer {
namespace {

struct Window {
  std::vector<int64_t> strides, dilations;
  Shape pads;
};

constexpr int64_t kMaxStride = 1 << 20;

Result<Window> ReadWindow(Context& c) {
  for (const char* key : {"strides", "dilations", "ksize"}) {
    TFE_RETURN_IF_ERROR(c.List(key, 2, 1));
    for (int64_t v : c.attrs().Ints(key))
      if (v > kMaxStride) return c.Fail("attribute {}: {} is too large", key, v);
  }
  TFE_RETURN_IF_ERROR(c.List("pads", 4, 0));
  Window w{c.attrs().Ints("strides"), c.attrs().Ints("dilations"), c.attrs().Dims("pads")};
  if (w.strides.empty()) w.strides = {1, 1};
  if (w.dilations.empty()) w.dilations = {1, 1};
  if (w.pads.empty()) w.pads = {0, 0, 0, 0};
  return w;
}

// Positions of a window of `ksize` along axis 0 (H) or 1 (W).
Dim Positions(Context& c, const Window& w, int axis, Dim size, Dim ksize) {
  DimTable& dims = c.dims();
  const Dim covered = dims.Add(dims.Mul(dims.Sub(ksize, Dim(1)), Dim(w.dilations[axis])), Dim(1));
  const Dim padded = dims.Add(size, dims.Add(w.pads[2 * axis], w.pads[2 * axis + 1]));
  return dims.Add(dims.FloorDiv(dims.Sub(padded, covered), Dim(w.strides[axis])), Dim(1));
}

bool ConvType(DType dtype) { return IsFloat(dtype) || dtype == DType::kInt32; }

}  // namespace

Result<Types> Conv2d(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, ConvType, "f16, bf16, f32, f64 or i32"));
  TFE_RETURN_IF_ERROR(c.SameType(1, 1));
  TFE_RETURN_IF_ERROR(c.Rank(0, 4));
  TFE_RETURN_IF_ERROR(c.Rank(1, 4));
  TFE_RETURN_IF_ERROR(c.Activation());
  TFE_ASSIGN_OR_RETURN(const Window w, ReadWindow(c));
  const Shape x = c.shape(0), filter = c.shape(1);
  const int64_t groups = c.attrs().Int("groups", 1);
  if (groups < 1) return c.Fail("attribute groups: expected 1 or more, got {}", groups);
  TFE_RETURN_IF_ERROR(c.Equal(x[3], c.dims().Mul(filter[2], Dim(groups)), "channels of x against filter"));
  Dim per_group;
  TFE_RETURN_IF_ERROR(c.Multiple(filter[3], groups, "output channels per group", &per_group));
  const Shape out = {x[0], Positions(c, w, 0, x[1], filter[0]), Positions(c, w, 1, x[2], filter[1]), filter[3]};
  TFE_RETURN_IF_ERROR(c.Optional(2, {filter[3]}));
  TFE_RETURN_IF_ERROR(c.Optional(3, out));
  return Types{{c.dtype(0), out}};
}

Result<Types> Conv2dTranspose(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, ConvType, "f16, bf16, f32, f64 or i32"));
  TFE_RETURN_IF_ERROR(c.SameType(1, 1));
  TFE_RETURN_IF_ERROR(c.Rank(0, 4));
  TFE_RETURN_IF_ERROR(c.Rank(1, 4));
  TFE_RETURN_IF_ERROR(c.Activation());
  TFE_RETURN_IF_ERROR(c.List("output_shape", 4, 0));
  TFE_ASSIGN_OR_RETURN(const Window w, ReadWindow(c));
  const Shape x = c.shape(0), filter = c.shape(1), out = c.attrs().Dims("output_shape");
  TFE_RETURN_IF_ERROR(c.Equal(x[0], out[0], "batch of output_shape"));
  TFE_RETURN_IF_ERROR(c.Equal(filter[2], out[3], "channels of output_shape"));
  TFE_RETURN_IF_ERROR(c.Equal(filter[3], x[3], "channels of x"));
  TFE_RETURN_IF_ERROR(c.Equal(Positions(c, w, 0, out[1], filter[0]), x[1], "height of x for output_shape"));
  TFE_RETURN_IF_ERROR(c.Equal(Positions(c, w, 1, out[2], filter[1]), x[2], "width of x for output_shape"));
  TFE_RETURN_IF_ERROR(c.Optional(2, {filter[2]}));
  return Types{{c.dtype(0), out}};
}

Result<Types> Pool(Context& c) {
  const std::string kind = c.attrs().Str("kind");
  if (kind == "avg") {
    TFE_RETURN_IF_ERROR(c.Type(0, IsFloat, "floating point"));
  } else if (kind == "max") {
    TFE_RETURN_IF_ERROR(c.Type(0, IsNumeric, "numeric"));
  } else {
    return c.Fail("attribute kind: expected max or avg, got \"{}\"", kind);
  }
  TFE_RETURN_IF_ERROR(c.Rank(0, 4));
  TFE_ASSIGN_OR_RETURN(const Window w, ReadWindow(c));
  const Shape& x = c.shape(0);
  const std::vector<int64_t> ksize = c.attrs().Ints("ksize");
  return Types{{c.dtype(0),
                {x[0], Positions(c, w, 0, x[1], Dim(ksize[0])), Positions(c, w, 1, x[2], Dim(ksize[1])), x[3]}}};
}

Result<Types> Resize(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsNumeric, "numeric"));
  TFE_RETURN_IF_ERROR(c.Rank(0, 4));
  TFE_RETURN_IF_ERROR(c.List("size", 2, 0));
  const std::string kind = c.attrs().Str("kind");
  if (kind != "bilinear" && kind != "nearest")
    return c.Fail("attribute kind: expected bilinear or nearest, got \"{}\"", kind);
  if (c.attrs().Bool("align_corners") && c.attrs().Bool("half_pixel"))
    return c.Fail("align_corners and half_pixel exclude each other");
  const Shape size = c.attrs().Dims("size"), &x = c.shape(0);
  return Types{{kind == "bilinear" ? DType::kFloat32 : c.dtype(0), {x[0], size[0], size[1], x[3]}}};
}

Result<Types> DepthToSpace(Context& c) {
  TFE_RETURN_IF_ERROR(c.Rank(0, 4));
  TFE_RETURN_IF_ERROR(c.Range("block", 2, 1 << 15));
  const int64_t block = c.attrs().Int("block");
  const Shape x = c.shape(0);
  Dim channels;
  TFE_RETURN_IF_ERROR(c.Multiple(x[3], block * block, "channels", &channels));
  return Types{{c.dtype(0), {x[0], c.dims().Mul(x[1], Dim(block)), c.dims().Mul(x[2], Dim(block)), channels}}};
}

Result<Types> SpaceToDepth(Context& c) {
  TFE_RETURN_IF_ERROR(c.Rank(0, 4));
  TFE_RETURN_IF_ERROR(c.Range("block", 2, 1 << 15));
  const int64_t block = c.attrs().Int("block");
  const Shape x = c.shape(0);
  Dim h, w;
  TFE_RETURN_IF_ERROR(c.Multiple(x[1], block, "height", &h));
  TFE_RETURN_IF_ERROR(c.Multiple(x[2], block, "width", &w));
  return Types{{c.dtype(0), {x[0], h, w, c.dims().Mul(x[3], Dim(block * block))}}};
}

}  // namespace infer
}  // namespace tfengine
