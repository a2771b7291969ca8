// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine {

// What takes the place of some nodes of a graph.
struct Replacement {
  std::vector<int> nodes;                  // indices of the nodes that go
  std::vector<tfgraph::TensorId> outputs;  // of those nodes: what outputs 0, 1, ... of `node` stand for
  std::vector<tfgraph::TensorId> inputs;   // of the graph: inputs of `node`
  tfgraph::Node node;                      // its `inputs` and `control_inputs` are filled in here
};

// The graph with every replacement made, pruned and sorted. Control edges into or out of replaced nodes become edges of
// the new nodes. Node names of the graph must differ from those of the new nodes.
// Error: kInternalError if something outside needs a tensor of replaced nodes that is not among `outputs`.
Result<tfgraph::Graph> ReplaceSegments(const tfgraph::Graph& graph, std::vector<Replacement> replacements);

}  // namespace tfengine
