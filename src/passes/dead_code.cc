// SPDX-License-Identifier: Apache-2.0
#include "passes/dead_code.h"

namespace tfengine::passes {

Result<bool> EliminateDeadCode(Network& network) {
  size_t nodes = network.nodes().size(), values = network.values().size();
  network.Compact();
  return network.nodes().size() != nodes || network.values().size() != values;
}

}  // namespace tfengine::passes
