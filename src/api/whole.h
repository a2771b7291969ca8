// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/manifest.h"
#include "api/signature_plan.h"
#include "tfgraph/graph.h"

namespace tfengine {

// How to run a signature without TensorFlow, if that is possible.
struct WholeResult {
  bool whole = false;
  std::string reason;                     // if not
  std::vector<Manifest::Call> calls;      // Call::engine counts the segments of the plan
  std::vector<Manifest::Source> results;  // one per output of the signature, sorted by key
  std::vector<std::pair<std::string, Tensor>>
      constants;  // files that sources name, without a directory
};

// `rewritten`: the signature's graph after ReplaceSegments, in which the node called
// node_names[s] stands for segment s of the plan.
WholeResult FindWhole(const SignaturePlan& plan, const tfgraph::Graph& rewritten,
                      const std::vector<std::string>& node_names);

}  // namespace tfengine
