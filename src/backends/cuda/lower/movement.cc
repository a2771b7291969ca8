// SPDX-License-Identifier: Apache-2.0
// Ops that move elements.
#include <algorithm>
#include <cmath>

#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

LowerResult Unfit(const ConcreteNode& node) {
  return Error(ErrorId::kShapeUnsupported, "{} does not fit an input of shape {}", OpName(node.op),
               ShapeToString(node.inputs[0].shape));
}

std::vector<int64_t> Numbers(const Shape& dims) {
  std::vector<int64_t> v;
  for (Dim d : dims) v.push_back(d.value);
  return v;
}

const char* BitsType(size_t size) {
  return size == 1 ? "u8" : size == 2 ? "u16" : size == 4 ? "unsigned" : size == 8 ? "u64" : "uint4";
}

// The widest unit, up to 16 bytes, that divides every one of `lengths` elements of `size` bytes.
size_t WidestUnit(size_t size, const std::vector<int64_t>& lengths) {
  size_t unit = 1;
  while (size * unit < 16 && std::all_of(lengths.begin(), lengths.end(), [&](int64_t n) { return n % static_cast<int64_t>(2 * unit) == 0; }))
    unit *= 2;
  return unit;
}

}  // namespace

LowerResult LowerAffine(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  const std::vector<int64_t>&in = node.inputs[0].shape, &out = node.outputs[0].shape;
  const std::vector<int64_t> from = RowMajor(in), to = RowMajor(out);
  Walk walk;
  walk.base = {0, 0};
  walk.dims = out;
  walk.strides = {{}, to};
  auto& s = walk.strides[0];
  switch (node.op) {
    case Op::kTranspose:
      for (int64_t axis : node.attrs.Ints("perm")) s.push_back(from[static_cast<size_t>(axis)]);
      break;
    case Op::kBroadcast: s = BroadcastStrides(in, out); break;
    case Op::kSlice: {
      const std::vector<int64_t> begin = Numbers(node.attrs.Dims("begin"));
      std::vector<int64_t> steps = node.attrs.Ints("strides");
      steps.resize(in.size(), 1);
      for (size_t d = 0; d < in.size(); ++d) {
        const int64_t last = begin[d] + (out[d] - 1) * steps[d];
        if (begin[d] < 0 || begin[d] >= in[d] || last < 0 || last >= in[d]) return Unfit(node);
        s.push_back(from[d] * steps[d]);
        walk.base[0] += begin[d] * from[d];
      }
      break;
    }
    case Op::kTile:
      walk.dims.clear();
      walk.strides[1].clear();
      for (size_t d = 0; d < in.size(); ++d) {
        if (in[d] == 0) return std::optional<Lowered>();
        walk.dims.insert(walk.dims.end(), {out[d] / in[d], in[d]});
        s.insert(s.end(), {0, from[d]});
        walk.strides[1].insert(walk.strides[1].end(), {to[d] * in[d], to[d]});
      }
      break;
    case Op::kDepthToSpace: case Op::kSpaceToDepth: {
      const int64_t block = node.attrs.Int("block");
      const bool to_space = node.op == Op::kDepthToSpace;
      const auto &deep = to_space ? in : out, &wide = to_space ? out : in;
      const int64_t channels = wide[3], row = wide[2] * channels;
      walk.dims = {deep[0], deep[1], deep[2], block, block, channels};
      const std::vector<int64_t> w = {wide[1] * row, block * row, block * channels, row, channels, 1};
      const std::vector<int64_t> d = {deep[1] * deep[2] * deep[3], deep[2] * deep[3], deep[3], block * channels, channels, 1};
      walk.strides = to_space ? std::vector<std::vector<int64_t>>{d, w} : std::vector<std::vector<int64_t>>{w, d};
      break;
    }
    default: return std::optional<Lowered>();
  }
  return Finish(c, CopyCode(std::move(walk), DTypeSize(node.outputs[0].dtype)), "copy", {0});
}

