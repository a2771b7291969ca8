// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Moves transposes towards the results, past elementwise ops, concat, pad, slice and reduce, where they meet their
// inverse and cancel: a channels-first model ends with none between its convolutions.
//
//   x ─ transpose(NCHW) ─ + bias[C,1,1] ─ relu ─ transpose(NHWC)  →  x ─ + bias[1,1,C] ─ relu
//
// The network is left as it was unless the number of transposes falls. Also left alone: ops in which a transposed
// operand meets one that is not (unless that is constant, or its transpose is a reshape: [N,C,1,1]).
Result<bool> SinkTransposes(Network& network);

}  // namespace tfengine::passes
