// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

// A node whose result at an index depends on its operands at that index alone, as code; `in`: the node inputs used.
struct Form {
  Pointwise code;
  std::vector<int> in;
  bool in_place = true;  // may overwrite an operand
};
using MaybeForm = std::optional<Form>;

MaybeForm MakeForm(const ConcreteNode& node, std::vector<int> in, std::string body, bool error = false, const std::vector<std::vector<int64_t>>& shapes = {}) {
  const auto elems = ElemsOf(node);
  if (!elems) return std::nullopt;
  Form form;
  Pointwise& p = form.code;
  for (size_t k = 0; k < in.size(); ++k) {
    p.in.push_back((*elems)[static_cast<size_t>(in[k])]);
    p.shapes.push_back(shapes.empty() ? node.inputs[static_cast<size_t>(in[k])].shape : shapes[k]);
  }
  p.out = elems->back();
  p.shape = node.outputs[0].shape;
  p.body = std::move(body);
  p.error = error;
  form.in = std::move(in);
  return form;
}

std::string WideOf(const ConcreteNode& node, size_t input) {
  const auto e = ElemOf(node.inputs[input]);
  return e ? e->wide() : "";
}

MaybeForm UnaryForm(const ConcreteNode& node) {
  UnaryKind kind;
  if (!ParseKind(node.attrs.Str("kind"), &kind)) return std::nullopt;
  const std::string wide = WideOf(node, 0);
  if (wide.empty()) return std::nullopt;
  const auto f = UnaryExpression(kind, wide, node.attrs.Float("alpha"), node.attrs.Float("beta"));
  if (!f) return std::nullopt;
  return MakeForm(node, {0}, fmt::format("typedef {} W; const W x = x0; y = {};", wide, *f));
}

MaybeForm BinaryForm(const ConcreteNode& node) {
  BinaryKind kind;
  if (!ParseKind(node.attrs.Str("kind"), &kind)) return std::nullopt;
  const auto a = ElemOf(node.inputs[0]);
  if (!a) return std::nullopt;
  const auto out = OutElem(node);
  const std::string wide = a->wide();
  const auto f = BinaryExpression(kind, wide, node.attrs.Has("out") ? Elem() : *a);
  const auto act = ActivationExpression(node.attrs, wide);
  if (!f || !act || !out) return std::nullopt;
  // y is the name of the second operand in the formula and of the result outside.
  std::string body = fmt::format("{{ typedef {0} W; W z; {{ const W x = x0, y = x1; z = {1}; }}", wide, *f);
  if (IsPredicate(kind)) body = fmt::format("{{ typedef {0} W; u64 z; {{ const W x = x0, y = x1; z = {1}; }}", wide, *f);
  if (!act->empty()) body += fmt::format(" {{ const W x = z; z = {}; }}", *act);
  body += " y = z; }";
  return MakeForm(node, {0, 1}, body, f->find("fail(") != std::string::npos);
}

MaybeForm SelectForm(const ConcreteNode& node) {
  // Elements are moved, not read: NaN payloads and codes stay what they are.
  const Operand& a = node.inputs[1];
  const size_t size = DTypeSize(a.dtype);
  const DType bits = size == 1 ? DType::kUint8 : size == 2 ? DType::kUint16 : size == 4 ? DType::kUint32 : DType::kUint64;
  Form form;
  Pointwise& p = form.code;
  p.in = {Elem{DType::kBool}, Elem{bits}, Elem{bits}};
  for (int i = 0; i < 3; ++i) p.shapes.push_back(node.inputs[static_cast<size_t>(i)].shape);
  p.out = Elem{bits};
  p.shape = node.outputs[0].shape;
  p.body = "y = x0 ? x1 : x2;";
  form.in = {0, 1, 2};
  form.in_place = false;
  return form;
}

MaybeForm CastForm(const ConcreteNode& node) {
  const auto from = ElemOf(node.inputs[0]), to = ElemOf(node.outputs[0]);
  if (!from || !to) return std::nullopt;
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
  return MakeForm(node, {0}, body);
}

MaybeForm ConvertForm(const ConcreteNode& node) { return MakeForm(node, {0}, "y = x0;"); }

MaybeForm BatchNormForm(const ConcreteNode& node) {
  const std::string wide = WideOf(node, 0);
  return MakeForm(node, {0, 1, 2, 3, 4},
                        fmt::format("typedef {0} W; y = ((W)x0 - (W)x3) / sqrt((W)x4 + {1}) * (W)x1 + (W)x2;", wide,
                                    Literal(node.attrs.Float("epsilon"), wide)));
}

