// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

// Lowers a node whose result at an index depends on its operands at that index alone. `in`: the node inputs used.
LowerResult LowerPointwise(const LowerContext& c, const std::vector<int>& in, std::string body, bool error = false,
                           const std::vector<std::vector<int64_t>>& shapes = {}) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  Pointwise p;
  for (size_t k = 0; k < in.size(); ++k) {
    p.in.push_back((*elems)[static_cast<size_t>(in[k])]);
    p.shapes.push_back(shapes.empty() ? c.node.inputs[static_cast<size_t>(in[k])].shape : shapes[k]);
  }
  p.out = elems->back();
  p.shape = c.node.outputs[0].shape;
  p.body = std::move(body);
  p.error = error;
  return Finish(c, PointwiseCode(p), "pointwise", in, InPlaceOperand(c.node));
}

std::string WideOf(const ConcreteNode& node, size_t input) {
  const auto e = ElemOf(node.inputs[input]);
  return e ? e->wide() : "";
}

}  // namespace

LowerResult LowerUnary(const LowerContext& c) {
  UnaryKind kind;
  if (!ParseKind(c.node.attrs.Str("kind"), &kind)) return std::optional<Lowered>();
  const std::string wide = WideOf(c.node, 0);
  if (wide.empty()) return std::optional<Lowered>();
  const auto f = UnaryExpression(kind, wide, c.node.attrs.Float("alpha"), c.node.attrs.Float("beta"));
  if (!f) return std::optional<Lowered>();
  return LowerPointwise(c, {0}, fmt::format("typedef {} W; const W x = x0; y = {};", wide, *f));
}

LowerResult LowerBinary(const LowerContext& c) {
  BinaryKind kind;
  if (!ParseKind(c.node.attrs.Str("kind"), &kind)) return std::optional<Lowered>();
  const auto a = ElemOf(c.node.inputs[0]);
  if (!a) return std::optional<Lowered>();
  const auto out = OutElem(c.node);
  const std::string wide = a->wide();
  const auto f = BinaryExpression(kind, wide, c.node.attrs.Has("out") ? Elem() : *a);
  const auto act = ActivationExpression(c.node.attrs, wide);
  if (!f || !act || !out) return std::optional<Lowered>();
  // y is the name of the second operand in the formula and of the result outside.
  std::string body = fmt::format("{{ typedef {0} W; W z; {{ const W x = x0, y = x1; z = {1}; }}", wide, *f);
  if (IsPredicate(kind)) body = fmt::format("{{ typedef {0} W; u64 z; {{ const W x = x0, y = x1; z = {1}; }}", wide, *f);
  if (!act->empty()) body += fmt::format(" {{ const W x = z; z = {}; }}", *act);
  body += " y = z; }";
  return LowerPointwise(c, {0, 1}, body, f->find("fail(") != std::string::npos);
}

LowerResult LowerSelect(const LowerContext& c) {
  // Elements are moved, not read: NaN payloads and codes stay what they are.
  const Operand& a = c.node.inputs[1];
  const size_t size = DTypeSize(a.dtype);
  const DType bits = size == 1 ? DType::kUint8 : size == 2 ? DType::kUint16 : size == 4 ? DType::kUint32 : DType::kUint64;
  Pointwise p;
  p.in = {Elem{DType::kBool}, Elem{bits}, Elem{bits}};
  for (int i = 0; i < 3; ++i) p.shapes.push_back(c.node.inputs[static_cast<size_t>(i)].shape);
  p.out = Elem{bits};
  p.shape = c.node.outputs[0].shape;
  p.body = "y = x0 ? x1 : x2;";
  return Finish(c, PointwiseCode(p), "pointwise", {0, 1, 2});
}

LowerResult LowerCast(const LowerContext& c) {
  const auto from = ElemOf(c.node.inputs[0]), to = ElemOf(c.node.outputs[0]);
  if (!from || !to) return std::optional<Lowered>();
  const bool real = from->wide() == "float" || from->wide() == "double";
  std::string body = "y = x0;";
  if (to->dtype == DType::kBool) {
    body = "y = x0 != 0;";
  } else if (!real && (to->dtype == DType::kFloat16 || to->dtype == DType::kBfloat16)) {
    body = "y = (float)x0;";
  } else if (real && to->wide() != "float" && to->wide() != "double") {
    const char* convert = to->dtype == DType::kUint64                                  ? "to_u64"
                          : to->dtype == DType::kInt64 || to->dtype == DType::kUint32 ? "to_i64"
                                                                                      : "to_i32";
    body = fmt::format("y = ({})(i64){}((double)x0);", to->wide(), convert);
  }
  return LowerPointwise(c, {0}, body);
}

LowerResult LowerConvert(const LowerContext& c) { return LowerPointwise(c, {0}, "y = x0;"); }

LowerResult LowerBatchNorm(const LowerContext& c) {
  const std::string wide = WideOf(c.node, 0);
  return LowerPointwise(c, {0, 1, 2, 3, 4},
                        fmt::format("typedef {0} W; y = ((W)x0 - (W)x3) / sqrt((W)x4 + {1}) * (W)x1 + (W)x2;", wide,
                                    Literal(c.node.attrs.Float("epsilon"), wide)));
}

LowerResult LowerFakeQuant(const LowerContext& c) {
  const std::string rounding = c.node.attrs.Str("rounding");
  const bool divides = !c.node.has_input(4);
  std::vector<int> in = {0, 1, 2, 3};
  if (!divides) in.push_back(4);
  // One channel's parameters per index of the axis.
  std::vector<std::vector<int64_t>> shapes = {c.node.inputs[0].shape};
  for (size_t k = 1; k < in.size(); ++k) {
    std::vector<int64_t> shape = c.node.inputs[static_cast<size_t>(in[k])].shape;
    if (shape.size() == 1) shape.resize(c.node.inputs[0].shape.size() - static_cast<size_t>(c.node.attrs.Int("axis")), 1);
    shapes.push_back(std::move(shape));
  }
  // Each operation is rounded by itself, never fused: near a tie it decides the code.
  const std::string scale = divides ? "__fdiv_rn({}, x1 == 0 ? 1.0f : x1)" : "__fmul_rn({}, x4)";
  auto scaled = [&](const char* v) {
    std::string text = scale;
    return text.replace(text.find("{}"), 2, v);
  };
  std::string code = rounding == "even" ? fmt::format("rintf({})", scaled("c"))
                     : rounding == "up" ? fmt::format("floorf(__fadd_rn({}, 0.5f))", scaled("c"))
                                        : fmt::format("floorf(__fadd_rn(__fadd_rn({}, x2), 0.5f))", scaled("__fsub_rn(c, lo)"));
  return LowerPointwise(c, in,
                        fmt::format("const float lo = __fmul_rn(x2, x1), hi = __fmul_rn(x3, x1);\n"
                                    "const float d = hi < x0 ? hi : x0, c = lo < d ? d : lo;\n"
                                    "y = x0 != x0 ? x0 : __fmul_rn({}, x1);", code),
                        false, shapes);
}

}  // namespace tfengine::cuda
