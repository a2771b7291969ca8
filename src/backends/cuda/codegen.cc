// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tfengine::cuda {
namespace {

bool IsWideFloat(const std::string& wide) { return wide == "float" || wide == "double"; }

struct TypeRow {
  DType dtype;
  const char* storage;
  const char* wide;
  const char* load;   // of v
  const char* store;  // of w, when w has the wide type of dtype
};
constexpr TypeRow kTypes[] = {
    {DType::kFloat32, "float", "float", "{}", "{}"},
    {DType::kFloat64, "double", "double", "{}", "{}"},
    {DType::kFloat16, "f16", "float", "up({})", "to_f16({})"},
    {DType::kBfloat16, "bf16", "float", "up({})", "to_bf16({})"},
    {DType::kFloat8E4m3, "f8", "float", "up({})", "to_f8({})"},
    {DType::kInt8, "signed char", "i64", "(i64)({})", "(signed char)({})"},
    {DType::kInt16, "short", "i64", "(i64)({})", "(short)({})"},
    {DType::kInt32, "int", "i64", "(i64)({})", "(int)({})"},
    {DType::kInt64, "i64", "i64", "{}", "{}"},
    {DType::kUint8, "u8", "u64", "(u64)({})", "(u8)({})"},
    {DType::kUint16, "u16", "u64", "(u64)({})", "(u16)({})"},
    {DType::kUint32, "unsigned", "u64", "(u64)({})", "(unsigned)({})"},
    {DType::kUint64, "u64", "u64", "{}", "{}"},
    {DType::kBool, "u8", "u64", "(u64)({})", "(u8)(({}) != 0)"},
};

const TypeRow* FindType(DType dtype) {
  for (const TypeRow& row : kTypes)
    if (row.dtype == dtype) return &row;
  return nullptr;
}

std::string Fill(std::string pattern, const std::string& value) {
  return pattern.replace(pattern.find("{}"), 2, value);
}

}  // namespace

std::string Elem::storage() const { return FindType(dtype)->storage; }
std::string Elem::wide() const { return quant.quantized() ? "float" : FindType(dtype)->wide; }

std::string Elem::Load(const std::string& v) const {
  if (quant.quantized() && dtype == DType::kFloat8E4m3) return fmt::format("({} * up({}))", Literal(quant.scale, "float"), v);
  if (quant.quantized()) return fmt::format("({} * (float)((int)({}) - {}))", Literal(quant.scale, "float"), v, quant.zero);
  return Fill(FindType(dtype)->load, v);
}

std::string Elem::Store(const std::string& w) const {
  if (quant.quantized() && dtype == DType::kFloat8E4m3) return fmt::format("to_f8(__fdiv_rn({}, {}))", w, Literal(quant.scale, "float"));
  if (quant.quantized()) return fmt::format("to_code({}, {}, {}, {}, {})", w, Literal(quant.scale, "float"), quant.zero, lo, hi);
  return Fill(FindType(dtype)->store, w);
}

std::optional<Elem> ElemOf(const Operand& o) {
  if (!o.present) return Elem();
  if (FindType(o.dtype) == nullptr) return std::nullopt;
  return Elem{o.dtype, o.quant};
}

std::optional<Elem> OutElem(const ConcreteNode& node) {
  std::optional<Elem> e = ElemOf(node.outputs[0]);
  if (e && node.attrs.Has("out")) {
    const OutType type = OutTypeOf(node.attrs);
    *e = {type.dtype, type.quant, type.lo, type.hi};
  }
  return e;
}

std::optional<std::vector<Elem>> ElemsOf(const ConcreteNode& node) {
  std::vector<Elem> elems;
  for (const Operand& o : node.inputs) {
    const auto e = ElemOf(o);
    if (!e) return std::nullopt;
    elems.push_back(*e);
  }
  const auto out = OutElem(node);
  if (!out) return std::nullopt;
  elems.push_back(*out);
  return elems;
}

std::string Literal(double v, const std::string& wide) {
  if (std::isnan(v)) return wide == "float" ? "__int_as_float(0x7fc00000)" : "__longlong_as_double(0x7ff8000000000000ll)";
  if (std::isinf(v)) return fmt::format("({}({}1e300 * 1e300))", wide, v < 0 ? "-" : "");
  if (wide != "float") return fmt::format("({:.17g}{})", v, v == std::floor(v) && std::fabs(v) < 1e16 ? ".0" : "");
  const auto f = static_cast<float>(v);
  if (std::isinf(f)) return Literal(static_cast<double>(f), wide);
  uint32_t bits;
  __builtin_memcpy(&bits, &f, 4);
  return fmt::format("__uint_as_float(0x{:08x}u /* {:.9g} */)", bits, f);
}

