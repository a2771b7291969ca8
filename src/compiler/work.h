// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/errors.h"
#include "network/network.h"
#include "runtime/executable.h"

namespace tfengine {

// What a step moves and computes, for profiles.
struct Work {
  double bytes = 0;  // of operands and results, each once
  double flops = 0;  // of its products
};

// Of a step of `network` at these symbols. `uses`: network.UseCounts().
Result<Work> WorkOf(const Network& network, const std::vector<int>& uses, const Step& step, const std::vector<int64_t>& symbols);

}  // namespace tfengine
