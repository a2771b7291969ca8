// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_transpose.h"

#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

LowerResult LowerConv2dTranspose(const LowerContext& c) {
  TFE_RETURN_IF_ERROR(CheckPads(c.node));
  const auto activation = ActivationOf(c.node.attrs);
  const Operand& filter = c.node.inputs[1];
  if (!activation || !IsF32(c.node.inputs[0]) || !IsF32(filter) || !filter.constant) return std::optional<Lowered>();
  const auto& x = c.node.inputs[0].shape;
  const auto& y = c.node.outputs[0].shape;
  const auto strides = c.node.attrs.Ints("strides"), dilations = c.node.attrs.Ints("dilations");
  const Shape pads = c.node.attrs.Dims("pads");
  ConvTransposeShape s;
  s.batch = x[0], s.in_h = x[1], s.in_w = x[2], s.in_c = x[3];
  s.out_h = y[1], s.out_w = y[2], s.out_c = y[3];
  s.k_h = filter.shape[0], s.k_w = filter.shape[1];
  if (!strides.empty()) s.stride_h = strides[0], s.stride_w = strides[1];
  if (!dilations.empty()) s.dil_h = dilations[0], s.dil_w = dilations[1];
  if (!pads.empty()) s.pad_top = pads[0].value, s.pad_left = pads[2].value;
  if (c.node.inputs[0].num_elements() * c.node.outputs[0].num_elements() == 0) return std::optional<Lowered>();
  const CpuIsa isa = HostCpu().isa;
  const std::string key = fmt::format("conv_transpose {} s{},{} d{},{}", filter.constant->data(), s.stride_h, s.stride_w,
                                      s.dil_h, s.dil_w);
  const auto bytes = static_cast<size_t>(ConvTransposePackedBytes(s, isa));
  auto packed = c.weights.Get(key, bytes, [&](void* p) { ConvTransposePack(s, isa, filter.constant->as<float>(), p); });
  if (!packed) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", bytes);
  const bool bias = c.node.has_input(2);
  std::vector<int> in = {0};
  if (bias) in.push_back(2);
  auto run = [=, act = *activation](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    ConvTransposeArgs args;
    args.x = F32(in[0]);
    args.packed = packed->data();
    args.bias = bias ? F32(in[1]) : nullptr;
    args.activation = act;
    args.y = F32(out[0]);
    args.scratch = scratch;
    ConvTransposeRun(s, isa, args, gang);
    return OkStatus();
  };
  return MakeLowered("direct", std::move(in), std::move(run), -1, [s, isa](int threads) {
    return static_cast<size_t>(ConvTransposeScratchBytes(s, isa, threads));
  });
}

}  // namespace tfengine::cpu
