// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

//   batch_norm(x, gamma, beta, mean, variance)  →  x * s + t,  s = gamma / √(variance + eps), t = beta - mean s
//
// which scale folding then moves into a neighbouring convolution. Left alone: statistics that are not float32
// constants, results that are not finite.
Result<bool> LowerBatchNorm(Network& network);

}  // namespace tfengine::passes
