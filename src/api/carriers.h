// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/carrier.h"
#include "tfengine/types.h"
#include "tfgraph/graph.h"

// Graphs around TRTEngineOp cast tensors to and from their carriers (base/carrier.h) with Bitcast, which costs nothing in
// TensorFlow; the engine itself sees the original types, and the op reinterprets the buffers.
namespace tfengine {

// The native segment function of a segment body: arguments and returns have carrier types, Bitcast
// nodes restore and make them.
tfgraph::Graph WithCarriers(const tfgraph::Graph& body);

// Inverse of WithCarriers: arguments that are only read by a Bitcast and returns that come from one
// get the type behind it. Other graphs are left as they are.
void RemoveCarriers(tfgraph::Graph& body);

// In a graph whose nodes `engines` have the original types: casts their inputs and outputs, appends
// the nodes.
void CastAtEngines(tfgraph::Graph& graph, const std::vector<int>& engines);

// What a tensor of this type and shape looks like on the other side.
tfgraph::PartialShape CarrierShape(DType dtype, tfgraph::PartialShape shape);

}  // namespace tfengine