namespace {

const char* FloatUnary(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::k_none: return "x";
    case UnaryKind::k_abs: return "fabs(x)";
    case UnaryKind::k_neg: return "-x";
    case UnaryKind::k_exp: return "exp(x)";
    case UnaryKind::k_expm1: return "expm1(x)";
    case UnaryKind::k_log: return "log(x)";
    case UnaryKind::k_log1p: return "log1p(x)";
    case UnaryKind::k_sqrt: return "sqrt(x)";
    case UnaryKind::k_rsqrt: return "W(1) / sqrt(x)";
    case UnaryKind::k_square: return "x * x";
    case UnaryKind::k_reciprocal: return "W(1) / x";
    case UnaryKind::k_sin: return "sin(x)";
    case UnaryKind::k_cos: return "cos(x)";
    case UnaryKind::k_tan: return "tan(x)";
    case UnaryKind::k_asin: return "asin(x)";
    case UnaryKind::k_acos: return "acos(x)";
    case UnaryKind::k_atan: return "atan(x)";
    case UnaryKind::k_sinh: return "sinh(x)";
    case UnaryKind::k_cosh: return "cosh(x)";
    case UnaryKind::k_asinh: return "asinh(x)";
    case UnaryKind::k_acosh: return "acosh(x)";
    case UnaryKind::k_atanh: return "atanh(x)";
    case UnaryKind::k_tanh: return "tanh(x)";
    case UnaryKind::k_sigmoid: return "sigmoid(x)";
    case UnaryKind::k_erf: return "erf(x)";
    case UnaryKind::k_erfc: return "erfc(x)";
    case UnaryKind::k_relu: return "x < 0 ? W(0) : x";
    case UnaryKind::k_relu6: return "clip(x, W(0), W(6))";
    case UnaryKind::k_leaky_relu: return "x > 0 ? x : ALPHA * x";
    case UnaryKind::k_elu: return "x < 0 ? ALPHA * expm1(x) : x";
    case UnaryKind::k_selu: return "W(1.0507009873554804934193349852946) * (x < 0 ? W(1.6732632423543772848170429916717) * expm1(x) : x)";
    case UnaryKind::k_softplus: return "x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))";
    case UnaryKind::k_softsign: return "x / (1 + fabs(x))";
    case UnaryKind::k_silu: return "x * sigmoid(x)";
    case UnaryKind::k_gelu_erf: return "W(0.5) * x * erfc(-x * W(0.70710678118654752440))";
    // 1 + tanh(u) = 2 sigmoid(2u), which does not cancel.
    case UnaryKind::k_gelu_tanh: return "x * sigmoid(W(2 * 0.79788456080286535588) * (x + W(0.044715) * x * x * x))";
    case UnaryKind::k_hard_swish: return "x * clip(x + 3, W(0), W(6)) / 6";
    case UnaryKind::k_hard_sigmoid: return "clip(x + 3, W(0), W(6)) / 6";
    case UnaryKind::k_clip: return "clip(x, ALPHA, BETA)";
    case UnaryKind::k_floor: return "floor(x)";
    case UnaryKind::k_ceil: return "ceil(x)";
    case UnaryKind::k_round: return "rint(x)";
    case UnaryKind::k_sign: return "x > 0 ? W(1) : x < 0 ? W(-1) : x == 0 ? W(0) : x";
    case UnaryKind::k_is_nan: return "x != x";
    case UnaryKind::k_is_inf: return "isinf(x)";
    case UnaryKind::k_is_finite: return "isfinite(x)";
    case UnaryKind::k_logical_not: return "x == 0";
  }
  return nullptr;
}

const char* IntegerUnary(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::k_none: case UnaryKind::k_floor: case UnaryKind::k_ceil: case UnaryKind::k_round: return "x";
    case UnaryKind::k_abs: return "x < 0 ? (W)(0 - (u64)x) : x";
    case UnaryKind::k_neg: return "(W)(0 - (u64)x)";
    case UnaryKind::k_square: return "mul(x, x)";
    case UnaryKind::k_sign: return "x > 0 ? W(1) : x < 0 ? W(-1) : W(0)";
    case UnaryKind::k_relu: return "x < 0 ? W(0) : x";
    case UnaryKind::k_relu6: return "clip(x, W(0), W(6))";
    case UnaryKind::k_clip: return "clip(x, ALPHA, BETA)";
    case UnaryKind::k_logical_not: return "(W)(x == 0)";
    default: return nullptr;
  }
}

