// SPDX-License-Identifier: Apache-2.0
// Convolutions by plain loops: every type, grouping and activation; the fast form for depthwise filters.
#include <algorithm>

#include "backends/cuda/lower/conv.h"
#include "backends/cuda/lower/int8.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {

std::string OutputCode(const ConcreteNode& node, const std::vector<Elem>& elems, int v, bool bias, bool residual, const std::string& act) {
  const Elem& y = elems.back();
  std::string code;
  if (bias) code += fmt::format("  const vec<{0}, {1}> bias_v = *(const vec<{0}, {1}>*)(bias + ch);\n", elems[2].storage(), v);
  if (residual) code += fmt::format("  const vec<{0}, {1}> other = *(const vec<{0}, {1}>*)(residual + at * {1});\n", elems[3].storage(), v);
  code += fmt::format("  vec<{}, {}> r;\n#pragma unroll\n  for (int e = 0; e < {}; ++e) {{\n    W z = a[e];\n", y.storage(), v, v);
  if (bias) code += fmt::format("    z = add(z, (W){});\n", elems[2].Load("bias_v.v[e]"));
  if (residual) code += fmt::format("    z = add(z, (W){});\n", elems[3].Load("other.v[e]"));
  if (!act.empty()) code += fmt::format("    {{ const W x = z; z = {}; }}\n", act);
  return code + fmt::format("    r.v[e] = {};\n  }}\n  *(vec<{}, {}>*)(out + at * {}) = r;\n", y.Store("z"), y.storage(), v, v);
}

std::string OutputParameters(const std::vector<Elem>& elems, bool bias, bool residual) {
  std::string p;
  if (bias) p += fmt::format("const {}* bias, ", elems[2].storage());
  if (residual) p += fmt::format("const {}* residual, ", elems[3].storage());
  return p + fmt::format("{}* out, i64 n", elems.back().storage());
}

Result<std::shared_ptr<const DeviceBuffer>> RoundedFilter(const LowerContext& c, const Tensor& filter, DType type) {
  return DeviceWeights(c, fmt::format("rounded {} {}", filter.data(), DTypeName(type)), filter.num_bytes(), [&](void* to) {
    for (int64_t i = 0; i < filter.num_elements(); ++i) static_cast<float*>(to)[i] = RoundTo(type, filter.as<float>()[i]);
  });
}

LowerResult LowerConvDirect(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  auto elems = ElemsOf(node);
  if (!elems || (IsInt8(node) && !(node.inputs[1].constant && node.has_input(4) && node.inputs[4].constant))) return std::optional<Lowered>();
  const Window w(node.attrs);
  const std::vector<int64_t>&in = node.inputs[0].shape, &f = node.inputs[1].shape, &out = node.outputs[0].shape;
  const bool bias = node.has_input(2), residual = node.has_input(3);
  const std::string wide = (*elems)[0].wide();
  const auto act = ActivationExpression(node.attrs, wide);
  if (!act) return std::optional<Lowered>();
  const int64_t groups = node.attrs.Int("groups", 1), channels = f[2], filters = f[3] / groups;
  const bool depthwise = channels == 1 && filters == 1;
  const Elem& x = (*elems)[0];
  const Elem filter = (*elems)[1];
  // Neighbours in channels that a thread computes: they read the same pixels.
  const int v = depthwise ? VectorWidth(out[3], x.size()) : groups == 1 ? VectorWidth(out[3], std::max(x.size(), elems->back().size())) : 1;
  const int64_t n = node.outputs[0].num_elements() / v;
  std::vector<int> inputs = {0, 1};
  const bool rounds = filter.dtype == DType::kFloat32 && (x.dtype == DType::kFloat16 || x.dtype == DType::kBfloat16);
  // Weights that are rounded to the type of x are rounded once, on the host, and kept in f32.
  std::shared_ptr<const DeviceBuffer> rounded;
  if (rounds && node.inputs[1].constant) {
    TFE_ASSIGN_OR_RETURN(rounded, RoundedFilter(c, *node.inputs[1].constant, x.dtype));
    inputs = {0};
  }
  auto tap = [&](const std::string& t) { return rounds && !rounded ? x.Load(x.Store(filter.Load(t))) : filter.Load(t); };
  if (IsInt8(node)) {
    TFE_ASSIGN_OR_RETURN(rounded, SteppedWeights(c));
    inputs = {0};
  }
  if (bias) inputs.push_back(2);
  if (residual) inputs.push_back(3);
  Generated g;
  g.inputs = 2 + bias + residual;
  g.source = fmt::format(
      "typedef {0} W;\nextern \"C\" __global__ void k(const {1}* in, const {2}* filter, {3}) {{\n  typedef {4} index;\n"
      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n  const i64 at = i;\n"
      "  const int ch = (int)(i % {5}u) * {6}; i /= {5}u;\n  const int ox = (int)(i % {7}u); i /= {7}u;\n  const int oy = (int)(i % {8}u);\n"
      "  const {1}* image = in + (i64)(i / {8}u) * {9};\n  W a[{6}];\n#pragma unroll\n  for (int e = 0; e < {6}; ++e) a[e] = 0;\n",
      wide, x.storage(), filter.storage(), OutputParameters(*elems, bias, residual), IndexType(std::max(node.outputs[0].num_elements(), n)), out[3] / v, v,
      out[2], out[1], in[1] * in[2] * in[3]);
  g.source += fmt::format(
      "{10}  for (int ky = 0; ky < {0}; ++ky) {{\n    const int iy = oy * {1} + ky * {2} - {3};\n    if (iy < 0 || iy >= {4}) continue;\n"
      "{10}    for (int kx = 0; kx < {5}; ++kx) {{\n      const int ix = ox * {6} + kx * {7} - {8};\n      if (ix < 0 || ix >= {9}) continue;\n",
      f[0], w.strides[0], w.dilations[0], w.pads[0], in[1], f[1], w.strides[1], w.dilations[1], w.pads[2], in[2],
      depthwise && f[0] * f[1] <= 25 ? "#pragma unroll\n" : "");
  if (depthwise) {
    g.source += fmt::format(
        "      const vec<{0}, {1}> u = *(const vec<{0}, {1}>*)(image + ((i64)iy * {2} + ix) * {3} + ch);\n"
        "      const vec<{4}, {1}> t = *(const vec<{4}, {1}>*)(filter + (ky * {5} + kx) * {3} + ch);\n#pragma unroll\n"
        "      for (int e = 0; e < {1}; ++e) a[e] = add(a[e], mul((W){6}, (W){7}));\n    }}\n  }}\n",
        x.storage(), v, in[2], in[3], filter.storage(), f[1], x.Load("u.v[e]"), tap("t.v[e]"));
  } else {
    g.source += fmt::format(
        "      const {0}* pixel = image + ((i64)iy * {1} + ix) * {2} + ch / {3} * {4};\n"
        "      const {5}* tap = filter + (i64)(ky * {6} + kx) * {7} + ch;\n"
        "      for (int j = 0; j < {4}; ++j) {{\n        const {0} u = pixel[j];\n        const W p = (W){9};\n"
        "        const vec<{5}, {11}> t = *(const vec<{5}, {11}>*)(tap + (i64)j * {8});\n#pragma unroll\n"
        "        for (int e = 0; e < {11}; ++e) a[e] = add(a[e], mul(p, (W){10}));\n      }}\n    }}\n  }}\n",
        x.storage(), in[2], in[3], filters, channels, filter.storage(), f[1], channels * f[3], f[3], x.Load("u"), tap("t.v[e]"), v);
  }
  g.source += OutputCode(node, *elems, v, bias, residual, *act) + "}\n";
  g.OneThreadEach(n);
  if (rounded) g.bound.push_back({1, std::move(rounded)});
  return Finish(c, g, depthwise ? "depthwise" : "direct", std::move(inputs));
}

