// SPDX-License-Identifier: Apache-2.0
#include "api/main_graph.h"

#include <charconv>
#include <map>

namespace tfengine {

using tfgraph::AttrValue;
using tfgraph::Node;
using tfgraph::TensorId;

void KeepReturnNames(const saved_model::SignatureDef& def, const tfgraph::Graph& original,
                     tfgraph::SignatureGraph& signature) {
  tfgraph::Graph& graph = signature.graph;
  std::map<std::string, std::map<int, TensorId>>
      wanted;  // node → port → tensor that has its value now
  for (const auto& [key, info] : def.outputs) {
    size_t colon = info.name.rfind(':');
    std::string node = info.name.substr(0, colon);
    int port = 0;
    if (colon != std::string::npos)
      std::from_chars(&info.name[colon + 1], info.name.data() + info.name.size(), port);
    TensorId now = graph.returns[signature.outputs.at(key)].tensor;
    if (graph.nodes[now.node].name != node) wanted[node][port] = now;
  }
  for (const auto& [name, ports] : wanted) {
    int old = original.Find(name);
    if (old < 0 || original.nodes[old].output_types.size() != ports.size()) continue;
    Node node;
    node.name = name;
    node.op = "IdentityN";
    for (const auto& [port, tensor] : ports) {
      node.inputs.push_back(tensor);
      node.output_types.push_back(graph.type_of(tensor));
    }
    node.attrs["T"] = AttrValue::TypeList(node.output_types);
    int index = static_cast<int>(graph.nodes.size());
    graph.nodes.push_back(std::move(node));
    for (auto& ret : graph.returns)
      for (const auto& [port, tensor] : ports)
        if (ret.tensor == tensor) ret.tensor = {index, port};
  }
}

}  // namespace tfengine
