// SPDX-License-Identifier: Apache-2.0
// The first layer of image networks, with what stands around it.
#include <algorithm>

#include "backends/cuda/first_layer.h"
#include "backends/cuda/lower/conv.h"
#include "backends/cuda/lower/int8.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {
namespace {

// nullopt: types or attributes that the kernel does not know.
std::optional<FirstLayer> LayerOf(const Device& device, const ConcreteNode& conv, const ConcreteNode* convert, const ConcreteNode* pool) {
  const Operand &x = conv.inputs[0], &filter = conv.inputs[1];
  const bool codes = x.quant.quantized();
  const auto image = ElemOf(convert ? convert->inputs[0] : x), read = convert ? OutElem(*convert) : image;
  const Window w(conv.attrs);
  Int8Conv epilogue;
  if (!image || !read || conv.has_input(3) || !SetEpilogue(conv, &epilogue) || !w.Check().ok()) return std::nullopt;
  if (!filter.constant || filter.dtype != DType::kFloat32 || conv.attrs.Int("groups", 1) != 1 || (codes && !HasConstants(conv))) return std::nullopt;
  if (conv.has_input(2) && (!conv.inputs[2].constant || conv.inputs[2].dtype != DType::kFloat32)) return std::nullopt;
  FirstLayer l;
  l.warp_groups = device.architecture() == 90;
  l.type = codes ? DType::kFloat16 : x.dtype;
  l.in = *image;
  l.out = epilogue.y;
  l.out.lo = epilogue.lo, l.out.hi = epilogue.hi;
  l.act = epilogue.act;
  if (codes) l.codes = read;
  const DType from = image->dtype;
  if (image->quant.quantized() ? !codes || convert || from != DType::kUint8 : from != DType::kFloat32 && from != l.type) return std::nullopt;
  // Clips as bounds of codes are for sums of codes.
  if (l.out.quant.quantized() ? !codes || l.out.dtype != DType::kUint8 : l.out.dtype != l.type && l.out.dtype != DType::kFloat32) return std::nullopt;
  if (w.dilations != std::vector<int64_t>{1, 1}) return std::nullopt;
  const auto &in = x.shape, &f = filter.shape, &out = conv.outputs[0].shape;
  l.batch = in[0], l.in_h = in[1], l.in_w = in[2], l.channels = in[3];
  l.k_h = f[0], l.k_w = f[1], l.filters = f[3];
  l.out_h = l.pooled_h = out[1], l.out_w = l.pooled_w = out[2];
  l.stride_h = w.strides[0], l.stride_w = w.strides[1], l.pad_h = w.pads[0], l.pad_w = w.pads[2];
  l.bias = conv.has_input(2);
  if (pool == nullptr) return l;
  const Window p(pool->attrs);
  const auto size = pool->attrs.Ints("ksize");
  const auto pooled = OutElem(*pool);
  if (pool->attrs.Str("kind") != "max" || size.size() != 2 || !p.Check().ok() || p.dilations.size() > 2 || !pooled || pooled->dtype != l.out.dtype || pooled->quant.quantized() != l.out.quant.quantized())
    return std::nullopt;
  if (std::any_of(p.dilations.begin(), p.dilations.end(), [](int64_t d) { return d != 1; })) return std::nullopt;
  l.pool_h = size[0], l.pool_w = size[1];
  l.pool_stride_h = p.strides[0], l.pool_stride_w = p.strides[1], l.pool_pad_h = p.pads[0], l.pool_pad_w = p.pads[2];
  l.pooled_h = pool->outputs[0].shape[1], l.pooled_w = pool->outputs[0].shape[2];
  return l;
}

}  // namespace

bool IsFirstLayer(const ConcreteNode& conv, const Device& device) {
  const auto layer = LayerOf(device, conv, nullptr, nullptr);
  return layer && layer->Fits(device.architecture(), device.processors());
}

LowerResult LowerFirstLayer(const LowerContext& c, const ConcreteNode* convert, const ConcreteNode* pool) {
  auto layer = LayerOf(c.device, c.node, convert, pool);
  const int architecture = c.device.architecture(), processors = c.device.processors();
  if (!layer || !layer->Fits(architecture, processors)) return std::optional<Lowered>();
  const Tensor& f = *c.node.inputs[1].constant;
  const Tensor* steps = layer->codes ? c.node.inputs[4].constant.get() : nullptr;
  const int64_t count = layer->WeightCount(), filters = layer->filters;
  const std::string key = fmt::format("first {} {} {}", f.data(), steps ? fmt::format("steps {}", steps->data()) : DTypeName(layer->type), layer->stride_w);
  TFE_ASSIGN_OR_RETURN(layer->weights, DeviceWeights(c, key, static_cast<size_t>(count) * 2, [&](void* to) {
    std::vector<float> filter(f.as<float>(), f.as<float>() + f.num_elements()), values(static_cast<size_t>(count));
    for (size_t i = 0; steps && i < filter.size(); ++i) filter[i] = CodeOfWeight(filter[i], steps->as<float>()[i % static_cast<size_t>(filters)]);
    layer->FillWeights(filter.data(), values.data());
    StoreAs(layer->type, values.data(), count, to);
  }));
  // Numbers of the channels; of codes in the unit of the result.
  const double unit = layer->in_steps() ? 1 / static_cast<double>(layer->out.quant.scale) : 1;
  auto upload = [&](const char* name, auto number) {
    return DeviceWeights(c, fmt::format("{} {} {} {} {}", key, name, layer->bias ? c.node.inputs[2].constant->data() : nullptr, c.node.inputs[0].quant.scale, unit), static_cast<size_t>(filters) * 4,
                         [&](void* to) { for (int64_t i = 0; i < filters; ++i) static_cast<float*>(to)[i] = static_cast<float>(number(i) * unit); });
  };
  if (layer->codes) {
    TFE_ASSIGN_OR_RETURN(layer->scale_buffer, upload("scale", [&](int64_t i) { return static_cast<double>(c.node.inputs[0].quant.scale) * steps->as<float>()[i]; }));
  }
  if (layer->bias) {
    const Tensor& b = *c.node.inputs[2].constant;
    TFE_ASSIGN_OR_RETURN(layer->bias_buffer, upload("bias", [&](int64_t i) { return static_cast<double>(b.as<float>()[b.num_elements() == 1 ? 0 : i]); }));
  }
  return Finish(c, FirstLayerCode(*layer, architecture, processors), "first", {0});
}

LowerResult LowerFirstLayerChain(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  size_t at = 0;
  const ConcreteNode *convert = nullptr, *pool = nullptr;
  if (nodes[0].op == Op::kConvert) convert = &nodes[at++];
  if (at >= nodes.size() || nodes[at].op != Op::kConv2d || nodes[at].outputs[0].num_elements() == 0) return std::optional<Lowered>();
  const ConcreteNode& conv = nodes[at++];
  if (at < nodes.size() && nodes[at].op == Op::kPool) pool = &nodes[at++];
  if (at != nodes.size() || nodes.back().outputs[0].num_elements() == 0) return std::optional<Lowered>();
  return LowerFirstLayer({conv, c.tactic, c.weights, c.device, c.options}, convert, pool);
}

}  // namespace tfengine::cuda