LowerResult LowerConv2dTranspose(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  auto elems = ElemsOf(node);
  const Window w(node.attrs);
  TFE_RETURN_IF_ERROR(w.Check());
  if (!elems) return std::optional<Lowered>();
  const std::vector<int64_t>&in = node.inputs[0].shape, &f = node.inputs[1].shape, &out = node.outputs[0].shape;
  const bool bias = node.has_input(2);
  const std::string wide = (*elems)[0].wide();
  const auto act = ActivationExpression(node.attrs, wide);
  if (!act) return std::optional<Lowered>();
  if (!bias) elems->insert(elems->begin() + 2, Elem());
  const int64_t n = node.outputs[0].num_elements();
  Generated g;
  g.inputs = static_cast<size_t>(2 + bias);
  g.source = fmt::format(
      "typedef {0} W;\nextern \"C\" __global__ void k(const {1}* in, const {2}* filter, {3}) {{\n  typedef {4} index;\n"
      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n  const i64 at = i;\n"
      "  const int ch = (int)(i % {5}u); i /= {5}u;\n  const int ox = (int)(i % {6}u); i /= {6}u;\n  const int oy = (int)(i % {7}u);\n"
      "  const {1}* image = in + (i64)(i / {7}u) * {8};\n  W a[1] = {{0}};\n",
      wide, (*elems)[0].storage(), (*elems)[1].storage(), OutputParameters(*elems, bias, false), IndexType(n), out[3], out[2], out[1], in[1] * in[2] * in[3]);
  // The taps that reach this pixel: oy = iy * stride + ky * dilation - pad.
  g.source += fmt::format(
      "  for (int ky = 0; ky < {0}; ++ky) {{\n    const int py = oy + {3} - ky * {2};\n    if (py < 0 || py % {1} != 0 || py / {1} >= {4}) continue;\n"
      "    for (int kx = 0; kx < {5}; ++kx) {{\n      const int px = ox + {8} - kx * {7};\n      if (px < 0 || px % {6} != 0 || px / {6} >= {9}) continue;\n",
      f[0], w.strides[0], w.dilations[0], w.pads[0], in[1], f[1], w.strides[1], w.dilations[1], w.pads[2], in[2]);
  g.source += fmt::format(
      "      const {0}* pixel = image + ((i64)(py / {1}) * {2} + px / {3}) * {4};\n      const {5}* tap = filter + ((i64)(ky * {6} + kx) * {7} + ch) * {4};\n"
      "      for (int j = 0; j < {4}; ++j) {{\n        const {0} u = pixel[j];\n        const {5} t = tap[j];\n        a[0] = add(a[0], mul((W){8}, (W){9}));\n      }}\n    }}\n  }}\n",
      (*elems)[0].storage(), w.strides[0], in[2], w.strides[1], in[3], (*elems)[1].storage(), f[1], f[2], (*elems)[0].Load("u"), (*elems)[1].Load("t"));
  g.source += OutputCode(node, *elems, 1, bias, false, *act) + "}\n";
  g.OneThreadEach(n);
  return Finish(c, g, "direct", PresentInputs(node));
}

}  // namespace tfengine::cuda
