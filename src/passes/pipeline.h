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
  double milliseconds;  // without verification
  int nodes_after;
};

struct PassOptions {
  // Names (PassNames) of passes to leave out.
  std::vector<std::string> disabled;
  // Called after every pass that ran.
  std::function<void(const PassTrace&)> trace;
  // Also run merge_projections: for backends that read slices of a matmul's result in place.
  bool merge_projections = false;
};

// Runs the list in order. The network is verified after every pass that changed it. On error (a bug in a pass:
// kNetworkInvalid or kInternalError with the pass' name; an unknown name in `disabled`: kBadFlag) the network is
// the last one that was valid.
Status RunPasses(Network& network, const PassOptions& options = {});

// Distinct names in the order of their first run.
std::vector<std::string> PassNames();

}  // namespace tfengine::passes
