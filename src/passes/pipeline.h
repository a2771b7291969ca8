// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "network/network.h"

// Passes rewrite the network for speed and keep what it computes, up to rounding. Each is a function
// Result<bool>(Network&) that says whether it changed something, is deterministic and changes nothing the second time.
namespace tfengine::passes {

struct PassTrace {
  const char* name;
  bool changed;
  Status status;        // not OK: a bug in the pass; what it did was undone
  double milliseconds;  // without verification
  int nodes_after = 0;
};

struct PassOptions {
  // Names (PassNames) of passes to leave out.
  std::vector<std::string> disabled;
  // Called after every pass that ran.
  std::function<void(const PassTrace&)> trace;
  // Also run merge_projections: for backends that read slices of a matmul's result in place.
  bool merge_projections = false;
};

// Runs the list in order. The network is verified after every pass that changed it; a pass that fails or leaves an
// invalid network is undone and reported to `trace`, for a slower engine is better than none.
// Error: kBadFlag for an unknown name in `disabled`.
Status RunPasses(Network& network, const PassOptions& options = {});

// Distinct names in the order of their first run.
std::vector<std::string> PassNames();

}  // namespace tfengine::passes
