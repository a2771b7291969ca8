// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Elementwise identities:
//
//   x * 1, x / 1, x + 0, x - 0, x ^ 1, b && true, b || false   →  x
//   select(true, a, b), select(c, a, a)                        →  a;   select(false, a, b) → b
//   (x * c1) * c2, (x + c1) + c2                               →  x * (c1 * c2), x + (c1 + c2)
//   x + -y → x - y,   x - -y → x + y,   -(-x) → x,   !!b → b,   relu(relu(x)) → relu(x)
//   x ^ 2 → square,   x ^ 0.5 → sqrt,   x ^ -0.5, 1 / sqrt(x), sqrt(1 / x) → rsqrt,   y / sqrt(x) → y * rsqrt(x)
//
// Where the identity loses a broadcast, a broadcast op takes its place. Left alone: nodes with a fused activation,
// chains whose inner value has other users, constants whose combination would be larger than both.
Result<bool> SimplifyMath(Network& network);

}  // namespace tfengine::passes