MaybeForm FakeQuantForm(const ConcreteNode& node) {
  const std::string rounding = node.attrs.Str("rounding");
  const bool divides = !node.has_input(4);
  std::vector<int> in = {0, 1, 2, 3};
  if (!divides) in.push_back(4);
  // One channel's parameters per index of the axis.
  std::vector<std::vector<int64_t>> shapes = {node.inputs[0].shape};
  for (size_t k = 1; k < in.size(); ++k) {
    std::vector<int64_t> shape = node.inputs[static_cast<size_t>(in[k])].shape;
    if (shape.size() == 1) shape.resize(node.inputs[0].shape.size() - static_cast<size_t>(node.attrs.Int("axis")), 1);
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
  return MakeForm(node, in,
                        fmt::format("const float lo = __fmul_rn(x2, x1), hi = __fmul_rn(x3, x1);\n"
                                    "const float d = hi < x0 ? hi : x0, c = lo < d ? d : lo;\n"
                                    "y = x0 != x0 ? x0 : __fmul_rn({}, x1);", code),
                        false, shapes);
}

MaybeForm FormOf(const ConcreteNode& node) {
  switch (node.op) {
    case Op::kUnary: return UnaryForm(node);
    case Op::kBinary: return BinaryForm(node);
    case Op::kSelect: return SelectForm(node);
    case Op::kCast: return CastForm(node);
    case Op::kConvert: return ConvertForm(node);
    case Op::kBatchNorm: return BatchNormForm(node);
    case Op::kFakeQuant: return FakeQuantForm(node);
    default: return std::nullopt;
  }
}

}  // namespace

LowerResult LowerPointwise(const LowerContext& c) {
  auto form = FormOf(c.node);
  if (!form) return std::optional<Lowered>();
  return Finish(c, PointwiseCode(form->code), "pointwise", std::move(form->in), form->in_place ? InPlaceOperand(c.node) : -1);
}

LowerResult LowerPointwiseChain(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  Pointwise all;
  std::vector<int> in;
  int first_input = 0;  // of the node, in the numbers of a chain
  for (size_t k = 0; k < nodes.size(); ++k) {
    const auto form = FormOf(nodes[k]);
    // Every node of the chain has an element of the result for each of its own: nothing is computed twice.
    if (!form || nodes[k].outputs[0].shape != nodes.back().outputs[0].shape) return std::optional<Lowered>();
    const Pointwise& p = form->code;
    if (k > 0 && (form->in.empty() || form->in[0] != 0)) return std::optional<Lowered>();
    // Operands in variables of their own, then the names that the node's code uses. What lies between two nodes is rounded to its
    // type as if it had been stored.
    std::string names;
    for (size_t i = 0; i < p.in.size(); ++i) {
      if (k > 0 && i == 0) {
        names += fmt::format("const {} x0 = {}; ", p.in[0].wide(), p.in[0].Load(fmt::format("s{}", k - 1)));
        continue;
      }
      if (k > 0 && form->in[i] == 0) return std::optional<Lowered>();
      names += fmt::format("const {} x{} = a{}; ", p.in[i].wide(), i, all.in.size());
      all.in.push_back(p.in[i]);
      all.shapes.push_back(p.shapes[i]);
      in.push_back(first_input + form->in[i]);
    }
    const bool last = k + 1 == nodes.size();
    const std::string body = p.out.size() == 2 && p.out.wide() == "float" ? For16Bits(p.body) : p.body;
    if (!last) all.body += fmt::format("{} s{};\n", p.out.storage(), k);
    all.body += fmt::format("{{ {}{} r; {{ {} y; {} r = y; }} {} = {}; }}\n", names, p.out.wide(), p.out.wide(), body, last ? "result" : fmt::format("s{}", k),
                            last ? "r" : p.out.Store("r"));
    all.error = all.error || p.error;
    all.out = p.out;
    first_input += static_cast<int>(nodes[k].inputs.size());
  }
  all.shape = nodes.back().outputs[0].shape;
  std::string values;
  for (size_t i = 0; i < all.in.size(); ++i) values += fmt::format("const {} a{} = x{}; ", all.in[i].wide(), i, i);
  all.body = fmt::format("{}{} result;\n{}y = result;", values, all.out.wide(), all.body);
  return Finish(c, PointwiseCode(all), "pointwise", std::move(in));
}

}  // namespace tfengine::cuda
