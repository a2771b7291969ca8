// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "saved_model/saved_model.h"
#include "tfengine/status.h"
#include "tfgraph/build.h"

namespace tfengine::tfgraph {

struct FreezeReport {
  int frozen_reads = 0;
  // Variables that are read but stay variables, and why: "assigned by <node>", "initialised by
  // <node>".
  struct Kept {
    std::string variable;
    std::string reason;
  };
  std::vector<Kept> kept;
};

// Sets Node::frozen (and output_shapes) on every node that reads a variable which nothing in the
// signature's graph can write: ReadVariableOp whose handle is a VarHandleOp or an argument bound to
// one, directly or through Identity; VariableV2 and the Identity that reads it. A ResourceGather of
// such a variable is split into a frozen ReadVariableOp and a GatherV2. Handles passed to other ops
// or functions count as written unless the op is known only to read. Values come from the
// checkpoint, by the key under which the model's own restore op assigns the variable, or else
// through the object graphs. Errors: kVariableMissing (the checkpoint lacks it and nothing else
// initialises it), kCheckpointCorrupt.
Result<FreezeReport> FreezeVariables(const saved_model::SavedModel& model,
                                     const saved_model::MetaGraph& meta, SignatureGraph* signature);

}  // namespace tfengine::tfgraph
