// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/graph.h"

#include <algorithm>

namespace tfengine::tfgraph {

int Graph::Find(std::string_view name) const {
  for (size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].name == name) return static_cast<int>(i);
  return -1;
}

std::vector<std::vector<int>> Graph::Consumers() const {
  std::vector<std::vector<int>> users(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (TensorId input : nodes[i].inputs) {
      auto& list = users[static_cast<size_t>(input.node)];
      // Nodes are visited in order, so only the last entry can be this one.
      if (list.empty() || list.back() != static_cast<int>(i)) list.push_back(static_cast<int>(i));
    }
  }
  return users;
}

}  // namespace tfengine::tfgraph