LowerResult LowerConcat(const LowerContext& c) {
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  const std::vector<int64_t>& shape = c.node.outputs[0].shape;
  size_t size = DTypeSize(c.node.outputs[0].dtype);
  std::vector<int64_t> lengths;
  std::vector<int> in;
  for (size_t i = 0; i < c.node.inputs.size(); ++i) {
    const int64_t length = Product(c.node.inputs[i].shape, axis, shape.size());
    if (length == 0) continue;
    lengths.push_back(length);
    in.push_back(static_cast<int>(i));
  }
  // One launch takes up to kMost inputs; more are an affine copy each.
  constexpr size_t kMost = 256;
  if (in.size() > kMost) return std::optional<Lowered>();
  const size_t unit = WidestUnit(size, lengths);
  size *= unit;
  int64_t row = 0;
  for (int64_t& n : lengths) row += n /= static_cast<int64_t>(unit);
  const int64_t n = Product(shape, 0, axis) * row;
  Generated g;
  g.inputs = in.size();
  g.source = "extern \"C\" __global__ void k(";
  for (size_t k = 0; k < in.size(); ++k) g.source += fmt::format("const {}* in{}, ", BitsType(size), k);
  g.source += fmt::format("{}* out, i64 n) {{\n  typedef {} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n"
                          "  if (i >= n) return;\n  const index r = i / {}u, j = i % {}u;\n",
                          BitsType(size), IndexType(n), row, row);
  int64_t start = 0;
  for (size_t k = 0; k < in.size(); ++k) {
    start += lengths[k];
    g.source += fmt::format("  {}{} out[i] = in{}[(i64)r * {} + j - {}u];\n", k == 0 ? "" : "else ",
                            k + 1 == in.size() ? "" : fmt::format("if (j < {}u)", start), k, lengths[k], start - lengths[k]);
  }
  g.source += "}\n";
  if (in.size() == 1) g.source = fmt::format("extern \"C\" __global__ void k(const {0}* in, {0}* out, i64 n) {{\n"
                                             "  const i64 i = (i64)blockIdx.x * 256 + threadIdx.x;\n  if (i < n) out[i] = in[i];\n}}\n", BitsType(size));
  g.OneThreadEach(n);
  return Finish(c, g, "copy", std::move(in));
}

LowerResult LowerPad(const LowerContext& c) {
  const std::vector<int64_t>&in = c.node.inputs[0].shape, &out = c.node.outputs[0].shape;
  const std::vector<int64_t> lo = Numbers(c.node.attrs.Dims("lo")), hi = Numbers(c.node.attrs.Dims("hi"));
  const std::string mode = c.node.attrs.Str("mode", "constant");
  const auto elem = ElemOf(c.node.inputs[0]);
  if (!elem) return std::optional<Lowered>();
  const int64_t edge = mode == "reflect" ? 1 : 0;
  const int64_t n = c.node.outputs[0].num_elements();
  const std::vector<int64_t> from = RowMajor(in);
  std::string code = fmt::format("  typedef {} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n"
                                 "  const index at = i;\n  i64 from = 0;\n  bool inside = true;\n", IndexType(n));
  for (size_t d = out.size(); d-- > 0;) {
    if (mode != "constant" && (lo[d] > 0 || hi[d] > 0) && std::max(lo[d], hi[d]) > in[d] - edge) return Unfit(c.node);
    code += d == 0 ? fmt::format("  {{ i64 p = (i64)i - {};", lo[d])
                   : fmt::format("  {{ i64 p = (i64)(i % {0}u) - {1}; i /= {0}u;", out[d], lo[d]);
    if (mode == "constant") {
      code += fmt::format(" inside = inside && p >= 0 && p < {};", in[d]);
    } else {
      code += fmt::format(" if (p < 0) p = -p - {}; if (p >= {}) p = {} - p;", 1 - edge, in[d], 2 * in[d] - 1 - edge);
    }
    code += fmt::format(" from += p * {}; }}\n", from[d]);
  }
  // The value as an element: rounded once, codes by the tensor's own quantization.
  const double value = c.node.attrs.Float("value");
  const std::string wide = elem->wide();
  const bool real = wide == "float" || wide == "double";
  const std::string literal = real ? Literal(value, wide) : fmt::format("({})({}ll)", wide, static_cast<int64_t>(value));
  code += fmt::format("  out[at] = inside ? in[from] : {};\n", elem->Store(literal));
  Generated g;
  g.source = fmt::format("extern \"C\" __global__ void k(const {0}* in, {0}* out, i64 n) {{\n{1}}}\n", elem->storage(), code);
  g.OneThreadEach(n);
  return Finish(c, g, "copy", {0});
}

