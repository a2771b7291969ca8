// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Indices that count from the end where they are negative, as Keras embeddings write them; n: the size of the gathered axis.
//
//   gather(params, select(less(i, 0), add(i, n), i))   →   gather(params, i) {wrap}
//
// Left alone: another n, a size that is not known, a select with other operands or a larger shape, a gather that wraps already.
Result<bool> FoldIndexWrap(Network& network);

}  // namespace tfengine::passes