std::string ReplaceAll(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

// A bound of an integer clip, moved into the range of the type.
std::string IntegerLiteral(double v, bool is_signed) {
  if (is_signed) {
    if (v <= -9223372036854775808.0) return "((i64)0x8000000000000000ull)";
    if (v >= 9223372036854775808.0) return "0x7fffffffffffffffll";
    return fmt::format("((i64){}ll)", static_cast<int64_t>(v));
  }
  if (v <= 0) return "0ull";
  if (v >= 18446744073709551616.0) return "0xffffffffffffffffull";
  return fmt::format("{}ull", static_cast<uint64_t>(v));
}

}  // namespace

std::optional<std::string> UnaryExpression(UnaryKind kind, const std::string& wide, double alpha, double beta) {
  const bool real = IsWideFloat(wide);
  const char* form = real ? FloatUnary(kind) : IntegerUnary(kind);
  if (form == nullptr) return std::nullopt;
  auto number = [&](double v) { return real ? Literal(v, wide) : IntegerLiteral(v, wide == "i64"); };
  return ReplaceAll(ReplaceAll(form, "ALPHA", number(alpha)), "BETA", number(beta));
}

std::optional<std::string> BinaryExpression(BinaryKind kind, const std::string& wide, const Elem& element) {
  const bool real = IsWideFloat(wide);
  switch (kind) {
    case BinaryKind::k_add: return "add(x, y)";
    case BinaryKind::k_sub: return real ? "x - y" : "(W)((u64)x - (u64)y)";
    case BinaryKind::k_mul: return "mul(x, y)";
    case BinaryKind::k_div: return real ? "x / y" : "y == 0 ? (fail(error, 2), W(0)) : int_div(x, y)";
    case BinaryKind::k_floor_div:
      // The quotient is rounded to the element type before the floor.
      if (real) return element.quant.quantized() ? "floor(x / y)" : "floor(" + element.Load(element.Store("x / y")) + ")";
      return "y == 0 ? (fail(error, 2), W(0)) : (W)(int_div(x, y) - (int_rem(x, y) != 0 && (x < 0) != (y < 0)))";
    case BinaryKind::k_floor_mod:
      return real ? "floor_mod(x, y)"
                  : "y == 0 ? (fail(error, 2), W(0)) : (W)(int_rem(x, y) + (int_rem(x, y) != 0 && (x < 0) != (y < 0) ? y : W(0)))";
    case BinaryKind::k_truncate_mod: return real ? "fmod(x, y)" : "y == 0 ? (fail(error, 2), W(0)) : int_rem(x, y)";
    case BinaryKind::k_div_no_nan: return real ? std::optional<std::string>("y == 0 ? W(0) : x / y") : std::nullopt;
    case BinaryKind::k_mul_no_nan: return real ? std::optional<std::string>("y == 0 ? W(0) : x * y") : std::nullopt;
    case BinaryKind::k_pow: return real ? "pow(x, y)" : "y < 0 ? (fail(error, 3), W(0)) : int_power(x, y)";
    case BinaryKind::k_min: return real ? "nan_min(x, y)" : "x < y ? x : y";
    case BinaryKind::k_max: return real ? "nan_max(x, y)" : "x > y ? x : y";
    case BinaryKind::k_squared_difference: return real ? "(x - y) * (x - y)" : "mul((W)((u64)x - (u64)y), (W)((u64)x - (u64)y))";
    case BinaryKind::k_atan2: return real ? std::optional<std::string>("atan2(x, y)") : std::nullopt;
    case BinaryKind::k_equal: return "x == y";
    case BinaryKind::k_not_equal: return "x != y";
    case BinaryKind::k_less: return "x < y";
    case BinaryKind::k_less_equal: return "x <= y";
    case BinaryKind::k_greater: return "x > y";
    case BinaryKind::k_greater_equal: return "x >= y";
    case BinaryKind::k_logical_and: return "x != 0 && y != 0";
    case BinaryKind::k_logical_or: return "x != 0 || y != 0";
  }
  return std::nullopt;
}

std::string For16Bits(std::string expression) {
  expression = ReplaceAll(std::move(expression), *UnaryExpression(UnaryKind::k_gelu_erf, "float", 0, 0), "gelu_16(x)");
  return ReplaceAll(std::move(expression), "erfc(", "erfc_16(");
}

