// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Softmax over the last axis that was written out, with or without the subtraction of the maximum:
//
//   e = exp(x - max(x));  e / sum(e), e * reciprocal(sum(e))   →  softmax(x)
//   d = x - max(x);  d - log(sum(exp(d)))                      →  log_softmax(x)
//
// Left alone: other axes, types other than float32, a subtrahend that is not the maximum of x.
Result<bool> RecognizeSoftmax(Network& network);

}  // namespace tfengine::passes
