// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {

// Removes the nodes that no argument, return or control return needs (through data and control edges). Keeps order.
// Returns the number removed.
int Prune(Graph& graph);

// Orders nodes so that every node comes after its data and control inputs, ties by first appearance. Edges from
// NextIteration to Merge (TensorFlow 1 loops) do not count. Error: kGraphInvalid if there is a cycle.
Status SortTopologically(Graph& graph);

// Removes control edges and control returns that order nothing: those from nodes that are frozen, or stateless with
// no stateful unfrozen ancestor. A stateless source with such ancestors is replaced by them.
// Returns the number of edges removed.
int RemoveIdleControlEdges(Graph& graph);

// Indices in bounds, names unique, one name per argument and return, order topological. Error: kGraphInvalid.
Status Validate(const Graph& graph);

}  // namespace tfengine::tfgraph
