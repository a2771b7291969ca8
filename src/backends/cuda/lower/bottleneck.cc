// SPDX-License-Identifier: Apache-2.0
// Inverted bottlenecks: [1x1 convolution,] depthwise convolution [, 1x1 convolution] as one kernel.
#include "backends/cuda/bottleneck.h"

#include "backends/cuda/lower/conv.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {
namespace {

const float* BiasOf(const ConcreteNode& node) { return node.has_input(2) ? node.inputs[2].constant->as<float>() : nullptr; }

// A convolution with constants, in and out of one type of 16 bits.
bool IsPlain(const ConcreteNode& node, DType type) {
  if (node.op != Op::kConv2d || node.outputs[0].num_elements() == 0) return false;
  const Operand &x = node.inputs[0], &filter = node.inputs[1];
  const auto out = OutElem(node);
  if (x.dtype != type || x.quant.quantized() || !out || out->dtype != type || out->quant.quantized()) return false;
  if (!filter.constant || filter.dtype != DType::kFloat32 || !Window(node.attrs).Check().ok()) return false;
  if (!node.has_input(2)) return true;
  const Operand& bias = node.inputs[2];
  return bias.constant && bias.dtype == DType::kFloat32 && bias.num_elements() == filter.shape[3];
}

bool IsPointwise(const ConcreteNode& node) {
  const Window w(node.attrs);
  const auto& f = node.inputs[1].shape;
  return f[0] == 1 && f[1] == 1 && w.strides == std::vector<int64_t>{1, 1} && w.pads == std::vector<int64_t>{0, 0, 0, 0} && node.attrs.Int("groups", 1) == 1;
}

bool IsDepthwise(const ConcreteNode& node) {
  const auto& f = node.inputs[1].shape;
  return f[2] == 1 && f[3] == node.inputs[0].shape[3] && node.attrs.Int("groups", 1) == f[3] && Window(node.attrs).dilations == std::vector<int64_t>{1, 1};
}

// The nodes of a bottleneck; those that are there.
struct Parts {
  const ConcreteNode *expand = nullptr, *depthwise = nullptr, *project = nullptr;
};

std::optional<Parts> PartsOf(const std::vector<ConcreteNode>& nodes) {
  Parts parts;
  for (const ConcreteNode& node : nodes) {
    if (!IsPlain(node, nodes[0].inputs[0].dtype)) return std::nullopt;
    const bool last = &node == &nodes.back();
    if (node.has_input(3) && (!last || node.inputs[3].dtype != node.inputs[0].dtype || node.inputs[3].quant.quantized() || node.inputs[3].num_elements() != node.outputs[0].num_elements()))
      return std::nullopt;
    if (IsDepthwise(node) && parts.depthwise == nullptr && !(last && node.has_input(3))) {
      parts.depthwise = &node;
    } else if (IsPointwise(node) && (parts.depthwise ? last : &node == &nodes[0])) {
      (parts.depthwise ? parts.project : parts.expand) = &node;
    } else {
      return std::nullopt;
    }
  }
  if (!parts.depthwise || (!parts.expand && !parts.project)) return std::nullopt;
  return parts;
}

std::optional<BottleneckActivation> ActivationOf(const ConcreteNode& node, DType type) {
  const auto expression = ActivationExpression(node.attrs, "float");
  if (!expression) return std::nullopt;
  const std::string act = node.attrs.Str("act", "none");
  const float lo = act == "clip" ? node.attrs.Float("alpha") : 0, hi = act == "clip" ? node.attrs.Float("beta") : 6;
  if (act == "relu") return BottleneckActivation{"", 0};
  if ((act == "relu6" || act == "clip") && RoundTo(type, lo) == lo && RoundTo(type, hi) == hi && lo <= hi) return BottleneckActivation{"", lo, hi};
  return BottleneckActivation{For16Bits(*expression)};
}

// nullopt: an activation that the kernel does not know.
std::optional<Bottleneck> BottleneckOf(const Parts& parts) {
  Bottleneck b;
  const ConcreteNode& depthwise = *parts.depthwise;
  for (const auto& [node, act] : {std::pair{parts.expand, &b.expand_act}, {parts.depthwise, &b.depthwise_act}, {parts.project, &b.project_act}}) {
    const auto found = node ? ActivationOf(*node, depthwise.inputs[0].dtype) : BottleneckActivation();
    if (!found) return std::nullopt;
    *act = *found;
  }
  const Window w(depthwise.attrs);
  const auto &in = depthwise.inputs[0].shape, &f = depthwise.inputs[1].shape, &out = depthwise.outputs[0].shape;
  b.type = depthwise.inputs[0].dtype;
  b.expands = parts.expand != nullptr, b.projects = parts.project != nullptr;
  b.batch = in[0], b.in_h = in[1], b.in_w = in[2], b.out_h = out[1], b.out_w = out[2];
  b.expanded = in[3];
  if (b.expands) b.channels = parts.expand->inputs[0].shape[3];
  if (b.projects) b.filters = parts.project->outputs[0].shape[3];
  b.k_h = f[0], b.k_w = f[1], b.stride_h = w.strides[0], b.stride_w = w.strides[1], b.pad_h = w.pads[0], b.pad_w = w.pads[2];
  b.residual = b.projects && parts.project->has_input(3);
  return b;
}

}  // namespace

