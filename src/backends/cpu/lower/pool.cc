// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/lower/pool_call.h"

#include "base/status_macros.h"

namespace tfengine::cpu {

Result<std::optional<PoolCall>> PreparePool(const ConcreteNode& node) {
  TFE_RETURN_IF_ERROR(CheckPads(node));
  PoolCall call;
  call.op = node.attrs.Str("kind") == "max" ? PoolOp::k_max : PoolOp::k_avg;
  auto formats = RealFormats(node, {0});
  if (call.op == PoolOp::k_max) {  // moves elements of any type
    const auto format = FormatOf(node.inputs[0]);
    if (format) formats = {*format, *format};
  }
  if (!formats) return std::optional<PoolCall>();
  call.from = formats->front();
  call.to = formats->back();
  const auto& x = node.inputs[0].shape;
  const auto& y = node.outputs[0].shape;
  const auto ksize = node.attrs.Ints("ksize"), strides = node.attrs.Ints("strides");
  const Shape pads = node.attrs.Dims("pads");
  PoolShape& s = call.shape;
  s.batch = x[0], s.in_h = x[1], s.in_w = x[2], s.channels = x[3];
  s.out_h = y[1], s.out_w = y[2];
  s.window_h = ksize[0], s.window_w = ksize[1];
  s.stride_h = strides[0], s.stride_w = strides[1];
  if (!pads.empty()) s.pad_top = pads[0].value, s.pad_left = pads[2].value;
  s.x_pixel = node.inputs[0].pitch;
  s.y_pixel = node.outputs[0].pitch;
  return std::optional<PoolCall>(std::move(call));
}

LowerResult LowerPool(const LowerContext& c) {
  TFE_ASSIGN_OR_RETURN(std::optional<PoolCall> prepared, PreparePool(c.node));
  if (!prepared) return std::optional<Lowered>();
  return WithViews(MakeLowered("nhwc", {0}, [call = *prepared](const void* const* in, void* const* out, void*, Gang& gang) {
    call.Run(call.shape, in[0], out[0], gang);
    return OkStatus();
  }));
}

}  // namespace tfengine::cpu
