// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv.h"

#include <algorithm>

#include "backends/cpu/kernels/conv_dot.h"
#include "backends/cpu/lower/conv_call.h"
#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/product.h"
#include "base/errors.h"

namespace tfengine::cpu {
namespace {

std::optional<ConvShape> ShapeOf(const ConcreteNode& node) {
  if (!IsF32(node.inputs[1]) || !node.inputs[1].constant) return std::nullopt;
  const auto& x = node.inputs[0].shape;
  const auto& w = node.inputs[1].shape;
  const auto& y = node.outputs[0].shape;
  const auto strides = node.attrs.Ints("strides"), dilations = node.attrs.Ints("dilations");
  const Shape pads = node.attrs.Dims("pads");
  ConvShape s;
  s.batch = x[0], s.in_h = x[1], s.in_w = x[2], s.in_c = x[3];
  s.out_h = y[1], s.out_w = y[2], s.out_c = y[3];
  s.k_h = w[0], s.k_w = w[1];
  if (!strides.empty()) s.stride_h = strides[0], s.stride_w = strides[1];
  if (!dilations.empty()) s.dil_h = dilations[0], s.dil_w = dilations[1];
  if (!pads.empty()) s.pad_top = pads[0].value, s.pad_left = pads[2].value;
  s.groups = node.attrs.Int("groups", 1);
  s.x_pixel = node.inputs[0].pitch;
  s.y_pixel = node.outputs[0].pitch;
  if (node.has_input(3)) s.residual_pixel = node.inputs[3].pitch;
  // Padding beyond the image on the far side only: the kernels take it from the output size.
  if (s.Pixels() * s.out_c == 0 || s.in_h * s.in_w * s.in_c == 0) return std::nullopt;
  return s;
}

std::optional<TypedProduct> ProductOf(const ConcreteNode& node, const ConvShape& s) {
  return TypedProductOf(node, s.out_c, s.k_h * s.k_w * (s.in_c / std::max<int64_t>(1, s.groups)));
}

// Nothing but f32: the f32 tactics apply.
bool IsPlain(const TypedProduct& p) {
  return p.x.storage == Storage::kF32 && p.residual.storage == Storage::kF32 && p.out.storage == Storage::kF32;
}

template <typename Tactic>
std::vector<std::string> NamesOf(const std::vector<const Tactic*>& tactics) {
  auto is_depthwise = [](const Tactic* t) { return std::string_view(t->name()).substr(0, 9) == "depthwise"; };
  CpuIsa best = CpuIsa::kPortable;
  for (const Tactic* tactic : tactics) best = std::max(best, tactic->isa());
  const bool depthwise = std::any_of(tactics.begin(), tactics.end(), is_depthwise);
  // No competition worth timing: the same algorithm for an older instruction set, a matrix product per channel.
  std::vector<std::string> names;
  for (const Tactic* tactic : tactics)
    if (tactic->isa() == best && (is_depthwise(tactic) || !depthwise)) names.push_back(tactic->name());
  return names;
}

using Prepared = Result<std::optional<ConvCall>>;

Prepared PrepareTyped(const LowerContext& c, const ConvShape& shape, const TypedProduct& product, const Activation& activation) {
  const DotConvTactic* tactic = c.tactic.empty() ? nullptr : FindDotConvTactic(c.tactic);
  if (tactic == nullptr || tactic->type() != product.type || !tactic->Supports(shape)) {
    const auto tactics = DotConvTactics(shape, product.type);
    if (tactics.empty()) return std::optional<ConvCall>();
    tactic = tactics.front();
  }
  const auto filter = c.node.inputs[1].constant;
  const std::string key = fmt::format("conv {} {} g{} {}", static_cast<const void*>(filter->data()), tactic->name(), shape.groups, product.key);
  auto packed = c.weights.Get(key, static_cast<size_t>(tactic->PackedBytes(shape)),
                              [&](void* p) { tactic->Pack(shape, filter->as<float>(), product.steps, p); });
  if (!packed) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", tactic->PackedBytes(shape));
  ConvCall call;
  call.shape = shape;
  call.tactic = tactic->name();
  call.x_bytes = StorageBytes(product.x.storage);
  call.y_bytes = StorageBytes(product.out.storage);
  call.residual_bytes = StorageBytes(product.residual.storage);
  call.run = [=](const ConvShape& s, const ConvCall::Operands& o, void* scratch, Gang& gang) {
    DotConvArgs args;
    args.x = o.x;
    args.zero = product.x.zero;
    args.packed = packed->data();
    args.stage = product.Stage();
    args.stage.bias = o.bias;
    args.stage.activation = activation;
    args.residual = o.residual;
    args.y = o.y;
    args.scratch = scratch;
    tactic->Run(s, args, gang);
  };
  call.scratch_bytes = [tactic](const ConvShape& s, int threads) { return tactic->ScratchBytes(s, threads); };
  return std::optional<ConvCall>(std::move(call));
}

Prepared PreparePlain(const LowerContext& c, const ConvShape& shape, const Activation& activation) {
  const ConvTactic* tactic = c.tactic.empty() ? nullptr : FindConvTactic(c.tactic);
  if (tactic == nullptr || !tactic->Supports(shape)) {
    const auto tactics = ConvTactics(shape);
    if (tactics.empty()) return std::optional<ConvCall>();
    tactic = tactics.front();
  }
  const auto filter = c.node.inputs[1].constant;
  // The packed form depends on the filter, the tactic and what Pack may look at: groups, stride and dilation.
  const std::string key = fmt::format("conv {} {} g{} s{},{} d{},{}", static_cast<const void*>(filter->data()), tactic->name(),
                                      shape.groups, shape.stride_h, shape.stride_w, shape.dil_h, shape.dil_w);
  auto packed = c.weights.Get(key, static_cast<size_t>(tactic->PackedBytes(shape)),
                              [&](void* p) { tactic->Pack(shape, filter->as<float>(), p); });
  if (!packed) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", tactic->PackedBytes(shape));
  ConvCall call;
  call.shape = shape;
  call.tactic = tactic->name();
  call.run = [=](const ConvShape& s, const ConvCall::Operands& o, void* scratch, Gang& gang) {
    ConvArgs args;
    args.x = F32(o.x);
    args.packed = packed->data();
    args.bias = o.bias;
    args.residual = F32(o.residual);
    args.activation = activation;
    args.y = F32(o.y);
    args.scratch = scratch;
    tactic->Run(s, args, gang);
  };
  call.scratch_bytes = [tactic](const ConvShape& s, int threads) { return tactic->ScratchBytes(s, threads); };
  return std::optional<ConvCall>(std::move(call));
}

}  // namespace

std::vector<std::string> Conv2dTactics(const ConcreteNode& node) {
  const auto shape = ShapeOf(node);
  const auto product = shape ? ProductOf(node, *shape) : std::nullopt;
  if (!product) return {};
  return IsPlain(*product) ? NamesOf(ConvTactics(*shape)) : NamesOf(DotConvTactics(*shape, product->type));
}

Result<std::optional<ConvCall>> PrepareConv(const LowerContext& c) {
  TFE_RETURN_IF_ERROR(CheckPads(c.node));
  const auto shape = ShapeOf(c.node);
  const auto activation = ActivationOf(c.node.attrs);
  const auto product = shape ? ProductOf(c.node, *shape) : std::nullopt;
  if (!product || !activation) return std::optional<ConvCall>();
  auto prepared = IsPlain(*product) ? PreparePlain(c, *shape, *activation) : PrepareTyped(c, *shape, *product, *activation);
  if (prepared.ok() && *prepared) {
    (*prepared)->bias = c.node.has_input(2);
    (*prepared)->residual = c.node.has_input(3);
  }
  return prepared;
}

LowerResult LowerConv2d(const LowerContext& c) {
  TFE_ASSIGN_OR_RETURN(std::optional<ConvCall> prepared, PrepareConv(c));
  if (!prepared) return std::optional<Lowered>();
  const ConvCall& call = *prepared;
  std::vector<int> in = {0};
  if (call.bias) in.push_back(2);
  if (call.residual) in.push_back(3);
  const bool in_place = call.residual && call.residual_bytes == call.y_bytes;
  return WithViews(MakeLowered(
      call.tactic, std::move(in),
      [call](const void* const* in, void* const* out, void* scratch, Gang& gang) {
        ConvCall::Operands o;
        o.x = in[0];
        o.bias = call.bias ? F32(in[1]) : nullptr;
        o.residual = call.residual ? in[call.bias ? 2 : 1] : nullptr;
        o.y = out[0];
        call.run(call.shape, o, scratch, gang);
        return OkStatus();
      },
      in_place ? 3 : -1,
      [call](int threads) { return static_cast<size_t>(call.scratch_bytes(call.shape, threads)); }));
}

}  // namespace tfengine::cpu
