// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Layer normalisation over the last axis that was written out:
//
//   m = mean(x);  v = mean((x - m)²) or mean(x²) - m²;  i = rsqrt(v + eps)
//   (x - m) i,  with or without * gamma + beta, multiplied out or not    →  layer_norm(x, gamma, beta)
//
// The forms of Keras 3 (x (i gamma) + (beta + -m (i gamma))), tf_keras and hand-written ones are one polynomial in
// x, m, i, gamma and beta. Also absorbs a later * gamma and + beta into a layer_norm without.
// Left alone: other or several axes, means without keepdims, gammas that are not constant or vary along other axes.
Result<bool> RecognizeLayerNorm(Network& network);

}  // namespace tfengine::passes