LowerResult LowerGather(const LowerContext& c) {
  const std::vector<int64_t>& shape = c.node.inputs[0].shape;
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis")), batch_dims = static_cast<size_t>(c.node.attrs.Int("batch_dims"));
  const int64_t batch = Product(shape, 0, batch_dims), outer = Product(shape, batch_dims, axis), size = shape[axis];
  const int64_t count = c.node.inputs[1].num_elements() / batch, inner = Product(shape, axis + 1, shape.size());
  const size_t bytes = DTypeSize(c.node.inputs[0].dtype);
  const auto unit = static_cast<int64_t>(WidestUnit(bytes, {inner}));
  const int64_t row = inner / unit, n = c.node.outputs[0].num_elements() / unit;
  Generated g;
  g.inputs = 2;
  g.error = true;
  // A bad index reads row 0 and is reported.
  g.source = fmt::format(
      "extern \"C\" __global__ void k(const {0}* in, const {1}* indices, {0}* out, int* error, i64 n) {{\n"
      "  typedef {2} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n  const index at = i;\n"
      "  const index j = i % {3}u; i /= {3}u;\n  const index e = i % {4}u; i /= {4}u;\n  const index o = i % {5}u, b = i / {5}u;\n"
      "  i64 p = indices[(i64)b * {4} + e];\n{7}  if (p < 0 || p >= {6}) {{ fail(error, 1); p = 0; }}\n"
      "  out[at] = in[(((i64)b * {5} + o) * {6} + p) * {3} + j];\n}}\n",
      BitsType(bytes * static_cast<size_t>(unit)), c.node.inputs[1].dtype == DType::kInt32 ? "int" : "i64", IndexType(n), row, count, outer, size,
      c.node.attrs.Bool("wrap") ? fmt::format("  if (p < 0) p += {};\n", size) : "");
  g.OneThreadEach(n);
  if (size == 0) return Error(ErrorId::kIndexOutOfRange, "an axis of size 0 is gathered from");
  return Finish(c, g, "gather", {0, 1});
}

LowerResult LowerGatherNd(const LowerContext& c) {
  const std::vector<int64_t>&shape = c.node.inputs[0].shape, &tuple_shape = c.node.inputs[1].shape;
  const auto batch_dims = static_cast<size_t>(c.node.attrs.Int("batch_dims")), depth = static_cast<size_t>(tuple_shape.back());
  const int64_t batch = Product(shape, 0, batch_dims), tuples = Product(tuple_shape, 0, tuple_shape.size() - 1);
  const int64_t row_elements = Product(shape, batch_dims + depth, shape.size()), batch_size = Product(shape, batch_dims, shape.size());
  const std::vector<int64_t> strides = RowMajor(shape);
  const size_t bytes = DTypeSize(c.node.inputs[0].dtype);
  const auto unit = static_cast<int64_t>(WidestUnit(bytes, {row_elements}));
  const int64_t n = c.node.outputs[0].num_elements() / unit;
  if (c.node.inputs[0].num_elements() == 0) return std::optional<Lowered>();
  std::string code;
  for (size_t d = 0; d < depth; ++d)
    code += fmt::format("  {{ i64 p = tuple[{}]; if (p < 0 || p >= {}) {{ fail(error, 1); p = 0; }} from += p * {}; }}\n", d,
                        shape[batch_dims + d], strides[batch_dims + d] / unit);
  Generated g;
  g.inputs = 2;
  g.error = true;
  g.source = fmt::format(
      "extern \"C\" __global__ void k(const {0}* in, const {1}* indices, {0}* out, int* error, i64 n) {{\n"
      "  typedef {2} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n"
      "  const index j = i % {3}u, t = i / {3}u;\n  const {1}* tuple = indices + (i64)t * {4};\n  i64 from = (i64)(t / {5}u) * {6};\n"
      "{7}  out[i] = in[from + j];\n}}\n",
      BitsType(bytes * static_cast<size_t>(unit)), c.node.inputs[1].dtype == DType::kInt32 ? "int" : "i64", IndexType(n),
      row_elements / unit, depth, std::max<int64_t>(tuples / batch, 1), batch_size / unit, code);
  g.OneThreadEach(n);
  return Finish(c, g, "gather", {0, 1});
}

LowerResult LowerOneHot(const LowerContext& c) {
  const auto elem = ElemOf(c.node.outputs[0]), index = ElemOf(c.node.inputs[0]);
  if (!elem || !index) return std::optional<Lowered>();
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  const std::vector<int64_t>& shape = c.node.outputs[0].shape;
  const int64_t depth = shape[axis], inner = Product(shape, axis + 1, shape.size()), n = c.node.outputs[0].num_elements();
  auto value = [&](const char* key) {
    const double v = c.node.attrs.Float(key);
    const std::string wide = elem->wide();
    return wide == "float" || wide == "double" ? Literal(v, wide) : fmt::format("({})({}ll)", wide, static_cast<int64_t>(v));
  };
  Generated g;
  g.source = fmt::format(
      "extern \"C\" __global__ void k(const {0}* in, {1}* out, i64 n) {{\n  typedef {2} index;\n"
      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n"
      "  const index j = i % {3}u, d = i / {3}u % {4}u, o = i / {5}u;\n"
      "  out[i] = (i64)in[(i64)o * {3} + j] == (i64)d ? {6} : {7};\n}}\n",
      index->storage(), elem->storage(), IndexType(n), inner, depth, depth * inner, elem->Store(value("on")), elem->Store(value("off")));
  g.OneThreadEach(n);
  return Finish(c, g, "one_hot", {0});
}

