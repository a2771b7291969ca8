// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Per-channel arithmetic with constants disappears in the weights and bias of conv2d, conv2d_transpose or matmul:
//
//   conv(x, w, b) * s + t  →  conv(x, w s, b s + t)        also -, /, neg; scalars
//   conv(x * s + t, w, b)  →  conv(x, s w, b + Σ w t)      a shift only where no padding reads zeros instead of it
//
// float32 weights and biases that are constants. Left alone: inner values with another user, a fused activation or
// residual in between, factors that are not finite.
Result<bool> FoldScales(Network& network);

}  // namespace tfengine::passes
