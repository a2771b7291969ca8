// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "network/network.h"

namespace tfengine {

// Which values hold one block per sample of the batch, for a network that treats every sample alone.
struct BatchSeparation {
  bool separable = false;
  int symbol = -1;                // number of the "batch" symbol
  std::vector<bool> input_has_batch;   // per network input; the others are the same for every sample
};

// Proves that the rows [i*k, (i+1)*k) of dim 0 of every batched value depend only on sample i of the inputs, so that a
// batch may be run in pieces with the same result. Says no when unsure. Every output must be batched.
BatchSeparation AnalyzeBatch(const Network& network);

}  // namespace tfengine
