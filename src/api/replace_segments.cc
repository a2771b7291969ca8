// SPDX-License-Identifier: Apache-2.0
#include "api/replace_segments.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "tfgraph/transform.h"

namespace tfengine {

using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::TensorId;

Result<Graph> ReplaceSegments(const Graph& graph, std::vector<Replacement> replacements) {
  std::vector<int> replaced_by(graph.nodes.size(), -1);
  std::map<TensorId, TensorId> new_tensor;  // for outputs of replaced nodes
  std::vector<int> new_index(graph.nodes.size(), -1);
  Graph result;
  for (size_t r = 0; r < replacements.size(); ++r)
    for (int node : replacements[r].nodes) replaced_by[node] = static_cast<int>(r);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (replaced_by[i] >= 0) continue;
    new_index[i] = static_cast<int>(result.nodes.size());
    result.nodes.push_back(graph.nodes[i]);
  }
  const int first_new = static_cast<int>(result.nodes.size());
  for (size_t r = 0; r < replacements.size(); ++r) {
    for (size_t k = 0; k < replacements[r].outputs.size(); ++k)
      new_tensor[replacements[r].outputs[k]] = {first_new + static_cast<int>(r), static_cast<int>(k)};
    result.nodes.push_back(std::move(replacements[r].node));
  }

  Status status;
  auto map_tensor = [&](TensorId id) -> TensorId {
    if (replaced_by[id.node] < 0) return {new_index[id.node], id.port};
    auto found = new_tensor.find(id);
    if (found != new_tensor.end()) return found->second;
    status = Error(ErrorId::kInternalError, "tensor {}:{} of a segment is needed outside but is not one of its outputs",
                   graph.nodes[id.node].name, id.port);
    return {};
  };
  auto map_node = [&](int node) { return replaced_by[node] < 0 ? new_index[node] : first_new + replaced_by[node]; };
  auto map_controls = [&](const std::vector<int>& nodes, int self) {
    std::set<int> mapped;
    for (int node : nodes) mapped.insert(map_node(node));
    mapped.erase(self);
    return std::vector<int>(mapped.begin(), mapped.end());
  };

  for (int i = 0; i < first_new; ++i) {
    Node& node = result.nodes[i];
    for (TensorId& input : node.inputs) input = map_tensor(input);
    node.control_inputs = map_controls(node.control_inputs, i);
  }
  for (size_t r = 0; r < replacements.size(); ++r) {
    int index = first_new + static_cast<int>(r);
    Node& node = result.nodes[index];
    node.inputs.clear();
    for (TensorId input : replacements[r].inputs) node.inputs.push_back(map_tensor(input));
    std::vector<int> controls;
    for (int inner : replacements[r].nodes) {
      const std::vector<int>& of_inner = graph.nodes[inner].control_inputs;
      controls.insert(controls.end(), of_inner.begin(), of_inner.end());
    }
    node.control_inputs = map_controls(controls, index);
  }
  for (int arg : graph.args) result.args.push_back(map_node(arg));
  for (const auto& ret : graph.returns) result.returns.push_back({ret.name, map_tensor(ret.tensor)});
  for (const auto& ret : graph.control_returns) result.control_returns.push_back({ret.name, map_node(ret.node)});
  TFE_RETURN_IF_ERROR(status);
  TFE_RETURN_IF_ERROR(tfgraph::SortTopologically(result));
  tfgraph::Prune(result);
  return result;
}

}  // namespace tfengine
