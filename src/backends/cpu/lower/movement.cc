// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/kernels/concat.h"
#include "backends/cpu/kernels/gather.h"
#include "backends/cpu/kernels/pad.h"
#include "backends/cpu/kernels/resize.h"
#include "backends/cpu/kernels/slice.h"
#include "backends/cpu/kernels/transpose.h"
#include "backends/cpu/lower/lower.h"
#include "backends/ref/element.h"

namespace tfengine::cpu {
namespace {

// One element of `dtype` holding `value`, in the low bytes. Only dtypes whose kernels take a fill value.
std::optional<uint64_t> ElementBits(DType dtype, double value) {
  uint64_t bits = 0;
  auto put = [&](auto typed) { std::memcpy(&bits, &typed, sizeof(typed)); };
  switch (dtype) {
    case DType::kFloat32: put(static_cast<float>(value)); break;
    case DType::kFloat64: put(value); break;
    case DType::kBfloat16: put(ref::FloatToBfloat16(static_cast<float>(value))); break;
    case DType::kInt32: put(static_cast<int32_t>(value)); break;
    case DType::kInt64: put(static_cast<int64_t>(value)); break;
    case DType::kUint8: put(static_cast<uint8_t>(value)); break;
    case DType::kInt8: put(static_cast<int8_t>(value)); break;
    case DType::kBool: put(value != 0); break;
    default: return std::nullopt;
  }
  return bits;
}

}  // namespace

LowerResult LowerTranspose(const LowerContext& c) {
  if (!IsMovable(c.node.inputs[0])) return std::optional<Lowered>();
  const auto dims = c.node.inputs[0].shape, perm = c.node.attrs.Ints("perm");
  const size_t size = DTypeSize(c.node.inputs[0].dtype);
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    Transpose(in[0], dims, perm, size, out[0], gang);
    return OkStatus();
  };
  return MakeLowered("blocked", {0}, std::move(run));
}

LowerResult LowerBroadcast(const LowerContext& c) {
  if (!IsMovable(c.node.inputs[0])) return std::optional<Lowered>();
  const auto dims = c.node.inputs[0].shape, result = c.node.outputs[0].shape;
  const size_t size = DTypeSize(c.node.inputs[0].dtype);
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    BroadcastTo(in[0], dims, result, size, out[0], gang);
    return OkStatus();
  };
  return MakeLowered("copy", {0}, std::move(run));
}

LowerResult LowerConcat(const LowerContext& c) {
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  const Operand& y = c.node.outputs[0];
  const int64_t outer = Product(y.shape, 0, axis), element = static_cast<int64_t>(DTypeSize(y.dtype));
  // From one outer index to the next: where rows lie apart the axis must be the last (see below).
  auto distance = [&](const Operand& o) { return (o.pitch > 0 ? o.pitch : Product(o.shape, axis, o.shape.size())) * element; };
  std::vector<ConcatInput> base;
  std::vector<int> in;
  int64_t at = 0;
  for (size_t i = 0; i < c.node.inputs.size(); ++i) {
    const Operand& o = c.node.inputs[i];
    const int64_t bytes = Product(o.shape, axis, o.shape.size()) * element;
    if (!o.placed) {
      base.push_back({nullptr, bytes, distance(o), at});
      in.push_back(static_cast<int>(i));
    }
    at += bytes;
  }
  auto run = [=, to_distance = distance(y)](const void* const* in, void* const* out, void*, Gang& gang) {
    std::vector<ConcatInput> inputs = base;
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i].data = in[i];
    Concat(inputs, outer, out[0], to_distance, gang);
    return OkStatus();
  };
  return WithViews(MakeLowered("copy", std::move(in), std::move(run)), axis + 1 == y.shape.size());
}

