// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lower/conv.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cuda/dnn_conv.h"
#include "backends/cuda/lower/int8.h"
#include "backends/cuda/lower/staged.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {
namespace {

// What of a convolution cuDNN's graph does, and what is left before and after it.
struct DnnForm {
  DnnConv conv;
  bool prepares = false;  // pads the image and its channels into scratch first
  bool separate_act = false;
};

// nullopt: not for cuDNN (types, groups, dynamic filters).
std::optional<DnnForm> FormOf(const ConcreteNode& node, const BackendOptions& options) {
  const Operand &x = node.inputs[0], &filter = node.inputs[1];
  const auto elems = ElemsOf(node);
  if (!elems) return std::nullopt;
  const Elem& y = elems->back();
  const DType type = x.dtype;
  if (type != DType::kFloat16 && type != DType::kBfloat16 && type != DType::kFloat32) return std::nullopt;
  if (x.quant.quantized() || y.quant.quantized() || y.dtype != type) return std::nullopt;
  if (!filter.constant || filter.dtype != DType::kFloat32 || node.attrs.Int("groups", 1) != 1) return std::nullopt;
  if (node.has_input(3) && (node.inputs[3].dtype != type || node.inputs[3].quant.quantized())) return std::nullopt;
  if (node.has_input(2)) {
    const Operand& bias = node.inputs[2];
    if (!bias.constant || bias.dtype != DType::kFloat32) return std::nullopt;
    for (int64_t i = 0; type == DType::kFloat16 && i < bias.num_elements(); ++i)
      if (std::fabs(bias.constant->as<float>()[i]) > 65504.0f) return std::nullopt;
  }
  const Window w(node.attrs);
  DnnForm form;
  DnnConv& c = form.conv;
  c.type = type;
  c.tf32 = options.tf32;
  c.workspace_bytes = std::min(c.workspace_bytes, options.workspace_bytes);
  const auto &in = x.shape, &f = filter.shape, &out = node.outputs[0].shape;
  c.batch = in[0], c.in_h = in[1], c.in_w = in[2], c.channels = in[3];
  c.k_h = f[0], c.k_w = f[1], c.filters = f[3];
  c.out_h = out[1], c.out_w = out[2];
  c.stride_h = w.strides[0], c.stride_w = w.strides[1];
  c.dilation_h = w.dilations[0], c.dilation_w = w.dilations[1];
  c.pad_h = w.pads[0], c.pad_w = w.pads[2];
  // Tensor cores take 4 channels in the first layer, else multiples of 8.
  if (type != DType::kFloat32) c.channels = c.channels <= 4 ? 4 : RoundUp(c.channels, 8);
  if (w.pads[0] != w.pads[1] || w.pads[2] != w.pads[3]) {
    form.prepares = true;
    c.in_h += w.pads[0] + w.pads[1];
    c.in_w += w.pads[2] + w.pads[3];
    c.pad_h = c.pad_w = 0;
  }
  form.prepares = form.prepares || c.channels != in[3];
  c.bias = node.has_input(2);
  c.residual = node.has_input(3);
  const std::string act = node.attrs.Str("act", "none");
  if (act == "relu" || act == "relu6" || (act == "clip" && node.attrs.Float("alpha") == 0 && node.attrs.Float("beta") > 0)) {
    c.relu = true;
    c.relu_upper = act == "relu" ? 0 : act == "relu6" ? 6 : static_cast<float>(node.attrs.Float("beta"));
  } else {
    form.separate_act = act != "none";
  }
  return form;
}

bool IsGemm(const ConcreteNode& node) {
  const Window w(node.attrs);
  const auto& f = node.inputs[1].shape;
  return f[0] == 1 && f[1] == 1 && w.strides == std::vector<int64_t>{1, 1} && w.pads == std::vector<int64_t>{0, 0, 0, 0} &&
         node.attrs.Int("groups", 1) == 1 && node.inputs[1].constant && node.inputs[1].dtype == DType::kFloat32 &&
         (node.inputs[0].dtype == DType::kFloat16 || node.inputs[0].dtype == DType::kBfloat16 || node.inputs[0].dtype == DType::kFloat32) &&
         !node.inputs[0].quant.quantized();
}

// [KH, KW, C, K] → [K, KH, KW, C'] with C' >= C.
void FillFilter(const Tensor& f, int64_t channels, DType type, void* to) {
  const auto& s = f.shape();
  const int64_t taps = s[0] * s[1], c = s[2], k = s[3];
  std::vector<float> values(static_cast<size_t>(k * taps * channels), 0.0f);
  for (int64_t t = 0; t < taps; ++t)
    for (int64_t i = 0; i < c; ++i)
      for (int64_t j = 0; j < k; ++j) values[static_cast<size_t>((j * taps + t) * channels + i)] = f.as<float>()[(t * c + i) * k + j];
  StoreAs(type, values.data(), static_cast<int64_t>(values.size()), to);
}

// Copies an image into a larger one with zeros around it and in added channels.
Generated PrepareCode(const ConcreteNode& node, const DnnConv& c, const Window& w) {
  const auto& in = node.inputs[0].shape;
  const Elem x = *ElemOf(node.inputs[0]);
  const bool padded = c.in_h != in[1] || c.in_w != in[2];
  const int v = static_cast<int>(c.channels % 8 == 0 && in[3] == c.channels ? VectorWidth(c.channels, x.size()) : c.channels == 4 ? 4 : 1);
  const int64_t n = c.batch * c.in_h * c.in_w * c.channels / v;
  Generated g;
  g.source = fmt::format(
      "extern \"C\" __global__ void k(const {0}* in, {0}* out, i64 n) {{\n  typedef {1} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n"
      "  if (i >= n) return;\n  const i64 at = i;\n  const int ch = (int)(i % {2}u) * {3}; i /= {2}u;\n  const int x = (int)(i % {4}u) - {5}; i /= {4}u;\n"
      "  const int y = (int)(i % {6}u) - {7};\n  const {0}* image = in + (i64)(i / {6}u) * {8};\n  const bool inside = x >= 0 && x < {9} && y >= 0 && y < {10};\n"
      "  vec<{0}, {3}> r;\n#pragma unroll\n  for (int e = 0; e < {3}; ++e) {{\n    r.v[e] = {11};\n    if (inside && ch + e < {12}) r.v[e] = image[((i64)y * {9} + x) * {12} + ch + e];\n  }}\n"
      "  *(vec<{0}, {3}>*)(out + at * {3}) = r;\n}}\n",
      x.storage(), IndexType(n * v), c.channels / v, v, c.in_w, padded ? w.pads[2] : 0, c.in_h, padded ? w.pads[0] : 0, in[1] * in[2] * in[3], in[2], in[1],
      x.Store("0.0f"), in[3]);
  g.OneThreadEach(n);
  return g;
}

LowerResult LowerDnn(const LowerContext& c, const std::string& plan) {
  auto form = FormOf(c.node, c.options);
  if (!form) return std::optional<Lowered>();
  DnnConv& conv = form->conv;
  const Window w(c.node.attrs);
  const Tensor& f = *c.node.inputs[1].constant;
  std::vector<int> in = {0};
  if (conv.residual) in.push_back(3);
  TFE_ASSIGN_OR_RETURN(conv.filter_buffer,
                       DeviceWeights(c, fmt::format("filter {} {} c{}", f.data(), DTypeName(conv.type), conv.channels),
                                     static_cast<size_t>(conv.filters * conv.k_h * conv.k_w * conv.channels) * DTypeSize(conv.type),
                                     [&](void* to) { FillFilter(f, conv.channels, conv.type, to); }));
  if (conv.bias) {
    const Tensor& b = *c.node.inputs[2].constant;
    TFE_ASSIGN_OR_RETURN(conv.bias_buffer, DeviceWeights(c, fmt::format("bias {} {}", b.data(), DTypeName(conv.type)), static_cast<size_t>(conv.filters) * DTypeSize(conv.type),
                                                         [&](void* to) { StoreAs(conv.type, b.as<float>(), conv.filters, to); }));
  }
  std::string chosen;
  TFE_ASSIGN_OR_RETURN(auto kernel, MakeDnnConv(c.device, conv, plan, &chosen));
  if (!kernel && conv.relu) {  // perhaps without the activation
    conv.relu = false;
    form->separate_act = true;
    TFE_ASSIGN_OR_RETURN(kernel, MakeDnnConv(c.device, conv, plan, &chosen));
  }
  if (!kernel) return std::optional<Lowered>();
  const std::string tactic = "cudnn_" + chosen;
  if (!form->prepares && !form->separate_act) return std::optional<Lowered>(MakeLowered(std::move(kernel), tactic, std::move(in)));
  std::vector<StagedKernel::Stage> stages;
  std::vector<size_t> buffers;
  std::vector<int> conv_in = {0};
  if (conv.residual) conv_in.push_back(1);
  if (form->prepares) {
    TFE_ASSIGN_OR_RETURN(auto prepare, MakeKernel(c.device, c.options.kernel_cache, PrepareCode(c.node, conv, w)));
    buffers.push_back(static_cast<size_t>(conv.batch * conv.in_h * conv.in_w * conv.channels) * DTypeSize(conv.type));
    stages.push_back({prepare, {0}, StagedKernel::kBuffer});
    conv_in[0] = StagedKernel::kBuffer;
  }
  stages.push_back({kernel, conv_in, StagedKernel::kOutput});
  if (form->separate_act) {
    const auto act = ActivationExpression(c.node.attrs, "float");
    if (!act) return std::optional<Lowered>();
    Pointwise p;
    p.in = {Elem{conv.type}};
    p.out = Elem{conv.type};
    p.shape = c.node.outputs[0].shape;
    p.shapes = {p.shape};
    p.body = fmt::format("typedef float W; const W x = x0; y = {};", *act);
    TFE_ASSIGN_OR_RETURN(auto activation, MakeKernel(c.device, c.options.kernel_cache, PointwiseCode(p)));
    stages.push_back({activation, {StagedKernel::kOutput}, StagedKernel::kOutput});
  }
  return std::optional<Lowered>(MakeLowered(std::make_shared<StagedKernel>(std::move(stages), buffers), tactic, std::move(in)));
}

LowerResult LowerAsGemm(const LowerContext& c, int rank) {
  const auto& out = c.node.outputs[0].shape;
  const Tensor& f = *c.node.inputs[1].constant;
  Gemm g;
  g.type = c.node.inputs[0].dtype;
  g.m = out[0] * out[1] * out[2];
  g.n = out[3];
  g.k = f.shape()[2];
  g.transpose_b = true;
  return LowerProduct(c, g, fmt::format("conv1x1 {}", f.data()), [&](float* to) {
    for (int64_t j = 0; j < g.n; ++j)
      for (int64_t i = 0; i < g.k; ++i) to[j * g.k + i] = f.as<float>()[i * g.n + j];
  }, rank);
}

// The sizes of a convolution for TileProduct; m = 0 if it is not one.
TileProduct TileOf(const ConcreteNode& node) {
  TileProduct p;
  const Operand &x = node.inputs[0], &filter = node.inputs[1];
  if (!filter.constant || filter.dtype != DType::kFloat32 || node.attrs.Int("groups", 1) != 1) return p;
  const Window w(node.attrs);
  const auto &in = x.shape, &f = filter.shape, &out = node.outputs[0].shape;
  p.m = out[0] * out[1] * out[2], p.n = f[3], p.k = f[0] * f[1] * f[2];
  p.image = !IsGemm(node);
  p.in_h = in[1], p.in_w = in[2], p.channels = in[3];
  p.k_h = f[0], p.k_w = f[1], p.out_h = out[1], p.out_w = out[2];
  p.stride_h = w.strides[0], p.stride_w = w.strides[1];
  p.dilation_h = w.dilations[0], p.dilation_w = w.dilations[1];
  p.pad_h = w.pads[0], p.pad_w = w.pads[2];
  return p;
}

std::string FilterKey(const ConcreteNode& node, const TileProduct& p) {
  const Tensor& f = *node.inputs[1].constant;
  return p.image ? fmt::format("filter {} {} c{}", f.data(), DTypeName(node.inputs[0].dtype), p.channels) : fmt::format("conv1x1 {}", f.data());
}

constexpr int kGemmRanks = 8;
constexpr char kFirstLayer[] = "first";

}  // namespace

