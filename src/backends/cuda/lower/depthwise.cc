// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions: a thread has a few neighbouring channels of a small rectangle of results, so that a pixel is read
// from memory once for all results that need it.
#include <algorithm>

#include "backends/cuda/lower/conv.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {
namespace {

constexpr char kName[] = "strip";

struct Strip {
  int rows, columns;
};
constexpr Strip kStrips[] = {{2, 4}, {1, 4}, {4, 4}, {1, 2}, {2, 2}};

std::string NameOf(const Strip& s) { return fmt::format("{}{}x{}", kName, s.rows, s.columns); }

bool IsDepthwise(const ConcreteNode& node) {
  const auto& f = node.inputs[1].shape;
  const DType type = node.inputs[0].dtype;
  return f[2] == 1 && f[3] == node.attrs.Int("groups", 1) && f[3] == node.inputs[0].shape[3] && node.inputs[1].constant && node.inputs[1].dtype == DType::kFloat32 &&
         f[0] * f[1] > 1 && f[0] * f[1] <= 49 && !node.inputs[0].quant.quantized() &&
         (type == DType::kFloat16 || type == DType::kBfloat16 || type == DType::kFloat32);
}

}  // namespace

std::vector<std::string> DepthwiseTactics(const ConcreteNode& node) {
  std::vector<std::string> names;
  if (!IsDepthwise(node)) return names;
  const auto& out = node.outputs[0].shape;
  for (const Strip& s : kStrips)
    if (s.rows <= out[1] && s.columns <= out[2]) names.push_back(NameOf(s));
  return names;
}

LowerResult LowerDepthwise(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  const auto elems = ElemsOf(node);
  const auto act = ActivationExpression(node.attrs, "float");
  if (!IsDepthwise(node) || !elems || !act || elems->back().wide() != "float") return std::optional<Lowered>();
  const Window w(node.attrs);
  const std::vector<int64_t>&in = node.inputs[0].shape, &f = node.inputs[1].shape, &out = node.outputs[0].shape;
  const Elem& x = (*elems)[0];
  // Without a choice: large rectangles where there is work for all threads.
  const bool large = node.outputs[0].num_elements() / (8 * VectorWidth(out[3], x.size())) >= int64_t{c.device.processors()} * 1024;
  const Strip* strip = large ? &kStrips[0] : &kStrips[3];
  for (const Strip& s : kStrips)
    if (NameOf(s) == c.tactic) strip = &s;
  const Tensor& t = *node.inputs[1].constant;
  const bool bias = node.has_input(2), residual = node.has_input(3);
  const int v = VectorWidth(out[3], x.size());
  TFE_ASSIGN_OR_RETURN(auto filter, RoundedFilter(c, t, x.dtype));
  const int64_t strips_y = (out[1] + strip->rows - 1) / strip->rows, strips_x = (out[2] + strip->columns - 1) / strip->columns;
  const int64_t n = out[0] * strips_y * strips_x * (out[3] / v);
  Generated g;
  g.inputs = static_cast<size_t>(2 + bias + residual);
  g.source = fmt::format("#define V {}\n#define TR {}\n#define TC {}\n#define KH {}\n#define KW {}\n#define SH {}\n#define SW {}\n#define DH {}\n#define DW {}\n", v, strip->rows,
                         strip->columns, f[0], f[1], w.strides[0], w.strides[1], w.dilations[0], w.dilations[1]);
  g.source += fmt::format("#define ROWS ((TR - 1) * SH + (KH - 1) * DH + 1)\n#define COLUMNS ((TC - 1) * SW + (KW - 1) * DW + 1)\ntypedef float W;\n"
                          "extern \"C\" __global__ void __launch_bounds__(128) k(const {0}* in, const float* filter, {1}) {{\n  typedef {2} index;\n"
                          "  index i = (index)blockIdx.x * 128u + threadIdx.x;\n  if (i >= n) return;\n"
                          "  const int ch = (int)(i % {3}u) * V; i /= {3}u;\n  const int ox = (int)(i % {4}u) * TC; i /= {4}u;\n  const int oy = (int)(i % {5}u) * TR;\n"
                          "  const i64 picture = (i64)(i / {5}u);\n  const {0}* image = in + picture * {6} + ch;\n",
                          x.storage(), OutputParameters(*elems, bias, residual), IndexType(n), out[3] / v, strips_x, strips_y, in[1] * in[2] * in[3]);
  g.source += fmt::format(R"cuda(  W sums[TR][TC][V];
#pragma unroll
  for (int r = 0; r < TR; ++r)
#pragma unroll
    for (int t = 0; t < TC; ++t)
#pragma unroll
      for (int e = 0; e < V; ++e) sums[r][t][e] = 0;
#pragma unroll
  for (int row = 0; row < ROWS; ++row) {{
    const int iy = oy * SH + row - {0};
    if (iy >= 0 && iy < {1}) {{
      vec<{2}, V> u[COLUMNS];
#pragma unroll
      for (int s = 0; s < COLUMNS; ++s) {{
        const int ix = ox * SW + s - {3};
#pragma unroll
        for (int e = 0; e < V; ++e) u[s].v[e] = {4};
        if (ix >= 0 && ix < {5}) u[s] = *(const vec<{2}, V>*)(image + ((i64)iy * {5} + ix) * {6});
      }}
#pragma unroll
      for (int r = 0; r < TR; ++r)
#pragma unroll
        for (int ky = 0; ky < KH; ++ky) {{
          if (r * SH + ky * DH != row) continue;
#pragma unroll
          for (int kx = 0; kx < KW; ++kx) {{
            const vec<float, V> tap = *(const vec<float, V>*)(filter + (ky * KW + kx) * {6} + ch);
#pragma unroll
            for (int t = 0; t < TC; ++t)
#pragma unroll
              for (int e = 0; e < V; ++e) sums[r][t][e] += {7} * tap.v[e];
          }}
        }}
    }}
  }}
#pragma unroll
  for (int r = 0; r < TR; ++r)
#pragma unroll
    for (int t = 0; t < TC; ++t) {{
      if (oy + r >= {8} || ox + t >= {9}) continue;
      const i64 at = (((picture * {8} + oy + r) * {9} + ox + t) * {6} + ch) / V;
      const W* a = sums[r][t];
)cuda", w.pads[0], in[1], x.storage(), w.pads[2], x.Store("0.0f"), in[2], in[3], x.Load("u[t * SW + kx * DW].v[e]"), out[1], out[2]);
  g.source += OutputCode(node, *elems, v, bias, residual, *act) + "    }\n}\n";
  g.block[0] = 128;
  g.grid[0] = static_cast<unsigned>(std::max<int64_t>((n + 127) / 128, 1));
  g.sizes = {n};
  g.bound.push_back({1, std::move(filter), true});
  std::vector<int> inputs = {0};
  if (bias) inputs.push_back(2);
  if (residual) inputs.push_back(3);
  return Finish(c, g, NameOf(*strip), std::move(inputs));
}

}  // namespace tfengine::cuda
