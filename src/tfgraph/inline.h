// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "saved_model/protos.h"
#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {

// Replaces every PartitionedCall, StatefulPartitionedCall and call by function name with the body
// of its function, at any depth, and sorts the result topologically.
//
//   call(x, ^c) -> y, ^call     becomes     call/a(x, ^c) -> call/b -> y
//
// Order is kept: body nodes with no input inside the body wait for the call's control inputs; what
// waited for the call waits for the body's control returns and returned values. Body nodes without
// a device take the call's. Colocation and loop frame names are made unique like node names.
// Functions that are only attributes (While, If, ...) stay. Errors: kGraphInvalid,
// kFunctionRecursive, kGraphTooLarge (more than `max_nodes` nodes and calls).
Result<Graph> InlineCalls(Graph graph, const saved_model::FunctionLibrary& library,
                          const saved_model::OpTable& ops, int64_t max_nodes);

}  // namespace tfengine::tfgraph