std::vector<std::string> Conv2dTactics(const ConcreteNode& node, const Device& device, const BackendOptions& options) {
  std::vector<std::string> names;
  if (node.outputs[0].num_elements() == 0) return names;
  if (IsInt8(node)) {
    names = Int8Tactics(node, device);
    if (IsFirstLayer(node, device)) names.push_back(kFirstLayer);
    return names;
  }
  if (IsGemm(node))
    for (int r = 0; r < kGemmRanks; ++r) names.push_back(r == 0 ? "lt" : fmt::format("lt{}", r));
  if (auto form = FormOf(node, options)) {
    auto plans = DnnConvPlans(device, form->conv);
    if (plans.ok() && plans->empty() && form->conv.relu) {
      form->conv.relu = false;
      plans = DnnConvPlans(device, form->conv);
    }
    if (plans.ok())
      for (const std::string& plan : *plans) names.push_back("cudnn_" + plan);
  }
  if (IsFirstLayer(node, device)) names.push_back(kFirstLayer);
  names = BothTactics(names, TileTactics(node, TileOf(node), device), IsOwnActivation(node));
  // Few terms for every result: loops may beat padding the channels.
  const auto& f = node.inputs[1].shape;
  if (!names.empty() && f[0] * f[1] * f[2] <= 256) names.push_back("direct");
  if (const auto depthwise = DepthwiseTactics(node); !depthwise.empty()) {
    names.insert(names.begin(), depthwise.begin(), depthwise.end());
    names.push_back("depthwise");
  }
  return names;
}