LowerResult LowerResize(const LowerContext& c) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  const std::vector<int64_t>&in = c.node.inputs[0].shape, &out = c.node.outputs[0].shape;
  if (in[1] == 0 || in[2] == 0)
    return Error(ErrorId::kShapeUnsupported, "an image of shape {} cannot be resized", ShapeToString(in));
  const bool corners = c.node.attrs.Bool("align_corners"), half = c.node.attrs.Bool("half_pixel");
  const bool nearest = c.node.attrs.Str("kind") == "nearest";
  const int64_t n = c.node.outputs[0].num_elements();
  auto scale = [&](int64_t from, int64_t to) {
    return Literal(static_cast<double>(corners && to > 1 ? static_cast<float>(from - 1) / static_cast<float>(to - 1)
                                                         : static_cast<float>(from) / static_cast<float>(to)), "float");
  };
  // Positions as TensorFlow computes them: every step rounded to f32, nothing fused.
  const char* linear = half ? "__fsub_rn(__fmul_rn(__fadd_rn((float)(int)p, 0.5f), s), 0.5f)" : "__fmul_rn((float)(int)p, s)";
  const char* round = half ? "__fmul_rn(__fadd_rn((float)(int)p, 0.5f), s)" : "__fmul_rn((float)(int)p, s)";
  std::string code = fmt::format(
      "struct At {{ int lower, upper; float weight; }};\n"
      "__forceinline__ At linear(unsigned p, float s, int size) {{\n  const float at = {}, f = floorf(at);\n"
      "  return {{max((int)f, 0), min((int)ceilf(at), size - 1), at - f}};\n}}\n"
      "__forceinline__ int nearest(unsigned p, float s, int size) {{\n  const float at = {};\n"
      "  return min(max((int){}(at), 0), size - 1);\n}}\n",
      linear, round, corners ? "roundf" : "floorf");
  const Elem &x = (*elems)[0], &y = elems->back();
  // Moved elements keep their bits.
  const std::string in_type = nearest ? BitsType(x.size()) : x.storage(), out_type = nearest ? in_type : y.storage();
  code += fmt::format("extern \"C\" __global__ void k(const {}* in, {}* out, i64 n) {{\n  typedef {} index;\n"
                      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n  const index to = i;\n"
                      "  const index ch = i % {}u; i /= {}u;\n  const index ox = i % {}u; i /= {}u;\n  const index oy = i % {}u, b = i / {}u;\n",
                      in_type, out_type, IndexType(std::max(n, c.node.inputs[0].num_elements())), out[3], out[3], out[2], out[2], out[1], out[1]);
  code += fmt::format("  const {}* image = in + (i64)b * {} + ch;\n", in_type, in[1] * in[2] * in[3]);
  if (nearest) {
    code += fmt::format("  out[to] = image[((i64)nearest(oy, {}, {}) * {} + nearest(ox, {}, {})) * {}];\n}}\n", scale(in[1], out[1]), in[1],
                        in[2], scale(in[2], out[2]), in[2], in[3]);
  } else {
    auto at = [&](const char* row, const char* column) {
      return "(float)" + x.Load(fmt::format("image[((i64){} * {} + {}) * {}]", row, in[2], column, in[3]));
    };
    code += fmt::format("  const At v = linear(oy, {}, {}), h = linear(ox, {}, {});\n", scale(in[1], out[1]), in[1], scale(in[2], out[2]), in[2]);
    code += fmt::format("  const float a = {}, b2 = {}, c2 = {}, d = {};\n", at("v.lower", "h.lower"), at("v.lower", "h.upper"),
                        at("v.upper", "h.lower"), at("v.upper", "h.upper"));
    code += fmt::format("  const float top = a + (b2 - a) * h.weight, bottom = c2 + (d - c2) * h.weight;\n  const float w = top + (bottom - top) * v.weight;\n"
                        "  out[to] = {};\n}}\n", y.Store("w"));
  }
  Generated g;
  g.source = std::move(code);
  g.OneThreadEach(n);
  return Finish(c, g, nearest ? "nearest" : "bilinear", {0});
}

}  // namespace tfengine::cuda
