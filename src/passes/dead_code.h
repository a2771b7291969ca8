// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Removes nodes and constants that no output needs. Inputs stay, used or not.
Result<bool> EliminateDeadCode(Network& network);

}  // namespace tfengine::passes