std::optional<std::string> ActivationExpression(const Attrs& attrs, const std::string& wide) {
  UnaryKind kind;
  if (!ParseKind(attrs.Str("act", "none"), &kind)) return std::nullopt;
  if (kind == UnaryKind::k_none || !IsWideFloat(wide)) return "";
  return UnaryExpression(kind, wide, attrs.Float("alpha"), attrs.Float("beta"));
}

std::vector<int64_t> RowMajor(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t n = 1;
  for (size_t i = shape.size(); i-- > 0; n *= shape[i]) strides[i] = n;
  return strides;
}

std::vector<int64_t> BroadcastStrides(const std::vector<int64_t>& shape, const std::vector<int64_t>& target) {
  const std::vector<int64_t> own = RowMajor(shape);
  std::vector<int64_t> strides(target.size(), 0);
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) strides[target.size() - shape.size() + i] = own[i];
  return strides;
}

int64_t Walk::count() const {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

void Generated::OneThreadEach(int64_t n) {
  block[0] = 256;
  grid[0] = static_cast<unsigned>(std::max<int64_t>((n + 255) / 256, 1));
  sizes = {n};
}

void Walk::Simplify() {
  base.resize(strides.size(), 0);
  Walk w;
  w.base = base;
  w.strides.resize(strides.size());
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    bool merges = !w.dims.empty();
    for (size_t k = 0; k < strides.size() && merges; ++k) merges = w.strides[k].back() == strides[k][d] * dims[d];
    if (merges) {
      w.dims.back() *= dims[d];
      for (size_t k = 0; k < strides.size(); ++k) w.strides[k].back() = strides[k][d];
    } else {
      w.dims.push_back(dims[d]);
      for (size_t k = 0; k < strides.size(); ++k) w.strides[k].push_back(strides[k][d]);
    }
  }
  *this = std::move(w);
}

std::string Walk::Code(const std::string& index_type, const std::string& prefix) const {
  std::string code;
  std::vector<std::string> offset;
  const bool wide = index_type != "unsigned";
  const char* signed_type = wide ? "i64" : "int";
  for (size_t k = 0; k < strides.size(); ++k) offset.push_back(base[k] == 0 ? "" : fmt::format("{}", base[k]));
  for (size_t d = dims.size(); d-- > 0;) {
    std::string coordinate = "i";
    if (d > 0) {
      coordinate = fmt::format("c{}", d);
      code += fmt::format("  const {0} c{1} = i % {2}u; i /= {2}u;\n", index_type, d, dims[d]);
    }
    for (size_t k = 0; k < strides.size(); ++k) {
      if (strides[k][d] == 0) continue;
      if (!offset[k].empty()) offset[k] += " + ";
      offset[k] += strides[k][d] == 1 ? fmt::format("({}){}", signed_type, coordinate)
                                      : fmt::format("({}){} * {}", signed_type, coordinate, strides[k][d]);
    }
  }
  for (size_t k = 0; k < strides.size(); ++k)
    code += fmt::format("  const i64 {}{} = {};\n", prefix, k, offset[k].empty() ? "0" : offset[k]);
  return code;
}