LowerResult LowerSlice(const LowerContext& c) {
  if (!IsMovable(c.node.inputs[0])) return std::optional<Lowered>();
  auto dims = c.node.inputs[0].shape;
  const auto begin = Numbers(c.node.attrs.Dims("begin")), size = c.node.outputs[0].shape, stride = c.node.attrs.Ints("strides");
  const size_t element = DTypeSize(c.node.inputs[0].dtype);
  for (size_t d = 0; d < dims.size(); ++d) {
    if (size[d] == 0) continue;
    const int64_t last = begin[d] + (size[d] - 1) * stride[d];
    if (begin[d] < 0 || begin[d] >= dims[d] || last < 0 || last >= dims[d]) return std::optional<Lowered>();
  }
  if (c.node.inputs[0].pitch > 0) dims.back() = c.node.inputs[0].pitch;
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    Slice(in[0], dims, begin, size, stride, element, out[0], gang);
    return OkStatus();
  };
  return WithViews(MakeLowered("copy", {0}, std::move(run)), c.node.outputs[0].pitch == 0);
}

LowerResult LowerPad(const LowerContext& c) {
  if (!IsMovable(c.node.inputs[0])) return std::optional<Lowered>();
  const auto dims = c.node.inputs[0].shape, lo = Numbers(c.node.attrs.Dims("lo")), hi = Numbers(c.node.attrs.Dims("hi"));
  double fill = c.node.attrs.Float("value");
  if (const Quant& quant = c.node.inputs[0].quant; quant.quantized()) {  // codes: the one of the value
    fill = std::isnan(fill) ? quant.zero : std::clamp(std::nearbyint(fill / quant.scale) + quant.zero, 0.0, 255.0);
  }
  const auto bits = ElementBits(c.node.inputs[0].dtype, fill);
  const std::string mode_name = c.node.attrs.Str("mode", "constant");
  if (!bits) return std::optional<Lowered>();
  PadMode mode = PadMode::k_constant;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (lo[d] < 0 || hi[d] < 0) return std::optional<Lowered>();
    const int64_t limit = mode_name == "reflect" ? dims[d] - 1 : dims[d];
    if (mode_name != "constant" && (lo[d] > limit || hi[d] > limit)) return std::optional<Lowered>();
  }
  if (mode_name == "reflect") mode = PadMode::k_reflect;
  if (mode_name == "symmetric") mode = PadMode::k_symmetric;
  const size_t element = DTypeSize(c.node.inputs[0].dtype);
  auto run = [=, value = *bits](const void* const* in, void* const* out, void*, Gang& gang) {
    Pad(mode, in[0], dims, lo, hi, &value, element, out[0], gang);
    return OkStatus();
  };
  return MakeLowered("copy", {0}, std::move(run));
}

LowerResult LowerGather(const LowerContext& c) {
  const auto& params = c.node.inputs[0].shape;
  const auto& indices = c.node.inputs[1].shape;
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis")), batch = static_cast<size_t>(c.node.attrs.Int("batch_dims"));
  GatherShape s;
  s.batch = Product(params, 0, batch);
  s.outer = Product(params, batch, axis);
  s.axis = params[axis];
  s.inner = Product(params, axis + 1, params.size());
  s.count = Product(indices, batch, indices.size());
  s.wrap = c.node.attrs.Bool("wrap");
  const DType type = c.node.inputs[1].dtype;
  const size_t element = DTypeSize(c.node.inputs[0].dtype);
  if (type != DType::kInt32 && type != DType::kInt64) return std::optional<Lowered>();
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    return Gather(s, in[0], in[1], type, element, out[0], gang);
  };
  return MakeLowered("copy", {0, 1}, std::move(run));
}

LowerResult LowerGatherNd(const LowerContext& c) {
  const auto& params = c.node.inputs[0].shape;
  const auto& indices = c.node.inputs[1].shape;
  const auto batch = static_cast<size_t>(c.node.attrs.Int("batch_dims"));
  const DType type = c.node.inputs[1].dtype;
  if (type != DType::kInt32 && type != DType::kInt64) return std::optional<Lowered>();
  GatherNdShape s;
  s.batch = Product(params, 0, batch);
  s.rank = static_cast<int>(indices.back());
  s.count = Product(indices, batch, indices.size() - 1);
  for (int i = 0; i < s.rank; ++i) s.dims[i] = params[batch + static_cast<size_t>(i)];
  s.inner = Product(params, batch + static_cast<size_t>(s.rank), params.size());
  const size_t element = DTypeSize(c.node.inputs[0].dtype);
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    return GatherNd(s, in[0], in[1], type, element, out[0], gang);
  };
  return MakeLowered("copy", {0, 1}, std::move(run));
}

