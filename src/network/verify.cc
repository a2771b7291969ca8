// SPDX-License-Identifier: Apache-2.0
#include <set>
#include <unordered_set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "network/equalities.h"
#include "network/infer.h"

namespace tfengine {
namespace {

template <typename... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Error(ErrorId::kNetworkInvalid, format, std::forward<Args>(args)...);
}

Status CheckValues(const Network& net) {
  std::unordered_set<std::string> names;
  std::set<ValueId> inputs;
  const int num_values = static_cast<int>(net.values().size());
  for (ValueId v : net.inputs()) {
    if (v < 0 || v >= num_values) return Invalid("input value {} does not exist", v);
    if (!inputs.insert(v).second) return Invalid("\"{}\" is an input twice", net.value(v).name);
  }
  for (ValueId v : net.outputs())
    if (v < 0 || v >= num_values) return Invalid("output value {} does not exist", v);
  for (ValueId v = 0; v < num_values; ++v) {
    const Value& value = net.value(v);
    if (value.name.empty()) return Invalid("value {} has no name", v);
    if (!names.insert(value.name).second) return Invalid("two values are called \"{}\"", value.name);
    const bool bare = value.dtype == DType::kFloat8E4m3 && !value.quant.quantized();
    if (!infer::IsElement(value.dtype) || bare)
      return Invalid("value \"{}\": element type {} is not supported", value.name, DTypeName(value.dtype));
    if (!infer::IsSane(value.shape))
      return Invalid("value \"{}\": shape {} has a negative size or is too large", value.name,
                     ShapeToString(net.dims(), value.shape));
    const int sources = (value.producer >= 0) + (value.constant != nullptr) + static_cast<int>(inputs.count(v));
    if (sources != 1)
      return Invalid("value \"{}\" must be one of input, constant or result, and is {} of them", value.name, sources);
    if (value.producer < 0 && value.quant.quantized()) return Invalid("value \"{}\": only results can be quantized", value.name);
    if (value.constant && (value.constant->dtype() != value.dtype ||
                           Shape(value.constant->shape().begin(), value.constant->shape().end()) != value.shape))
      return Invalid("constant \"{}\": expected {}, its data is {}{}", value.name,
                     TypeToString(net.dims(), value.dtype, value.shape), ShortName(value.constant->dtype()),
                     ShapeToString(value.constant->shape()));
  }
  return OkStatus();
}

Status CheckEdges(const Network& net) {
  const int num_values = static_cast<int>(net.values().size());
  std::vector<bool> produced(num_values, false);
  for (int i = 0; i < static_cast<int>(net.nodes().size()); ++i) {
    const Node& node = net.nodes()[i];
    for (ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      if (v < 0 || v >= num_values) return Invalid("node \"{}\": input value {} does not exist", node.name, v);
      if (net.value(v).producer >= i)
        return Invalid("node \"{}\" comes before its input \"{}\"", node.name, net.value(v).name);
    }
    for (ValueId v : node.outputs) {
      if (v < 0 || v >= num_values) return Invalid("node \"{}\": output value {} does not exist", node.name, v);
      if (net.value(v).producer != i || produced[v])
        return Invalid("node \"{}\": its output \"{}\" has another producer", node.name, net.value(v).name);
      produced[v] = true;
    }
  }
  for (ValueId v = 0; v < num_values; ++v)
    if (net.value(v).producer >= 0 && !produced[v])
      return Invalid("value \"{}\": its producer does not know it", net.value(v).name);
  return OkStatus();
}

// Every symbol must occur in the shape of an input: nothing else gives it a value.
Status CheckSymbols(const Network& net) {
  const DimTable& dims = net.dims();
  std::vector<bool> known(dims.num_symbols()), used(dims.num_symbols());
  for (ValueId v : net.inputs())
    for (Dim d : net.value(v).shape) dims.CollectSymbols(d, &known);
  for (const Value& value : net.values())
    for (Dim d : value.shape) dims.CollectSymbols(d, &used);
  for (const Node& node : net.nodes())
    for (const auto& [key, attr] : node.attrs.items())
      if (const auto* shape = std::get_if<Shape>(&attr))
        for (Dim d : *shape) dims.CollectSymbols(d, &used);
  for (const DimConstraint& c : net.constraints()) {
    dims.CollectSymbols(c.a, &used);
    dims.CollectSymbols(c.b, &used);
  }
  for (int s = 0; s < dims.num_symbols(); ++s)
    if (used[s] && !known[s]) return Invalid("symbol {} occurs in no input's shape", dims.symbol_name(s));
  return OkStatus();
}

Status CheckTypes(const Network& net) {
  Network copy = net;  // inference adds dims and constraints
  Equalities equal(&copy.dims(), net.constraints());
  for (const Node& node : net.nodes()) {
    const size_t before = copy.constraints().size();
    TFE_ASSIGN_OR_RETURN(const auto types, InferNode(copy, node));
    if (types.size() != node.outputs.size())
      return Invalid("node \"{}\" ({}): expected {} outputs, got {}", node.name, OpName(node.op), types.size(),
                     node.outputs.size());
    for (size_t i = 0; i < types.size(); ++i) {
      const Value& value = net.value(node.outputs[i]);
      if (types[i].dtype != value.dtype || types[i].quant != value.quant || !equal.Hold(types[i].shape, value.shape))
        return Invalid("node \"{}\" ({}): output {} is {}, inferred {}", node.name, OpName(node.op), i,
                       TypeToString(copy.dims(), value.dtype, value.shape),
                       TypeToString(copy.dims(), types[i].dtype, types[i].shape));
    }
    for (size_t i = before; i < copy.constraints().size(); ++i) {
      const DimConstraint c = copy.constraints()[i];
      if (!equal.Hold(c.a, c.b))
        return Invalid("node \"{}\" ({}) needs the constraint {} == {}", node.name, OpName(node.op),
                       copy.dims().ToString(c.a), copy.dims().ToString(c.b));
    }
  }
  return OkStatus();
}

}  // namespace

Status Verify(const Network& network) {
  TFE_RETURN_IF_ERROR(CheckValues(network));
  TFE_RETURN_IF_ERROR(CheckEdges(network));
  TFE_RETURN_IF_ERROR(CheckSymbols(network));
  return CheckTypes(network);
}

}  // namespace tfengine