Generated PointwiseCode(const Pointwise& p) {
  Walk walk;
  walk.dims = p.shape;
  size_t smallest = p.out.size();
  for (size_t k = 0; k < p.in.size(); ++k) {
    walk.strides.push_back(BroadcastStrides(p.shapes[k], p.shape));
    smallest = std::min(smallest, p.in[k].size());
  }
  walk.strides.push_back(RowMajor(p.shape));
  walk.Simplify();
  // A vector of neighbours where every operand is contiguous or constant along the last axis.
  int64_t v = walk.dims.empty() ? 1 : smallest <= 2 ? 8 : smallest == 4 ? 4 : 2;
  for (size_t k = 0; k < walk.strides.size() && v > 1; ++k)
    if (walk.strides[k].back() > 1) v = 1;
  while (v > 1 && walk.dims.back() % v != 0) v /= 2;
  std::vector<bool> moves(walk.strides.size(), false);
  if (v > 1) {
    walk.dims.back() /= v;
    for (size_t k = 0; k < walk.strides.size(); ++k) {
      moves[k] = walk.strides[k].back() == 1;
      walk.strides[k].back() *= v;
    }
  }
  const int64_t n = walk.count();
  Generated g;
  g.inputs = p.in.size();
  g.error = p.error;
  const char* index = IndexType(n * v);
  std::string& s = g.source;
  s = "extern \"C\" __global__ void k(";
  for (size_t k = 0; k < p.in.size(); ++k) s += fmt::format("const {}* in{}, ", p.in[k].storage(), k);
  s += fmt::format("{}* out{}, i64 n) {{\n", p.out.storage(), p.error ? ", int* error" : "");
  s += fmt::format("  typedef {0} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n", index);
  s += walk.Code("index", "o");
  const size_t outputs_walk = p.in.size();
  for (size_t k = 0; k < p.in.size(); ++k) {
    if (moves[k]) {
      s += fmt::format("  const vec<{0}, {1}> v{2} = *(const vec<{0}, {1}>*)(in{2} + o{2});\n", p.in[k].storage(), v, k);
    } else {
      s += fmt::format("  const {0} v{1} = in{1}[o{1}];\n", p.in[k].storage(), k);
    }
  }
  if (v > 1) s += fmt::format("  vec<{}, {}> r;\n#pragma unroll\n  for (int e = 0; e < {}; ++e) {{\n", p.out.storage(), v, v);
  for (size_t k = 0; k < p.in.size(); ++k)
    s += fmt::format("    const {} x{} = {};\n", p.in[k].wide(), k, p.in[k].Load(fmt::format("v{}{}", k, moves[k] ? ".v[e]" : "")));
  s += fmt::format("    {} y;\n{}\n", p.out.wide(), p.out.size() == 2 && p.out.wide() == "float" ? For16Bits(p.body) : p.body);
  if (v > 1) {
    s += fmt::format("    r.v[e] = {};\n  }}\n  *(vec<{}, {}>*)(out + o{}) = r;\n}}\n", p.out.Store("y"), p.out.storage(), v, outputs_walk);
  } else {
    s += fmt::format("  out[o{}] = {};\n}}\n", outputs_walk, p.out.Store("y"));
  }
  g.OneThreadEach(n);
  return g;
}

int64_t RowOfColumn(int64_t n, int64_t run) {
  const int64_t group = 4 * run, in = n % group, quad = in / run, t = in % run;
  return n - in + t / 2 * 8 + quad * 2 + t % 2;
}

int64_t ColumnOfRow(int64_t row, int64_t run) {
  const int64_t group = 4 * run, in = row % group, tile = in / 8, n = in % 8;
  return row - in + n / 2 * run + tile * 2 + n % 2;
}

const char kPackCodes[] = R"cuda(
__forceinline__ unsigned pack4(int a, int b, int c, int d) {
  unsigned r;
  asm("{ .reg .b32 high; cvt.pack.sat.u8.s32.b32 high, %4, %3, 0; cvt.pack.sat.u8.s32.b32 %0, %2, %1, high; }" : "=r"(r) : "r"(a), "r"(b), "r"(c), "r"(d));
  return r;
}
)cuda";
const char kPackE4m3[] = R"cuda(
__forceinline__ unsigned pack2(float a, float b) {
  u16 r;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %2, %1;" : "=h"(r) : "f"(a), "f"(b));
  return r;
}
)cuda";

Generated CopyCode(Walk walk, size_t size) {
  walk.Simplify();
  // The widest unit that both sides move whole.
  while (size < 16 && !walk.dims.empty() && walk.dims.back() % 2 == 0 && walk.strides[0].back() == 1 && walk.strides[1].back() == 1) {
    bool even = walk.base[0] % 2 == 0 && walk.base[1] % 2 == 0;
    for (size_t k = 0; k < 2; ++k)
      for (size_t d = 0; d + 1 < walk.dims.size(); ++d) even = even && walk.strides[k][d] % 2 == 0;
    if (!even) break;
    size *= 2;
    walk.dims.back() /= 2;
    for (size_t k = 0; k < 2; ++k) {
      walk.base[k] /= 2;
      for (size_t d = 0; d + 1 < walk.dims.size(); ++d) walk.strides[k][d] /= 2;
    }
  }
  const int64_t n = walk.count();
  Generated g;
  const char* type = size == 1 ? "u8" : size == 2 ? "u16" : size == 4 ? "unsigned" : size == 8 ? "u64" : "uint4";
  g.source = fmt::format(
      "extern \"C\" __global__ void k(const {0}* in, {0}* out, i64 n) {{\n  typedef {1} index;\n"
      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n{2}  out[o1] = in[o0];\n}}\n",
      type, IndexType(n), walk.Code("index", "o"));
  g.OneThreadEach(n);
  return g;
}

}  // namespace tfengine::cuda
