// SPDX-License-Identifier: Apache-2.0
// Nodes on the kernel of tile_product.h.
#include <algorithm>

#include "backends/cuda/lower/conv.h"

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

}  // namespace

bool IsOwnActivation(const ConcreteNode& node) {
  const std::string act = node.attrs.Str("act", "none");
  return act != "none" && act != "relu" && act != "relu6" && act != "clip" && act != "gelu_tanh";
}

std::vector<std::string> TileTactics(const ConcreteNode& node, TileProduct p, const Device& device) {
  std::vector<std::string> names;
  if (Complete(node, &p))
    for (const TileShape& s : TileShapes(p, device.architecture(), device.processors())) names.push_back(s.Name());
  return names;
}

LowerResult LowerTile(const LowerContext& c, TileProduct p, const std::string& weights_key, FunctionRef<void(float*)> weights) {
  if (!Complete(c.node, &p)) return std::optional<Lowered>();
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
  if (p.bias && !p.bias_buffer) {
    const Tensor& b = *c.node.inputs[2].constant;
    TFE_ASSIGN_OR_RETURN(p.bias_buffer, DeviceWeights(c, fmt::format("bias {} f32", b.data()), b.num_bytes(), [&](void* to) { std::copy_n(b.as<float>(), p.n, static_cast<float*>(to)); }));
  }
  if (p.residual) in.push_back(3);
  return Finish(c, TileProductCode(p, *shape), shape->Name(), std::move(in));
}

}  // namespace tfengine::cuda
