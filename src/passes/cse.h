// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Nodes of the same op, inputs and attributes become one; so do constants of the same type, shape and bytes. The
// operands of commutative ops may come in either order. Left alone: nothing else can differ, the network has no state.
Result<bool> EliminateCommonSubexpressions(Network& network);

}  // namespace tfengine::passes
