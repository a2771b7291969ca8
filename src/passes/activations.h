// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Activation functions that were written out:
//
//   0.5 x (1 + erf(x / √2)),  0.5 x erfc(-x / √2)                   →  gelu_erf(x)
//   0.5 x (1 + tanh(0.79788 (x + 0.044715 x³)))                     →  gelu_tanh(x)
//   x sigmoid(x)                                                    →  silu(x)
//   x relu6(x + 3) / 6,  relu6(x + 3) / 6                           →  hard_swish(x), hard_sigmoid(x)
//   max(x, 0), min(max(x, 0), 6), min(max(x, a), b), max(x, a x)    →  relu, relu6, clip, leaky_relu
//
// in any order of factors and with any split of the constants. Left alone: other constants, scaled sigmoids
// (x sigmoid(1.702 x)), clips whose limits cross, integers.
Result<bool> RecognizeActivations(Network& network);

}  // namespace tfengine::passes
