// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Nodes all of whose inputs are constants become constants, computed by the reference backend; reshapes share the
// bytes. Also sizes that turned out constant (dims, range).
// Left alone: results of symbolic shape; results of more than 64 KiB that are more than four times as large as their
// inputs (broadcasts, tiles, one-hot tables), which are cheaper to compute than to store; nodes that fail; fake_quant,
// which says how weights are to be quantized.
Result<bool> FoldConstants(Network& network);

// fake_quant of a constant becomes a constant, for engines that work in floating point anyway.
Result<bool> FoldFakeQuant(Network& network);

}  // namespace tfengine::passes
