// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tfengine/types.h"
#include "tfgraph/graph.h"

// TRTEngineOp takes few element types (bool, int8, float16, float32, int32), and its definition
// must not change. Tensors of other types cross its boundary bit-cast to a type that it takes,
// their carrier: 64-bit types as int32 with a last dimension of 2, the others as a type of their
// size. Casting is free in TensorFlow; the engine itself sees the original types, and the op
// reinterprets the buffers.
namespace tfengine {

// The type that `dtype` crosses as: itself where TRTEngineOp takes it (resources too), kInvalid if
// it cannot cross.
DType CarrierOf(DType dtype);

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
