// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "saved_model/saved_model.h"
#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {

// Where the checkpoint holds a variable.
struct CheckpointKey {
  std::string key;
  saved_model::TensorSlice slice;  // empty: the whole tensor
};

// Names one variable: "<container>/<shared name, or node name>". Two handle nodes with one name are
// one variable.
std::string VariableId(const Node& node);

// Variable id -> checkpoint key, read off the model's own restore op. Empty if there is no saver.
Result<std::map<std::string, CheckpointKey>> KeysFromSaver(const saved_model::MetaGraph& meta);

// Argument index of function `function` -> checkpoint key, through the objects the function is
// bound to.
Result<std::map<int, CheckpointKey>> KeysFromObjects(const saved_model::SavedModel& model,
                                                     const saved_model::MetaGraph& meta,
                                                     const std::string& function);

}  // namespace tfengine::tfgraph
