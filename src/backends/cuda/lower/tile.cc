// SPDX-License-Identifier: Apache-2.0
// Nodes on the kernels of tile_product.h, tma_product.h and piece_conv.h.
#include <algorithm>

#include "backends/cuda/lower/conv.h"
#include "backends/cuda/lower/tma.h"
#include "backends/cuda/tma_source.h"

namespace tfengine::cuda {
namespace {

bool IsReal(const Elem& e) {
  return !e.quant.quantized() && (e.dtype == DType::kFloat16 || e.dtype == DType::kBfloat16 || e.dtype == DType::kFloat32);
}

// Takes types and epilogue from the node. False: not for this kernel.
bool Complete(const ConcreteNode& node, TileProduct* p) {
  const Operand& x = node.inputs[0];
  const auto elems = ElemsOf(node);
  if (p->m <= 0 || !elems || x.quant.quantized() || (x.dtype != DType::kFloat16 && x.dtype != DType::kBfloat16) || !IsReal(elems->back())) return false;
  p->type = x.dtype;
  p->out = elems->back();
  p->bias = node.has_input(2);
  p->residual = node.has_input(3);
  if (p->bias && (!node.inputs[2].constant || node.inputs[2].dtype != DType::kFloat32)) return false;
  if (p->residual) p->residual_elem = (*elems)[3];
  if (p->residual && (!IsReal(p->residual_elem) || node.inputs[3].num_elements() != node.outputs[0].num_elements())) return false;
  const auto act = ActivationExpression(node.attrs, "float");
  if (!act) return false;
  p->act = p->out.size() == 2 ? For16Bits(*act) : *act;
  return true;
}

TmaProduct TmaOf(const TileProduct& t) {
  TmaProduct p;
  p.type = t.type, p.out = t.out;
  if (t.residual) p.residual = t.residual_elem;
  p.m = t.m, p.n = t.n, p.groups = t.groups, p.bias = t.bias, p.act = t.act;
  p.image = t.image;
  p.channels = t.k;
  p.b_rows = (t.n + 31) / 32 * 32, p.b_pitch = t.k * 2;
  if (!t.image) return p;
  p.channels = t.channels, p.in_h = t.in_h, p.in_w = t.in_w, p.k_h = t.k_h, p.k_w = t.k_w, p.out_h = t.out_h, p.out_w = t.out_w;
  p.batch = t.m / std::max<int64_t>(1, t.out_h * t.out_w);
  p.stride_h = t.stride_h, p.stride_w = t.stride_w, p.dilation_h = t.dilation_h, p.dilation_w = t.dilation_w, p.pad_h = t.pad_h, p.pad_w = t.pad_w;
  return p;
}

Result<std::shared_ptr<const DeviceBuffer>> Biases(const LowerContext& c, const ConcreteNode& node, const TileProduct& p) {
  if (!p.bias || p.bias_buffer) return p.bias_buffer;
  const Tensor& b = *node.inputs[2].constant;
  return DeviceWeights(c, fmt::format("bias {} f32", b.data()), b.num_bytes(), [&](void* to) { std::copy_n(b.as<float>(), p.n, static_cast<float*>(to)); });
}

// The rows of B as TmaProduct has them. From registers: with terms in the order of ChannelInRegisters().
Result<std::shared_ptr<const DeviceBuffer>> TmaWeights(const LowerContext& c, const TileProduct& t, const TmaProduct& p, const std::string& key, FunctionRef<void(float*)> weights, bool from_registers = false) {
  const size_t bytes = static_cast<size_t>(p.groups * p.b_rows * p.b_pitch);
  return DeviceWeights(c, fmt::format("{} {} tma{}", key, DTypeName(p.type), from_registers ? " registers" : ""), bytes, [&](void* to) {
    std::vector<float> rows(static_cast<size_t>(t.groups * t.n * t.k)), packed(bytes / 2, 0.0f);
    weights(rows.data());
    for (int64_t group = 0; group < t.groups; ++group)
      for (int64_t n = 0; n < t.n; ++n) {
        const float* const row = rows.data() + (group * t.n + n) * t.k;
        float* const at = packed.data() + (group * p.b_rows + RowOfColumn(n, p.run())) * t.k;
        for (int64_t k = 0; k < t.k; ++k) at[k] = row[from_registers ? ChannelInRegisters(k, p.size()) : k];
      }
    StoreAs(p.type, packed.data(), static_cast<int64_t>(packed.size()), to);
  });
}

LowerResult LowerTma(const LowerContext& c, const TileProduct& t, const std::string& weights_key, FunctionRef<void(float*)> weights) {
  TmaProduct p = TmaOf(t);
  TFE_ASSIGN_OR_RETURN(p.weights, TmaWeights(c, t, p, weights_key, weights));
  TFE_ASSIGN_OR_RETURN(p.columns, Biases(c, c.node, t));
  std::vector<int> in = {0};
  if (p.residual) in.push_back(3);
  return Finish(c, TmaCode(p, c.device, c.tactic), c.tactic, std::move(in));
}

// A product whose rows are normalised; nullopt: not for this kernel.
std::optional<TmaProduct> WithNorm(const TileProduct& t, const ConcreteNode& norm) {
  TmaProduct p = TmaOf(t);
  const auto elems = ElemsOf(norm);
  if (norm.op != Op::kLayerNorm || !elems || !IsReal(elems->back()) || norm.inputs[0].shape.back() != t.n) return std::nullopt;
  p.norm = TmaProduct::Norm{static_cast<float>(norm.attrs.Float("epsilon")), norm.has_input(1), norm.has_input(2)};
  for (const size_t i : {1, 2}) {
    const Operand* o = norm.has_input(i) ? &norm.inputs[i] : nullptr;
    if (o && (!o->constant || o->dtype != DType::kFloat32 || o->num_elements() != t.n)) return std::nullopt;
  }
  if (norm.has_input(3)) {
    if (p.residual || !p.act.empty() || !IsReal((*elems)[3]) || norm.inputs[3].num_elements() != norm.outputs[0].num_elements()) return std::nullopt;
    p.residual = (*elems)[3];
  }
  p.out = elems->back();
  p.table = t.n;
  return p;
}

// Two products, the second of the first's result; nullopt: not for this kernel.
std::optional<TmaProduct> PairOf(const std::vector<ConcreteNode>& nodes, TileProduct* first, TileProduct* then) {
  if (!Complete(nodes[0], first) || !Complete(nodes[1], then)) return std::nullopt;
  TmaProduct p = TmaOf(*first);
  p.then = std::make_shared<const TmaProduct>(TmaOf(*then));
  return p;
}

}  // namespace

std::vector<std::string> TilePairTactics(const std::vector<ConcreteNode>& nodes, TileProduct first, TileProduct then, const Device& device) {
  const auto p = PairOf(nodes, &first, &then);
  return p ? TmaTactics(*p, device) : std::vector<std::string>();
}

LowerResult LowerTilePair(const LowerContext& c, const std::vector<ConcreteNode>& nodes, TileProduct first, TileProduct then, const std::array<std::string, 2>& weights_keys,
                          FunctionRef<void(size_t, float*)> weights) {
  auto p = PairOf(nodes, &first, &then);
  if (!p || !IsTmaTactic(*p, c.device, c.tactic)) return std::optional<Lowered>();
  TmaProduct second = *p->then;
  TFE_ASSIGN_OR_RETURN(p->weights, TmaWeights(c, first, *p, weights_keys[0], [&](float* to) { weights(0, to); }));
  TFE_ASSIGN_OR_RETURN(p->columns, Biases(c, nodes[0], first));
  TFE_ASSIGN_OR_RETURN(second.weights, TmaWeights(c, then, second, weights_keys[1], [&](float* to) { weights(1, to); }, true));
  TFE_ASSIGN_OR_RETURN(second.columns, Biases(c, nodes[1], then));
  std::vector<int> in = {0};
  if (second.residual) in.push_back(static_cast<int>(nodes[0].inputs.size()) + 3);
  p->then = std::make_shared<const TmaProduct>(std::move(second));
  return Finish(c, TmaCode(*p, c.device, c.tactic), c.tactic, std::move(in));
}

std::vector<std::string> TileNormTactics(const ConcreteNode& product, const ConcreteNode& norm, TileProduct t, const Device& device) {
  std::vector<std::string> names;
  const auto p = Complete(product, &t) ? WithNorm(t, norm) : std::nullopt;
  if (!p) return names;
  for (const TmaShape& s : TmaShapes(*p, device)) names.push_back(s.Name());
  return names;
}

LowerResult LowerTileNorm(const LowerContext& c, const ConcreteNode& product, TileProduct t, const std::string& weights_key, FunctionRef<void(float*)> weights) {
  auto p = Complete(product, &t) ? WithNorm(t, c.node) : std::nullopt;
  auto shape = p ? FindTmaShape(*p, c.device, c.tactic) : std::nullopt;
  if (p && c.tactic.empty()) {
    const auto shapes = TmaShapes(*p, c.device);
    if (!shapes.empty()) shape = shapes[0];
  }
  if (!shape) return std::optional<Lowered>();
  TFE_ASSIGN_OR_RETURN(p->weights, TmaWeights(c, t, *p, weights_key, weights));
  std::vector<const Tensor*> columns;
  if (t.bias) columns.push_back(product.inputs[2].constant.get());
  for (const size_t i : {1, 2})
    if (c.node.has_input(i)) columns.push_back(c.node.inputs[i].constant.get());
  std::string key = "columns";
  for (const Tensor* column : columns) key += fmt::format(" {}", column->data());
  if (!columns.empty()) {
    TFE_ASSIGN_OR_RETURN(p->columns, DeviceWeights(c, key, columns.size() * static_cast<size_t>(t.n) * 4, [&](void* to) {
      for (size_t i = 0; i < columns.size(); ++i) std::copy_n(columns[i]->as<float>(), t.n, static_cast<float*>(to) + static_cast<int64_t>(i) * t.n);
    }));
  }
  std::vector<int> in = {0};
  if (p->residual) in.push_back(t.residual ? 3 : static_cast<int>(product.inputs.size()) + 3);
  return Finish(c, TmaProductCode(*p, *shape, c.device.processors()), shape->Name(), std::move(in));
}

bool IsOwnActivation(const ConcreteNode& node) {
  const std::string act = node.attrs.Str("act", "none");
  return act != "none" && act != "relu" && act != "relu6" && act != "clip" && act != "gelu_tanh";
}

std::vector<std::string> TileTactics(const ConcreteNode& node, TileProduct p, const Device& device) {
  std::vector<std::string> names;
  if (!Complete(node, &p)) return names;
  std::vector<std::string> tiles;
  names = TmaTactics(TmaOf(p), device);
  for (const TileShape& s : TileShapes(p, device.architecture(), device.processors())) tiles.push_back(s.Name());
  return BothTactics(names, tiles, true);
}

LowerResult LowerTile(const LowerContext& c, TileProduct p, const std::string& weights_key, FunctionRef<void(float*)> weights) {
  if (!Complete(c.node, &p)) return std::optional<Lowered>();
  if (IsTmaTactic(TmaOf(p), c.device, c.tactic)) return LowerTma(c, p, weights_key, weights);
  std::optional<TileShape> shape = FindTileShape(p, c.device.architecture(), c.tactic);
  if (!shape) {
    const auto shapes = TileShapes(p, c.device.architecture(), c.device.processors());
    if (shapes.empty()) return std::optional<Lowered>();
    shape = shapes[0];
  }
  const int64_t count = p.groups * p.n * p.k;
  const std::string type = DTypeName(p.type);
  const std::string key = weights_key.find(type) == std::string::npos ? fmt::format("{} {}", weights_key, type) : weights_key;
  TFE_ASSIGN_OR_RETURN(p.weights, DeviceWeights(c, key, static_cast<size_t>(count) * DTypeSize(p.type), [&](void* to) {
    std::vector<float> f(static_cast<size_t>(count));
    weights(f.data());
    StoreAs(p.type, f.data(), count, to);
  }));
  std::vector<int> in = {0};
  TFE_ASSIGN_OR_RETURN(p.bias_buffer, Biases(c, c.node, p));
  if (p.residual) in.push_back(3);
  return Finish(c, TileProductCode(p, *shape), shape->Name(), std::move(in));
}

}  // namespace tfengine::cuda
