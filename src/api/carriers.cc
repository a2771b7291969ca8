// SPDX-License-Identifier: Apache-2.0
#include "api/carriers.h"

#include <set>

namespace tfengine {
namespace {

using tfgraph::AttrValue;
using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::PartialShape;
using tfgraph::TensorId;

std::set<std::string> NamesOf(const Graph& graph) {
  std::set<std::string> names;
  for (const Node& node : graph.nodes) names.insert(node.name);
  return names;
}

// A Bitcast of `input`, without the shape attributes, which TensorFlow infers.
Node Bitcast(std::string name, std::set<std::string>& names, TensorId input, DType from, DType to) {
  while (!names.insert(name).second) name += "_";
  Node node;
  node.name = std::move(name);
  node.op = "Bitcast";
  node.inputs = {input};
  node.attrs["T"] = AttrValue::Type(from);
  node.attrs["type"] = AttrValue::Type(to);
  node.output_types = {to};
  return node;
}

bool IsBitcast(const Node& node) {
  return node.op == "Bitcast" && node.inputs.size() == 1 && node.output_types.size() == 1;
}

}  // namespace

PartialShape CarrierShape(DType dtype, PartialShape shape) {
  if (shape.known_rank && DTypeSize(CarrierOf(dtype)) < DTypeSize(dtype)) shape.dims.push_back(2);
  return shape;
}

Graph WithCarriers(const Graph& body) {
  std::set<std::string> names = NamesOf(body);
  Graph result;
  result.control_returns = body.control_returns;
  std::vector<int> index(body.nodes.size());
  std::vector<TensorId> restored(body.nodes.size(), TensorId{});  // of arguments
  for (size_t v = 0; v < body.nodes.size(); ++v) {
    Node node = body.nodes[v];
    for (TensorId& input : node.inputs)
      input = restored[input.node].node >= 0 ? restored[input.node]
                                             : TensorId{index[input.node], input.port};
    for (int& control : node.control_inputs) control = index[control];
    index[v] = static_cast<int>(result.nodes.size());
    if (node.op == "_Arg" && CarrierOf(node.output_types[0]) != node.output_types[0]) {
      DType type = node.output_types[0];
      node.output_types = {CarrierOf(type)};
      node.attrs["T"] = AttrValue::Type(CarrierOf(type));
      if (!node.output_shapes.empty())
        node.output_shapes[0] = CarrierShape(type, node.output_shapes[0]);
      node.frozen = nullptr;
      std::string name = node.name + "_restored";
      result.nodes.push_back(std::move(node));
      restored[v] = {static_cast<int>(result.nodes.size()), 0};
      result.nodes.push_back(Bitcast(name, names, {index[v], 0}, CarrierOf(type), type));
    } else {
      result.nodes.push_back(std::move(node));
    }
  }
  for (int arg : body.args) result.args.push_back(index[arg]);
  for (auto& control : result.control_returns) control.node = index[control.node];
  for (const auto& ret : body.returns) {
    DType type = body.type_of(ret.tensor);
    bool is_restored = restored[ret.tensor.node].node >= 0;
    TensorId tensor =
        is_restored ? restored[ret.tensor.node] : TensorId{index[ret.tensor.node], ret.tensor.port};
    if (CarrierOf(type) != type) {
      result.nodes.push_back(Bitcast(ret.name + "_carried", names, tensor, type, CarrierOf(type)));
      tensor = {static_cast<int>(result.nodes.size()) - 1, 0};
    }
    result.returns.push_back({ret.name, tensor});
  }
  return result;
}

void RemoveCarriers(Graph& body) {
  std::vector<std::vector<int>> consumers = body.Consumers();
  std::set<int> returned;
  for (const auto& ret : body.returns) returned.insert(ret.tensor.node);
  std::vector<int> stands_for(body.nodes.size(), -1);  // Bitcast → argument that takes its place
  for (int arg : body.args) {
    Node& node = body.nodes[arg];
    if (consumers[arg].size() != 1 || returned.count(arg)) continue;
    const Node& cast = body.nodes[consumers[arg][0]];
    if (!IsBitcast(cast) || CarrierOf(cast.output_types[0]) != node.output_types[0]) continue;
    bool narrower = DTypeSize(node.output_types[0]) < DTypeSize(cast.output_types[0]);
    if (narrower && !node.output_shapes.empty() && node.output_shapes[0].known_rank) {
      std::vector<int64_t>& dims = node.output_shapes[0].dims;
      if (dims.empty() || (dims.back() != 2 && dims.back() != -1)) continue;
      dims.pop_back();
    }
    node.output_types = cast.output_types;
    node.attrs["T"] = AttrValue::Type(cast.output_types[0]);
    stands_for[consumers[arg][0]] = arg;
  }
  auto peel = [&](TensorId& tensor) {
    if (stands_for[tensor.node] >= 0) tensor = {stands_for[tensor.node], 0};
  };
  for (Node& node : body.nodes)
    if (stands_for[&node - body.nodes.data()] < 0)
      for (TensorId& input : node.inputs) peel(input);
  for (auto& ret : body.returns) {
    peel(ret.tensor);
    const Node& cast = body.nodes[ret.tensor.node];
    if (!IsBitcast(cast) || CarrierOf(body.type_of(cast.inputs[0])) != cast.output_types[0])
      continue;
    if (body.type_of(cast.inputs[0]) != cast.output_types[0]) ret.tensor = cast.inputs[0];
  }
}

void CastAtEngines(Graph& graph, const std::vector<int>& engines) {
  std::set<std::string> names = NamesOf(graph);
  for (int e : engines) {
    const std::string engine_name = graph.nodes[e].name;
    for (size_t i = 0; i < graph.nodes[e].inputs.size(); ++i) {
      TensorId input = graph.nodes[e].inputs[i];
      DType type = graph.type_of(input), carrier = CarrierOf(type);
      if (carrier == type) continue;
      graph.nodes.push_back(
          Bitcast(engine_name + "_in_" + std::to_string(i), names, input, type, carrier));
      graph.nodes[e].inputs[i] = {static_cast<int>(graph.nodes.size()) - 1, 0};
    }
    const std::vector<DType> types = graph.nodes[e].output_types;
    for (size_t k = 0; k < types.size(); ++k) {
      DType carrier = CarrierOf(types[k]);
      if (carrier == types[k]) continue;
      graph.nodes[e].output_types[k] = carrier;
      if (k < graph.nodes[e].output_shapes.size())
        graph.nodes[e].output_shapes[k] = CarrierShape(types[k], graph.nodes[e].output_shapes[k]);
      TensorId carried{e, static_cast<int>(k)};
      TensorId restored{static_cast<int>(graph.nodes.size()), 0};
      for (Node& node : graph.nodes)
        for (TensorId& input : node.inputs)
          if (input == carried) input = restored;
      for (auto& ret : graph.returns)
        if (ret.tensor == carried) ret.tensor = restored;
      graph.nodes.push_back(
          Bitcast(engine_name + "_out_" + std::to_string(k), names, carried, carrier, types[k]));
    }
  }
}

}  // namespace tfengine