LowerResult LowerOneHot(const LowerContext& c) {
  const auto& y = c.node.outputs[0].shape;
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  const DType type = c.node.inputs[0].dtype;
  const auto on = ElementBits(c.node.outputs[0].dtype, c.node.attrs.Float("on", 1));
  const auto off = ElementBits(c.node.outputs[0].dtype, c.node.attrs.Float("off"));
  if (!on || !off || (type != DType::kInt32 && type != DType::kInt64)) return std::optional<Lowered>();
  const int64_t outer = Product(y, 0, axis), depth = y[axis], inner = Product(y, axis + 1, y.size());
  const size_t element = DTypeSize(c.node.outputs[0].dtype);
  auto run = [=, on = *on, off = *off](const void* const* in, void* const* out, void*, Gang& gang) {
    OneHot(in[0], type, outer, depth, inner, &on, &off, element, out[0], gang);
    return OkStatus();
  };
  return MakeLowered("copy", {0}, std::move(run));
}

LowerResult LowerTile(const LowerContext& c) {
  if (!IsMovable(c.node.inputs[0])) return std::optional<Lowered>();
  const auto dims = c.node.inputs[0].shape, reps = Numbers(c.node.attrs.Dims("reps"));
  const size_t element = DTypeSize(c.node.inputs[0].dtype);
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    Tile(in[0], dims, reps, element, out[0], gang);
    return OkStatus();
  };
  return MakeLowered("copy", {0}, std::move(run));
}

LowerResult LowerResize(const LowerContext& c) {
  const auto& x = c.node.inputs[0].shape;
  const auto& y = c.node.outputs[0].shape;
  if (Product(x, 1, 4) == 0) return std::optional<Lowered>();
  ResizeShape s;
  s.batch = x[0], s.in_h = x[1], s.in_w = x[2], s.channels = x[3];
  s.out_h = y[1], s.out_w = y[2];
  s.x_pixel = c.node.inputs[0].pitch;
  s.y_pixel = c.node.outputs[0].pitch;
  s.align_corners = c.node.attrs.Bool("align_corners");
  s.half_pixel = c.node.attrs.Bool("half_pixel");
  const size_t element = DTypeSize(c.node.inputs[0].dtype);
  const bool bilinear = c.node.attrs.Str("kind") == "bilinear";
  const auto formats = bilinear ? RealFormats(c.node, {0}) : std::vector<Format>(2);
  if (!formats) return std::optional<Lowered>();
  auto run = [=, from = formats->front(), to = formats->back()](const void* const* in, void* const* out, void*, Gang& gang) {
    if (bilinear) {
      ResizeBilinear(s, in[0], from, out[0], to, gang);
    } else {
      ResizeNearest(s, in[0], element, out[0], gang);
    }
    return OkStatus();
  };
  return WithViews(MakeLowered("nhwc", {0}, std::move(run)));
}

LowerResult LowerBlocks(const LowerContext& c) {
  if (!IsMovable(c.node.inputs[0])) return std::optional<Lowered>();
  const auto dims = c.node.inputs[0].shape;
  const int64_t block = c.node.attrs.Int("block");
  const size_t element = DTypeSize(c.node.inputs[0].dtype);
  const bool to_space = c.node.op == Op::kDepthToSpace;
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    (to_space ? DepthToSpace : SpaceToDepth)(in[0], dims, block, element, out[0], gang);
    return OkStatus();
  };
  return MakeLowered("copy", {0}, std::move(run));
}

}  // namespace tfengine::cpu
