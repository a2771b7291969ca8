// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {

// Removes the nodes that no argument, return or control return needs (through data and control
// edges). Keeps order. Returns the number removed.
int Prune(Graph& graph);

// Orders nodes so that every node comes after its data and control inputs, ties by first
// appearance. Edges from NextIteration to Merge (TensorFlow 1 loops) do not count. Error:
// kGraphInvalid if there is a cycle.
Status SortTopologically(Graph& graph);

// Removes control edges and control returns that order nothing: those from nodes that are frozen,
// or stateless with no stateful unfrozen ancestor. A stateless source with such ancestors is
// replaced by them. Arguments have no effect. Needs topological order. Returns the number of edges
// and control returns removed.
int RemoveIdleControlEdges(Graph& graph);

// Keeps the nodes `order` names (old indices, each at most once) in that order. Edges to dropped
// control inputs vanish; data inputs, arguments and returns must be kept.
void KeepNodes(Graph& graph, const std::vector<int>& order);

// Ports and indices in bounds, node names unique. Error: kGraphInvalid.
Status Validate(const Graph& graph);

}  // namespace tfengine::tfgraph
