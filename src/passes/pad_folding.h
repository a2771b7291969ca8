// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// An explicit padding of height and width moves into the op behind it:
//
//   conv2d(pad(x, 0))     →  conv2d(x) with larger pads
//   max pool(pad(x, v))   →  max pool(x) with larger pads, if v can never win: v is -inf (or the lowest float), or
//                            v = 0 and x is known to be ≥ 0; and every window still sees an element of x
//
// Left alone: other modes and values, paddings of batch or channels, average pools (they do not count their own
// padding).
Result<bool> FoldPads(Network& network);

}  // namespace tfengine::passes