std::vector<std::string> BottleneckTactics(const std::vector<ConcreteNode>& nodes, const Device& device) {
  std::vector<std::string> names;
  const auto parts = PartsOf(nodes);
  const auto b = parts ? BottleneckOf(*parts) : std::nullopt;
  if (!b) return names;
  for (const BottleneckPlan& plan : BottleneckPlans(*b, device.architecture(), device.processors())) names.push_back(plan.Name());
  return names;
}

LowerResult LowerBottleneck(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  const auto parts = PartsOf(nodes);
  auto b = parts ? BottleneckOf(*parts) : std::nullopt;
  const int architecture = c.device.architecture();
  const auto plan = b ? FindBottleneckPlan(*b, architecture, c.device.processors(), c.tactic) : std::nullopt;
  if (!plan) return std::optional<Lowered>();
  BottleneckConstants constants;
  std::string key = fmt::format("bottleneck {} {} {} {}", DTypeName(b->type), plan->chunk, plan->warps_across, plan->tiles_across());
  for (const ConcreteNode& node : nodes) key += fmt::format(" {} {}", node.inputs[1].constant->data(), static_cast<const void*>(BiasOf(node)));
  if (parts->expand) constants.expand = parts->expand->inputs[1].constant->as<float>(), constants.expand_bias = BiasOf(*parts->expand);
  if (parts->project) constants.project = parts->project->inputs[1].constant->as<float>(), constants.project_bias = BiasOf(*parts->project);
  const Tensor& filter = *parts->depthwise->inputs[1].constant;
  std::vector<float> taps(filter.as<float>(), filter.as<float>() + filter.num_elements());
  for (float& tap : taps) tap = RoundTo(b->type, tap);
  constants.depthwise = taps.data(), constants.depthwise_bias = BiasOf(*parts->depthwise);
  const int64_t weights = plan->WeightCount(), numbers = plan->NumberCount();
  TFE_ASSIGN_OR_RETURN(b->weights, DeviceWeights(c, key + " weights", static_cast<size_t>(weights) * 2, [&](void* to) {
    std::vector<float> values(static_cast<size_t>(weights));
    plan->FillWeights(constants, values.data());
    StoreAs(b->type, values.data(), weights, to);
  }));
  TFE_ASSIGN_OR_RETURN(b->numbers, DeviceWeights(c, key + " numbers", static_cast<size_t>(numbers) * 4, [&](void* to) { plan->FillNumbers(constants, static_cast<float*>(to)); }));
  std::vector<int> in = {0};
  if (b->residual) {
    size_t before = 0;
    for (const ConcreteNode& node : nodes) before += &node == &nodes.back() ? 0 : node.inputs.size();
    in.push_back(static_cast<int>(before) + 3);
  }
  return Finish(c, BottleneckCode(*b, *plan, architecture), plan->Name(), std::move(in));
}

}  // namespace tfengine::cuda
