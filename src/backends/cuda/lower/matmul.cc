// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/cuda/gemm.h"
#include "backends/cuda/lower/conv.h"
#include "backends/cuda/lower/int8.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/lower/staged.h"

namespace tfengine::cuda {
namespace {

constexpr int kRanks = 8;

bool IsProductType(DType type) {
  return type == DType::kFloat16 || type == DType::kBfloat16 || type == DType::kFloat32 || type == DType::kFloat64;
}

// Batches of an operand as one stride: 0 if there is one matrix, nullopt if some batch dims repeat and others do not.
std::optional<int64_t> BatchStride(const std::vector<int64_t>& shape, const std::vector<int64_t>& out) {
  const int64_t own = Product(shape, 0, shape.size() - 2), all = Product(out, 0, out.size() - 2);
  if (own == 1) return 0;
  if (own == all) return shape[shape.size() - 2] * shape.back();
  return std::nullopt;
}

// Any type and broadcast, one thread an element.
LowerResult LowerPlain(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  const auto elems = ElemsOf(node);
  if (!elems || (IsInt8(node) && !(node.inputs[1].constant && node.has_input(4) && node.inputs[4].constant))) return std::optional<Lowered>();
  const Elem &a = (*elems)[0], &b = (*elems)[1], &y = elems->back();
  const std::string wide = a.wide();
  const auto act = ActivationExpression(node.attrs, wide);
  if (!act) return std::optional<Lowered>();
  const bool ta = node.attrs.Bool("transpose_a"), tb = node.attrs.Bool("transpose_b");
  const auto& out = node.outputs[0].shape;
  const int64_t m = out[out.size() - 2], n = out.back();
  const std::vector<int64_t>&as = node.inputs[0].shape, &bs = node.inputs[1].shape;
  const int64_t k = as[as.size() - (ta ? 2 : 1)];
  auto lead = [](const std::vector<int64_t>& s) { return std::vector<int64_t>(s.begin(), s.end() - 2); };
  Walk walk;
  walk.dims = lead(out);
  walk.strides = {BroadcastStrides(lead(as), walk.dims), BroadcastStrides(lead(bs), walk.dims)};
  for (int64_t& s : walk.strides[0]) s *= m * k;
  for (int64_t& s : walk.strides[1]) s *= k * n;
  walk.Simplify();
  const bool bias = node.has_input(2), residual = node.has_input(3);
  const bool rounds = b.dtype == DType::kFloat32 && (a.dtype == DType::kFloat16 || a.dtype == DType::kBfloat16);
  const std::string factor = rounds ? a.Load(a.Store("v")) : b.Load("v");
  std::string parameters = fmt::format("const {}* in0, const {}* in1, ", a.storage(), b.storage());
  if (bias) parameters += fmt::format("const {}* bias, ", (*elems)[2].storage());
  if (residual) parameters += fmt::format("const {}* residual, ", (*elems)[3].storage());
  Generated g;
  g.inputs = 2 + bias + residual;
  g.source = fmt::format(
      "typedef {0} W;\nextern \"C\" __global__ void k({1}{2}* out, i64 n) {{\n  typedef {3} index;\n"
      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n  const i64 at = i;\n"
      "  const i64 column = i % {4}u; i /= {4}u;\n  const i64 line = i % {5}u; i /= {5}u;\n{6}"
      "  const {7}* a = in0 + o0 + line * {8};\n  const {9}* b = in1 + o1 + column * {10};\n  W z = 0;\n"
      "  for (i64 j = 0; j < {11}; ++j) {{\n    const {7} u = a[j * {12}];\n    const {9} v = b[j * {13}];\n    z = add(z, mul((W){14}, (W){15}));\n  }}\n",
      wide, parameters, y.storage(), IndexType(node.outputs[0].num_elements()), n, m, walk.Code("index", "o"), a.storage(), ta ? 1 : k, b.storage(),
      tb ? k : 1, k, ta ? m : 1, tb ? 1 : n, a.Load("u"), factor);
  if (bias) g.source += fmt::format("  {{ const {} v = bias[column]; z = add(z, (W){}); }}\n", (*elems)[2].storage(), (*elems)[2].Load("v"));
  if (residual) g.source += fmt::format("  {{ const {} v = residual[at]; z = add(z, (W){}); }}\n", (*elems)[3].storage(), (*elems)[3].Load("v"));
  if (!act->empty()) g.source += fmt::format("  {{ const W x = z; z = {}; }}\n", *act);
  g.source += fmt::format("  out[at] = {};\n}}\n", y.Store("z"));
  g.OneThreadEach(node.outputs[0].num_elements());
  std::vector<int> in = {0, 1};
  if (IsInt8(node)) {
    TFE_ASSIGN_OR_RETURN(auto weights, SteppedWeights(c));
    g.bound.push_back({1, std::move(weights)});
    in = {0};
  }
  if (bias) in.push_back(2);
  if (residual) in.push_back(3);
  return Finish(c, g, "plain", std::move(in));
}

int RankOf(const std::string& tactic) {
  return tactic.size() > 2 && tactic.compare(0, 2, "lt") == 0 && tactic[2] >= '1' && tactic[2] <= '9' ? std::stoi(tactic.substr(2)) : 0;
}

}  // namespace

namespace {

// What the product does itself: all of the epilogue, all but the activation (a pass over its result), or nothing.
enum class Fuse { kAll, kLinear, kNone };

LowerResult TryProduct(const LowerContext& c, Gemm gemm, const std::string& weights_key, FunctionRef<void(float*)> weights, int rank, Fuse fuse) {
  const ConcreteNode& node = c.node;
  const auto elems = ElemsOf(node);
  if (!elems) return std::optional<Lowered>();
  const Elem& y = elems->back();
  const bool bias = node.has_input(2), residual = node.has_input(3), wide = gemm.type == DType::kFloat64;
  const std::string act = node.attrs.Str("act", "none");
  gemm.tf32 = c.options.tf32;
  gemm.workspace_bytes = std::min(gemm.workspace_bytes, c.options.workspace_bytes);
  std::vector<int> in = {0};
  if (!weights_key.empty()) {
    const int64_t count = gemm.k * gemm.n;
    const std::string key = fmt::format("{} {}", weights_key, DTypeName(gemm.type));
    TFE_ASSIGN_OR_RETURN(gemm.b_buffer, DeviceWeights(c, key, static_cast<size_t>(count) * DTypeSize(gemm.type), [&](void* to) {
      std::vector<float> f(static_cast<size_t>(count));
      weights(f.data());
      StoreAs(gemm.type, f.data(), count, to);
    }));
  } else {
    in.push_back(1);
  }
  // Bias, residual and activation inside of the product where their types allow it; constants take the type of the result.
  // f64 has no fused epilogues.
  if (fuse == Fuse::kLinear && (wide || act == "none")) return std::optional<Lowered>();
  bool fused = fuse != Fuse::kNone && !y.quant.quantized() && (y.dtype == gemm.type || (y.dtype == DType::kFloat32 && !wide)) &&
               (fuse == Fuse::kLinear || act == "none" || (!wide && (act == "relu" || act == "gelu_tanh"))) && !(wide && bias) &&
               (!residual || ((*elems)[3].dtype == y.dtype && !(*elems)[3].quant.quantized()));
  if (fused && bias) {
    const Operand& b = node.inputs[2];
    if (b.constant && b.dtype == DType::kFloat32) {
      const auto* values = b.constant->as<float>();
      for (int64_t i = 0; i < gemm.n; ++i) fused = fused && (y.dtype != DType::kFloat16 || std::fabs(values[i]) <= 65504.0f);
    } else {
      fused = b.dtype == y.dtype;
    }
  }
  if (!fused && fuse != Fuse::kNone) return std::optional<Lowered>();
  gemm.out = fused ? y.dtype : wide ? DType::kFloat64 : DType::kFloat32;
  if (fused) {
    gemm.bias = bias;
    gemm.residual = residual;
    if (fuse == Fuse::kAll) gemm.act = act == "relu" ? Gemm::Act::kRelu : act == "gelu_tanh" ? Gemm::Act::kGeluTanh : Gemm::Act::kNone;
    if (bias && node.inputs[2].constant && node.inputs[2].dtype == DType::kFloat32) {
      const Tensor& t = *node.inputs[2].constant;
      TFE_ASSIGN_OR_RETURN(gemm.bias_buffer, DeviceWeights(c, fmt::format("bias {} {}", t.data(), DTypeName(y.dtype)), static_cast<size_t>(gemm.n) * DTypeSize(y.dtype),
                                                           [&](void* to) { StoreAs(y.dtype, t.as<float>(), gemm.n, to); }));
    } else if (bias) {
      gemm.bias_at = static_cast<int>(in.size());
      in.push_back(2);
    }
    gemm.residual_at = static_cast<int>(in.size());
    if (residual) in.push_back(3);
  }
  TFE_ASSIGN_OR_RETURN(auto kernel, MakeGemm(c.device, gemm, rank));
  if (!kernel && rank > 0) {
    rank = 0;
    TFE_ASSIGN_OR_RETURN(kernel, MakeGemm(c.device, gemm, 0));
  }
  if (!kernel) return std::optional<Lowered>();
  const std::string tactic = rank == 0 ? "lt" : fmt::format("lt{}", rank);
  if (fused && (fuse == Fuse::kAll || act == "none")) return std::optional<Lowered>(MakeLowered(std::move(kernel), tactic, std::move(in)));
  // The sums, then everything else in a pass of its own.
  const auto formula = ActivationExpression(node.attrs, wide ? "double" : "float");
  if (!formula) return std::optional<Lowered>();
  Pointwise p;
  p.shape = node.outputs[0].shape;
  p.in = {Elem{gemm.out}};
  p.shapes = {p.shape};
  p.out = y;
  if (fused) {
    p.body = fmt::format("typedef float W; const W x = x0; y = {};", *formula);
    TFE_ASSIGN_OR_RETURN(auto activation, MakeKernel(c.device, c.options.kernel_cache, PointwiseCode(p)));
    std::vector<int> all(in.size());
    std::iota(all.begin(), all.end(), 0);
    auto staged = std::make_shared<StagedKernel>(
        std::vector<StagedKernel::Stage>{{kernel, all, StagedKernel::kOutput}, {activation, {StagedKernel::kOutput}, StagedKernel::kOutput}},
        std::vector<size_t>());
    return std::optional<Lowered>(MakeLowered(std::move(staged), tactic, std::move(in)));
  }
  p.body = fmt::format("typedef {} W; W z = x0;", wide ? "double" : "float");
  std::vector<int> epilogue_in = {StagedKernel::kBuffer};
  for (int i : {2, 3}) {
    if (!(i == 2 ? bias : residual)) continue;
    p.body += fmt::format(" z += (W)x{};", p.in.size());
    p.in.push_back((*elems)[static_cast<size_t>(i)]);
    p.shapes.push_back(node.inputs[static_cast<size_t>(i)].shape);
    epilogue_in.push_back(static_cast<int>(in.size()));
    in.push_back(i);
  }
  if (!formula->empty()) p.body += fmt::format(" {{ const W x = z; z = {}; }}", *formula);
  p.body += " y = z;";
  TFE_ASSIGN_OR_RETURN(auto epilogue, MakeKernel(c.device, c.options.kernel_cache, PointwiseCode(p)));
  std::vector<int> gemm_in = {0};
  if (weights_key.empty()) gemm_in.push_back(1);
  auto staged = std::make_shared<StagedKernel>(
      std::vector<StagedKernel::Stage>{{kernel, gemm_in, StagedKernel::kBuffer}, {epilogue, epilogue_in, StagedKernel::kOutput}},
      std::vector<size_t>{static_cast<size_t>(node.outputs[0].num_elements()) * DTypeSize(gemm.out)});
  return std::optional<Lowered>(MakeLowered(std::move(staged), tactic, std::move(in)));
}

}  // namespace

LowerResult LowerProduct(const LowerContext& c, Gemm gemm, const std::string& weights_key, FunctionRef<void(float*)> weights, int rank) {
  for (const Fuse fuse : {Fuse::kAll, Fuse::kLinear, Fuse::kNone}) {
    TFE_ASSIGN_OR_RETURN(auto lowered, TryProduct(c, gemm, weights_key, weights, rank, fuse));
    if (lowered) return lowered;
  }
  return std::optional<Lowered>();
}

namespace {

// What a matmul is to libraries and kernels.
struct MatMulForm {
  Gemm gemm;
  bool possible = false;   // as one product or one batch at a stride
  bool packs = false;      // B is a constant that is kept as rows of one output each, the form that tensor cores read best
  bool transposed = false;  // B as the network has it
};

MatMulForm FormOf(const ConcreteNode& node) {
  const Operand &a = node.inputs[0], &b = node.inputs[1];
  const auto& out = node.outputs[0].shape;
  MatMulForm form;
  Gemm& g = form.gemm;
  g.type = a.dtype;
  g.transpose_a = node.attrs.Bool("transpose_a");
  g.transpose_b = form.transposed = node.attrs.Bool("transpose_b");
  g.m = out[out.size() - 2];
  g.n = out.back();
  g.k = a.shape[a.shape.size() - (g.transpose_a ? 2 : 1)];
  const bool converts = b.constant && b.dtype == DType::kFloat32 && g.type != DType::kFloat64;
  form.possible = IsProductType(a.dtype) && !a.quant.quantized() && (b.dtype == a.dtype || converts) && g.k > 0;
  if (!form.possible) return form;
  const int64_t batch = Product(out, 0, out.size() - 2);
  const auto sa = BatchStride(a.shape, out), sb = BatchStride(b.shape, out);
  form.possible = sa && sb;
  if (form.possible && *sb == 0 && !g.transpose_a && (*sa != 0 || batch == 1)) {
    g.m *= batch;  // one B for every row of A: the batch is more rows
  } else if (form.possible) {
    g.batch = batch;
    g.stride_a = *sa;
    g.stride_b = *sb;
    form.possible = batch <= 65535 * 16;
  }
  if (!form.possible || !converts) return form;
  form.packs = Product(b.shape, 0, b.shape.size() - 2) == 1;
  if (form.packs) g.transpose_b = true;
  if (!form.packs && g.type != DType::kFloat32) form.possible = false;
  return form;
}

// As rows of A against rows of B; m = 0 if it is not that.
TileProduct TileOf(const MatMulForm& form) {
  TileProduct p;
  const Gemm& g = form.gemm;
  if (!form.possible || !form.packs || g.transpose_a || g.batch != 1) return p;
  p.m = g.m, p.n = g.n, p.k = g.k;
  return p;
}

}  // namespace

std::vector<std::string> MatMulTactics(const ConcreteNode& node, const Device& device, const BackendOptions&) {
  std::vector<std::string> names;
  if (IsInt8(node)) return Int8Tactics(node, device);
  if (!IsProductType(node.inputs[0].dtype)) return names;
  for (int r = 0; r < kRanks; ++r) names.push_back(r == 0 ? "lt" : fmt::format("lt{}", r));
  return BothTactics(names, TileTactics(node, TileOf(FormOf(node)), device), IsOwnActivation(node));
}

namespace {

// B as rows of one output each.
void Pack(const MatMulForm& form, const float* from, float* to) {
  const Gemm& g = form.gemm;
  for (int64_t j = 0; j < g.n; ++j)
    for (int64_t i = 0; i < g.k; ++i) to[j * g.k + i] = form.transposed ? from[j * g.k + i] : from[i * g.n + j];
}

std::string WeightsKey(const MatMulForm& form, const float* from) { return fmt::format("matmul {} {}", static_cast<const void*>(from), form.transposed); }

// The library's form of joint products: one batch with A at stride 0.
LowerResult JointOnLibrary(const LowerContext& c, const std::vector<ConcreteNode>& nodes, const MatMulForm& form, const std::string& key, FunctionRef<void(float*)> pack,
                           FunctionRef<void(float*)> biases) {
  const auto out = OutElem(c.node);
  const std::string act = c.node.attrs.Str("act", "none");
  Gemm g = form.gemm;
  if (!out || out->quant.quantized() || g.type == DType::kFloat64 || (out->dtype != g.type && out->dtype != DType::kFloat32)) return std::optional<Lowered>();
  if (act != "none" && act != "relu" && act != "gelu_tanh") return std::optional<Lowered>();
  g.act = act == "relu" ? Gemm::Act::kRelu : act == "gelu_tanh" ? Gemm::Act::kGeluTanh : Gemm::Act::kNone;
  g.out = out->dtype;
  g.tf32 = c.options.tf32;
  g.workspace_bytes = std::min(g.workspace_bytes, c.options.workspace_bytes);
  g.batch = static_cast<int64_t>(nodes.size());
  g.stride_b = g.n * g.k;
  const int64_t weights = g.batch * g.n * g.k, columns = g.batch * g.n;
  TFE_ASSIGN_OR_RETURN(g.b_buffer, DeviceWeights(c, fmt::format("{} {}", key, DTypeName(g.type)), static_cast<size_t>(weights) * DTypeSize(g.type), [&](void* to) {
    std::vector<float> f(static_cast<size_t>(weights));
    pack(f.data());
    StoreAs(g.type, f.data(), weights, to);
  }));
  if (c.node.has_input(2)) {
    std::vector<float> f(static_cast<size_t>(columns));
    biases(f.data());
    for (float v : f)
      if (g.out == DType::kFloat16 && std::fabs(v) > 65504.0f) return std::optional<Lowered>();
    g.bias = true;
    g.stride_bias = g.n;
    TFE_ASSIGN_OR_RETURN(g.bias_buffer, DeviceWeights(c, fmt::format("bias {} {}", key, DTypeName(g.out)), static_cast<size_t>(columns) * DTypeSize(g.out),
                                                      [&](void* to) { StoreAs(g.out, f.data(), columns, to); }));
  }
  const int rank = RankOf(c.tactic);
  TFE_ASSIGN_OR_RETURN(auto kernel, MakeGemm(c.device, g, rank));
  if (!kernel) return std::optional<Lowered>();
  return std::optional<Lowered>(MakeLowered(std::move(kernel), rank == 0 ? "lt" : fmt::format("lt{}", rank), {0}));
}

bool JoinsForm(const MatMulForm& form) { return form.possible && form.packs && !form.gemm.transpose_a && form.gemm.batch == 1; }

}  // namespace

std::vector<std::string> JointMatMulTactics(const std::vector<ConcreteNode>& nodes, const Device& device) {
  if (IsInt8(nodes[0])) return JointInt8Tactics(nodes, device);
  const MatMulForm form = FormOf(nodes[0]);
  if (!JoinsForm(form)) return {};
  std::vector<std::string> names;
  for (int r = 0; r < kRanks; ++r) names.push_back(r == 0 ? "lt" : fmt::format("lt{}", r));
  TileProduct p = TileOf(form);
  p.groups = static_cast<int>(nodes.size());
  return BothTactics(names, TileTactics(nodes[0], p, device), IsOwnActivation(nodes[0]));
}

LowerResult LowerJointMatMul(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  if (IsInt8(c.node)) return LowerJointInt8(c, nodes);
  const MatMulForm form = FormOf(c.node);
  if (!JoinsForm(form)) return std::optional<Lowered>();
  const Gemm& g = form.gemm;
  std::string key = fmt::format("joint {}", form.transposed);
  for (const ConcreteNode& node : nodes) key += fmt::format(" {}", node.inputs[1].constant->data());
  auto pack = [&](float* to) {
    for (size_t i = 0; i < nodes.size(); ++i) Pack(form, nodes[i].inputs[1].constant->as<float>(), to + static_cast<int64_t>(i) * g.n * g.k);
  };
  auto biases = [&](float* to) {
    for (size_t i = 0; i < nodes.size(); ++i) std::copy_n(nodes[i].inputs[2].constant->as<float>(), g.n, to + static_cast<int64_t>(i) * g.n);
  };
  for (const ConcreteNode& node : nodes)
    if (node.has_input(2) && node.inputs[2].dtype != DType::kFloat32) return std::optional<Lowered>();
  LowerResult lowered = std::optional<Lowered>();
  if (!IsTileTactic(c.tactic)) lowered = JointOnLibrary(c, nodes, form, key, pack, biases);
  if (!lowered.ok() || *lowered) return lowered;
  TileProduct p = TileOf(form);
  p.groups = static_cast<int>(nodes.size());
  if (c.node.has_input(2)) {
    const size_t bytes = nodes.size() * static_cast<size_t>(g.n) * sizeof(float);
    TFE_ASSIGN_OR_RETURN(p.bias_buffer, DeviceWeights(c, fmt::format("bias {} f32", key), bytes, [&](void* to) { biases(static_cast<float*>(to)); }));
  }
  return LowerTile(c, p, key, pack);
}

LowerResult LowerMatMul(const LowerContext& c) {
  if (IsInt8(c.node)) {
    TFE_ASSIGN_OR_RETURN(auto lowered, LowerInt8(c));
    return lowered ? LowerResult(std::move(lowered)) : LowerPlain(c);
  }
  const MatMulForm form = FormOf(c.node);
  if (form.possible) {
    const Gemm& g = form.gemm;
    const Operand& b = c.node.inputs[1];
    const float* from = form.packs ? b.constant->as<float>() : nullptr;
    const std::string key = form.packs ? WeightsKey(form, from) : "";
    auto pack = [&](float* to) { Pack(form, from, to); };
    LowerResult lowered = std::optional<Lowered>();
    if (IsTileTactic(c.tactic) || (c.tactic.empty() && IsOwnActivation(c.node))) lowered = LowerTile(c, TileOf(form), key, pack);
    if (lowered.ok() && !*lowered) lowered = LowerProduct(c, g, key, pack, RankOf(c.tactic));
    if (!lowered.ok() || *lowered) return lowered;
  }
  return LowerPlain(c);
}

namespace {

bool IsMatMulNorm(const std::vector<ConcreteNode>& nodes) {
  return nodes.size() == 2 && nodes[0].op == Op::kMatMul && nodes[1].op == Op::kLayerNorm && !IsInt8(nodes[0]) && nodes[0].outputs[0].num_elements() > 0;
}

}  // namespace

std::vector<std::string> MatMulNormTactics(const std::vector<ConcreteNode>& nodes, const Device& device) {
  return IsMatMulNorm(nodes) ? TileNormTactics(nodes[0], nodes[1], TileOf(FormOf(nodes[0])), device) : std::vector<std::string>();
}

LowerResult LowerMatMulNorm(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  if (!IsMatMulNorm(nodes)) return std::optional<Lowered>();
  const MatMulForm form = FormOf(nodes[0]);
  const TileProduct p = TileOf(form);
  if (p.m == 0) return std::optional<Lowered>();
  const auto* from = nodes[0].inputs[1].constant->as<float>();
  return LowerTileNorm(c, nodes[0], p, WeightsKey(form, from), [&](float* to) { Pack(form, from, to); });
}

}  // namespace tfengine::cuda
