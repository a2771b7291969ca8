// SPDX-License-Identifier: Apache-2.0
// The first layer of image networks, with what stands around it.
#include <algorithm>

#include "backends/cuda/first_layer.h"
#include "backends/cuda/lower/conv.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {
namespace {

// nullopt: types or attributes that the kernel does not know.
std::optional<FirstLayer> LayerOf(const ConcreteNode& conv, const ConcreteNode* convert, const ConcreteNode* pool) {
  const Operand &x = conv.inputs[0], &filter = conv.inputs[1];
  const auto elems = ElemsOf(conv);
  const auto image = ElemOf(convert ? convert->inputs[0] : x);
  const auto act = ActivationExpression(conv.attrs, "float");
  const Window w(conv.attrs);
  if (!elems || !image || !act || !w.Check().ok() || x.quant.quantized() || image->quant.quantized() || elems->back().quant.quantized()) return std::nullopt;
  if (image->dtype != DType::kFloat32 && image->dtype != x.dtype) return std::nullopt;
  if (elems->back().dtype != x.dtype || !filter.constant || filter.dtype != DType::kFloat32 || conv.attrs.Int("groups", 1) != 1 || conv.has_input(3)) return std::nullopt;
  if (conv.has_input(2) && (!conv.inputs[2].constant || conv.inputs[2].dtype != DType::kFloat32)) return std::nullopt;
  if (w.dilations != std::vector<int64_t>{1, 1}) return std::nullopt;
  FirstLayer l;
  l.type = x.dtype;
  l.in = *image;
  const auto &in = x.shape, &f = filter.shape, &out = conv.outputs[0].shape;
  l.batch = in[0], l.in_h = in[1], l.in_w = in[2], l.channels = in[3];
  l.k_h = f[0], l.k_w = f[1], l.filters = f[3];
  l.out_h = l.pooled_h = out[1], l.out_w = l.pooled_w = out[2];
  l.stride_h = w.strides[0], l.stride_w = w.strides[1], l.pad_h = w.pads[0], l.pad_w = w.pads[2];
  l.bias = conv.has_input(2);
  l.act = *act;
  if (pool == nullptr) return l;
  const Window p(pool->attrs);
  const auto size = pool->attrs.Ints("ksize");
  const auto pooled = OutElem(*pool);
  if (pool->attrs.Str("kind") != "max" || size.size() != 2 || !p.Check().ok() || p.dilations.size() > 2 || !pooled || pooled->dtype != x.dtype || pooled->quant.quantized())
    return std::nullopt;
  if (std::any_of(p.dilations.begin(), p.dilations.end(), [](int64_t d) { return d != 1; })) return std::nullopt;
  l.pool_h = size[0], l.pool_w = size[1];
  l.pool_stride_h = p.strides[0], l.pool_stride_w = p.strides[1], l.pool_pad_h = p.pads[0], l.pool_pad_w = p.pads[2];
  l.pooled_h = pool->outputs[0].shape[1], l.pooled_w = pool->outputs[0].shape[2];
  return l;
}

}  // namespace

bool IsFirstLayer(const ConcreteNode& conv, const Device& device) {
  const auto layer = LayerOf(conv, nullptr, nullptr);
  return layer && layer->Fits(device.architecture(), device.processors());
}

LowerResult LowerFirstLayer(const LowerContext& c, const ConcreteNode* convert, const ConcreteNode* pool) {
  auto layer = LayerOf(c.node, convert, pool);
  if (!layer || !layer->Fits(c.device.architecture(), c.device.processors())) return std::optional<Lowered>();
  const Tensor& f = *c.node.inputs[1].constant;
  const int64_t count = layer->WeightCount();
  TFE_ASSIGN_OR_RETURN(layer->weights, DeviceWeights(c, fmt::format("first {} {} {}", f.data(), DTypeName(layer->type), layer->stride_w), static_cast<size_t>(count) * 2, [&](void* to) {
    std::vector<float> values(static_cast<size_t>(count));
    layer->FillWeights(f.as<float>(), values.data());
    StoreAs(layer->type, values.data(), count, to);
  }));
  if (layer->bias) {
    const Tensor& b = *c.node.inputs[2].constant;
    TFE_ASSIGN_OR_RETURN(layer->bias_buffer, DeviceWeights(c, fmt::format("bias {} f32", b.data()), b.num_bytes(), [&](void* to) { std::copy_n(b.as<float>(), layer->filters, static_cast<float*>(to)); }));
  }
  return Finish(c, FirstLayerCode(*layer, c.device.processors()), "first", {0});
}

LowerResult LowerChainOf(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  TFE_ASSIGN_OR_RETURN(auto pointwise, LowerPointwiseChain(c, nodes));
  if (pointwise) return std::optional<Lowered>(*std::move(pointwise));
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
