// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "backends/cuda/lower/lower.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {

namespace {

// Maxima of codes, four at a time as two pairs of 16 bits.
Generated MaxOfBytes(const std::vector<int64_t>& in, const std::vector<int64_t>& out, const std::vector<int64_t>& ksize, const Window& w) {
  const int64_t v = out[3] % 16 == 0 ? 16 : out[3] % 8 == 0 ? 8 : 4, n = out[0] * out[1] * out[2] * out[3] / v;
  Generated g;
  g.source = fmt::format(
      "extern \"C\" __global__ void k(const u8* in, u8* out, i64 n) {{\n  typedef {0} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n"
      "  if (i >= n) return;\n  const index at = i;\n  const int ch = (int)(i % {1}u) * {2}; i /= {1}u;\n  const int ox = (int)(i % {3}u); i /= {3}u;\n"
      "  const int oy = (int)(i % {4}u);\n  const u8* image = in + (i64)(i / {4}u) * {5} + ch;\n  unsigned low[{6}] = {{}}, high[{6}] = {{}};\n",
      IndexType(n * v), out[3] / v, v, out[2], out[1], in[1] * in[2] * in[3], v / 4);
  g.source += fmt::format(
      "  for (int ky = 0; ky < {0}; ++ky) {{\n    const int iy = oy * {1} + ky * {2} - {3};\n    if (iy < 0 || iy >= {4}) continue;\n"
      "#pragma unroll {5}\n    for (int kx = 0; kx < {5}; ++kx) {{\n      const int ix = ox * {6} + kx * {7} - {8};\n      if (ix < 0 || ix >= {9}) continue;\n",
      ksize[0], w.strides[0], w.dilations[0], w.pads[0], in[1], ksize[1], w.strides[1], w.dilations[1], w.pads[2], in[2]);
  g.source += fmt::format(
      "      const vec<unsigned, {0}> u = *(const vec<unsigned, {0}>*)(image + ((i64)iy * {1} + ix) * {2});\n#pragma unroll\n      for (int e = 0; e < {0}; ++e) {{\n"
      "        low[e] = __vmaxu2(low[e], u.v[e] & 0x00ff00ffu);\n        high[e] = __vmaxu2(high[e], u.v[e] >> 8 & 0x00ff00ffu);\n      }}\n    }}\n  }}\n"
      "  vec<unsigned, {0}> r;\n#pragma unroll\n  for (int e = 0; e < {0}; ++e) r.v[e] = low[e] | high[e] << 8;\n  *(vec<unsigned, {0}>*)(out + (i64)at * {3}) = r;\n}}\n",
      v / 4, in[2], in[3], v);
  g.OneThreadEach(n);
  return g;
}

}  // namespace

LowerResult LowerPool(const LowerContext& c) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  const Window w(c.node.attrs);
  TFE_RETURN_IF_ERROR(w.Check());
  const bool max = c.node.attrs.Str("kind") == "max";
  Elem x = (*elems)[0], y = elems->back();
  if (max) x.quant = y.quant = {};  // codes are ordered like what they stand for, and are moved
  const std::vector<int64_t>&in = c.node.inputs[0].shape, &out = c.node.outputs[0].shape, ksize = c.node.attrs.Ints("ksize");
  if (max && x.dtype == DType::kUint8 && out[3] % 4 == 0) return Finish(c, MaxOfBytes(in, out, ksize, w), "window", {0});
  const int v = VectorWidth(out[3], std::min(x.size(), y.size()));
  const int64_t n = c.node.outputs[0].num_elements() / v;
  const std::string wide = x.wide();
  std::string start = "0";
  if (max) {
    switch (x.dtype) {
      case DType::kFloat32: start = Literal(std::numeric_limits<float>::lowest(), "float"); break;
      case DType::kFloat64: start = Literal(std::numeric_limits<double>::lowest(), "double"); break;
      case DType::kFloat16: start = "-65504.0f"; break;
      case DType::kFloat8E4m3: start = "-448.0f"; break;
      case DType::kBfloat16: start = "__uint_as_float(0xff7f0000u)"; break;
      case DType::kInt8: start = "-128"; break;
      case DType::kInt16: start = "-32768"; break;
      case DType::kInt32: start = "(-2147483647ll - 1)"; break;
      case DType::kInt64: start = "(-9223372036854775807ll - 1)"; break;
      default: break;
    }
  }
  Generated g;
  g.source = fmt::format(
      "typedef {0} W;\nextern \"C\" __global__ void k(const {1}* in, {2}* out, i64 n) {{\n  typedef {3} index;\n"
      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n  const index at = i;\n"
      "  const int ch = (int)(i % {4}u) * {5}; i /= {4}u;\n  const int ox = (int)(i % {6}u); i /= {6}u;\n  const int oy = (int)(i % {7}u);\n"
      "  const {1}* image = in + (i64)(i / {7}u) * {8} + ch;\n  W a[{5}];\n#pragma unroll\n  for (int e = 0; e < {5}; ++e) a[e] = (W){9};\n  int count = 0;\n",
      wide, x.storage(), y.storage(), IndexType(n * v), out[3] / v, v, out[2], out[1], in[1] * in[2] * in[3], start);
  g.source += fmt::format(
      "  for (int ky = 0; ky < {0}; ++ky) {{\n    const int iy = oy * {1} + ky * {2} - {3};\n    if (iy < 0 || iy >= {4}) continue;\n"
      "    for (int kx = 0; kx < {5}; ++kx) {{\n      const int ix = ox * {6} + kx * {7} - {8};\n      if (ix < 0 || ix >= {9}) continue;\n      ++count;\n",
      ksize[0], w.strides[0], w.dilations[0], w.pads[0], in[1], ksize[1], w.strides[1], w.dilations[1], w.pads[2], in[2]);
  g.source += fmt::format(
      "      const vec<{0}, {1}> u = *(const vec<{0}, {1}>*)(image + ((i64)iy * {2} + ix) * {3});\n#pragma unroll\n"
      "      for (int e = 0; e < {1}; ++e) {{ const W w = {4}; {5} }}\n    }}\n  }}\n",
      x.storage(), v, in[2], in[3], x.Load("u.v[e]"), max ? "if (w > a[e]) a[e] = w;" : "a[e] += w;");
  const std::string result = max ? "a[e]" : "(count > 0 ? a[e] / (W)count : (W)0)";
  g.source += fmt::format("  vec<{0}, {1}> r;\n#pragma unroll\n  for (int e = 0; e < {1}; ++e) r.v[e] = {2};\n"
                          "  *(vec<{0}, {1}>*)(out + (i64)at * {1}) = r;\n}}\n", y.storage(), v, y.Store(result));
  g.OneThreadEach(n);
  return Finish(c, g, "window", {0});
}

}  // namespace tfengine::cuda
