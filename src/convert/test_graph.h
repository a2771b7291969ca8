// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tfgraph/graph.h"

// Graphs by hand, for tests.
namespace tfengine {

class TestGraph {
 public:
  using Attrs = std::map<std::string, tfgraph::AttrValue>;

  // An argument; -1 is an unknown size.
  int Arg(const std::string& name, std::vector<int64_t> shape, DType dtype = DType::kFloat32) {
    int v = Add(name, "_Arg", {}, {{"T", tfgraph::AttrValue::Type(dtype)}}, {dtype});
    graph.nodes[v].output_shapes = {{.known_rank = true, .dims = std::move(shape)}};
    graph.args.push_back(v);
    return v;
  }
  int Ints(const std::string& name, const std::vector<int64_t>& values, bool scalar = false) {
    Tensor t(DType::kInt32, scalar ? std::vector<int64_t>{} : std::vector<int64_t>{static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i) t.mutable_as<int32_t>()[i] = static_cast<int32_t>(values[i]);
    return Const(name, t);
  }
  int Floats(const std::string& name, std::vector<int64_t> shape, float value = 1) {
    Tensor t(DType::kFloat32, std::move(shape));
    for (int64_t i = 0; i < t.num_elements(); ++i) t.mutable_as<float>()[i] = value;
    return Const(name, t);
  }
  int Const(const std::string& name, const Tensor& value) {
    return Add(name, "Const", {}, {{"value", tfgraph::AttrValue::TensorValue(value)}}, {value.dtype()});
  }
  // A node of output types `types`; by default one, that of its first input.
  int Add(const std::string& name, const std::string& op, const std::vector<int>& inputs, Attrs attrs = {},
          std::vector<DType> types = {}) {
    tfgraph::Node node;
    node.name = name;
    node.op = op;
    for (int v : inputs) node.inputs.push_back({v, 0});
    node.attrs = std::move(attrs);
    if (types.empty()) types = {inputs.empty() ? DType::kFloat32 : graph.nodes[inputs[0]].output_types[0]};
    node.output_types = std::move(types);
    graph.nodes.push_back(std::move(node));
    return static_cast<int>(graph.nodes.size()) - 1;
  }
  // An op that nothing converts, whose output has that shape.
  int Native(const std::string& name, const std::vector<int>& inputs, std::vector<int64_t> shape = {-1, 4}) {
    int v = Add(name, "Betainc", inputs, {}, {DType::kFloat32});
    graph.nodes[v].output_shapes = {{.known_rank = true, .dims = std::move(shape)}};
    return v;
  }
  void Control(int from, int to) { graph.nodes[to].control_inputs.push_back(from); }
  void Return(int node, int port = 0) {
    graph.returns.push_back({"r" + std::to_string(graph.returns.size()), {node, port}});
  }

  tfgraph::Graph graph;
};

}  // namespace tfengine
