// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv.h"

#include <algorithm>

#include "backends/cpu/kernels/conv_dot.h"
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
  CpuIsa best = CpuIsa::kPortable;
  for (const Tactic* tactic : tactics) best = std::max(best, tactic->isa());
  // The same algorithm for an older instruction set is no competition worth timing.
  std::vector<std::string> names;
  for (const Tactic* tactic : tactics)
    if (tactic->isa() == best) names.push_back(tactic->name());
  return names;
}

LowerResult LowerTypedConv2d(const LowerContext& c, const ConvShape& shape, const TypedProduct& product, const Activation& activation) {
  const DotConvTactic* tactic = c.tactic.empty() ? nullptr : FindDotConvTactic(c.tactic);
  if (tactic == nullptr || tactic->type() != product.type || !tactic->Supports(shape)) {
    const auto tactics = DotConvTactics(shape, product.type);
    if (tactics.empty()) return std::optional<Lowered>();
    tactic = tactics.front();
  }
  const auto filter = c.node.inputs[1].constant;
  const std::string key = fmt::format("conv {} {} g{} {}", static_cast<const void*>(filter->data()), tactic->name(), shape.groups, product.key);
  auto packed = c.weights.Get(key, static_cast<size_t>(tactic->PackedBytes(shape)),
                              [&](void* p) { tactic->Pack(shape, filter->as<float>(), product.steps, p); });
  if (!packed) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", tactic->PackedBytes(shape));
  std::vector<int> in = {0};
  const bool bias = c.node.has_input(2), residual = c.node.has_input(3);
  if (bias) in.push_back(2);
  if (residual) in.push_back(3);
  auto run = [=](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    DotConvArgs args;
    args.x = in[0];
    args.zero = product.x.zero;
    args.packed = packed->data();
    args.stage = product.Stage();
    if (bias) args.stage.bias = F32(in[1]);
    args.stage.activation = activation;
    if (residual) args.residual = in[bias ? 2 : 1];
    args.y = out[0];
    args.scratch = scratch;
    tactic->Run(shape, args, gang);
    return OkStatus();
  };
  const bool in_place = residual && StorageBytes(product.residual.storage) == StorageBytes(product.out.storage);
  return MakeLowered(tactic->name(), std::move(in), std::move(run), in_place ? 3 : -1,
                     [tactic, shape](int threads) { return static_cast<size_t>(tactic->ScratchBytes(shape, threads)); });
}

}  // namespace

std::vector<std::string> Conv2dTactics(const ConcreteNode& node) {
  const auto shape = ShapeOf(node);
  const auto product = shape ? ProductOf(node, *shape) : std::nullopt;
  if (!product) return {};
  return IsPlain(*product) ? NamesOf(ConvTactics(*shape)) : NamesOf(DotConvTactics(*shape, product->type));
}

LowerResult LowerConv2d(const LowerContext& c) {
  TFE_RETURN_IF_ERROR(CheckPads(c.node));
  const auto shape = ShapeOf(c.node);
  const auto activation = ActivationOf(c.node.attrs);
  const auto product = shape ? ProductOf(c.node, *shape) : std::nullopt;
  if (!product || !activation) return std::optional<Lowered>();
  if (!IsPlain(*product)) return LowerTypedConv2d(c, *shape, *product, *activation);
  const ConvTactic* tactic = c.tactic.empty() ? nullptr : FindConvTactic(c.tactic);
  if (tactic == nullptr || !tactic->Supports(*shape)) {
    const auto tactics = ConvTactics(*shape);
    if (tactics.empty()) return std::optional<Lowered>();
    tactic = tactics.front();
  }
  const auto filter = c.node.inputs[1].constant;
  // The packed form depends on the filter, the tactic and what Pack may look at: groups, stride and dilation.
  const std::string key = fmt::format("conv {} {} g{} s{},{} d{},{}", static_cast<const void*>(filter->data()), tactic->name(),
                                      shape->groups, shape->stride_h, shape->stride_w, shape->dil_h, shape->dil_w);
  auto packed = c.weights.Get(key, static_cast<size_t>(tactic->PackedBytes(*shape)),
                              [&](void* p) { tactic->Pack(*shape, filter->as<float>(), p); });
  if (!packed) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", tactic->PackedBytes(*shape));
  std::vector<int> in = {0};
  const bool bias = c.node.has_input(2), residual = c.node.has_input(3);
  if (bias) in.push_back(2);
  if (residual) in.push_back(3);
  auto run = [=, s = *shape, act = *activation](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    ConvArgs args;
    args.x = F32(in[0]);
    args.packed = packed->data();
    args.bias = bias ? F32(in[1]) : nullptr;
    args.residual = residual ? F32(in[bias ? 2 : 1]) : nullptr;
    args.activation = act;
    args.y = F32(out[0]);
    args.scratch = scratch;
    tactic->Run(s, args, gang);
    return OkStatus();
  };
  return MakeLowered(tactic->name(), std::move(in), std::move(run), residual ? 3 : -1,
                     [tactic, s = *shape](int threads) { return static_cast<size_t>(tactic->ScratchBytes(s, threads)); });
}

}  // namespace tfengine::cpu
