// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "saved_model/writer.h"
#include "tfgraph/graph.h"

namespace tfengine {

// A signature's function whose engine ops take one variable for all that their native segments
// read: TensorFlow spends some microseconds per call on every argument of a function.
struct LightSignature {
  tfgraph::Graph graph;   // its arguments are `kept` of the original's
  std::vector<int> kept;  // rising; all but captures that nothing reads any more
  std::vector<saved_model::VariableList> lists;
};

// The lighter form of `graph`, which has engine ops, and whose arguments are bound to `objects` (-1:
// to none). nullopt if no engine op takes several variables, all of them such arguments.
std::optional<LightSignature> MakeLightSignature(const tfgraph::Graph& graph,
                                                 const std::vector<int>& objects);

}  // namespace tfengine