LowerResult LowerConv2d(const LowerContext& c) {
  TFE_RETURN_IF_ERROR(Window(c.node.attrs).Check());
  const std::string& t = c.tactic;
  if (IsInt8(c.node)) {
    TFE_ASSIGN_OR_RETURN(auto lowered, t == kFirstLayer ? LowerFirstLayer(c, nullptr, nullptr) : LowerInt8(c));
    if (!lowered) {
      TFE_ASSIGN_OR_RETURN(lowered, LowerDepthwiseInt8(c));
    }
    return lowered ? LowerResult(std::move(lowered)) : LowerConvDirect(c);
  }
  if (t == "direct" || t == "depthwise") return LowerConvDirect(c);
  if (t == kFirstLayer || t.rfind("strip", 0) == 0 || t.empty()) {
    TFE_ASSIGN_OR_RETURN(auto lowered, t == kFirstLayer ? LowerFirstLayer(c, nullptr, nullptr) : LowerDepthwise(c));
    if (lowered) return std::optional<Lowered>(*std::move(lowered));
  }
  if (IsTileTactic(t) || (t.empty() && IsOwnActivation(c.node))) {
    const TileProduct p = TileOf(c.node);
    if (p.m > 0) {
      const Tensor& f = *c.node.inputs[1].constant;
      LowerResult lowered = LowerTile(c, p, FilterKey(c.node, p), [&](float* to) { FillFilter(f, p.channels, DType::kFloat32, to); });
      if (!lowered.ok() || *lowered) return lowered;
    }
  }
  // Without a choice: a GEMM where its epilogue has the activation.
  const std::string act = c.node.attrs.Str("act", "none");
  const bool dnn_first = t.rfind("cudnn_", 0) == 0 || (t.empty() && act != "none" && act != "relu" && act != "gelu_tanh");
  for (const bool dnn : {dnn_first, !dnn_first}) {
    LowerResult lowered = std::optional<Lowered>();
    if (dnn) {
      lowered = LowerDnn(c, t.rfind("cudnn_", 0) == 0 ? t.substr(6) : "");
    } else if (IsGemm(c.node)) {
      lowered = LowerAsGemm(c, t.size() == 3 && t.compare(0, 2, "lt") == 0 ? t[2] - '0' : 0);
    }
    if (!lowered.ok() || *lowered) return lowered;
  }
  return LowerConvDirect(c);
}

namespace {

bool IsConvPair(const std::vector<ConcreteNode>& nodes) {
  return nodes.size() == 2 && nodes[0].op == Op::kConv2d && nodes[1].op == Op::kConv2d && nodes[1].outputs[0].num_elements() > 0 && IsInt8(nodes[0]) == IsInt8(nodes[1]) &&
         Window(nodes[0].attrs).Check().ok() && Window(nodes[1].attrs).Check().ok();
}

}  // namespace

std::vector<std::string> ConvPairTactics(const std::vector<ConcreteNode>& nodes, const Device& device) {
  if (!IsConvPair(nodes)) return {};
  return IsInt8(nodes[0]) ? Int8PairTactics(nodes, device) : TilePairTactics(nodes, TileOf(nodes[0]), TileOf(nodes[1]), device);
}

LowerResult LowerConvPair(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  if (!IsConvPair(nodes)) return std::optional<Lowered>();
  if (IsInt8(nodes[0])) return LowerInt8Pair(c, nodes);
  const TileProduct first = TileOf(nodes[0]), then = TileOf(nodes[1]);
  if (first.m == 0 || then.m == 0) return std::optional<Lowered>();
  return LowerTilePair(c, nodes, first, then, {FilterKey(nodes[0], first), FilterKey(nodes[1], then)},
                       [&](size_t i, float* to) { FillFilter(*nodes[i].inputs[1].constant, i == 0 ? first.channels : then.channels, DType::kFloat32, to); });
}

}  // namespace tfengine::cuda
