// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Moves reshapes towards the results, where they meet others and cancel. What is left runs on the original shape:
//
//   unary(reshape(x))                      →  reshape(unary(x));  also cast
//   binary(reshape(x), reshape(y))         →  reshape(binary(x, y)), x and y of one shape
//   binary(reshape(x), c)                  →  reshape(binary(x, reshape(c))), c a constant over whole trailing dims
//   matmul(reshape(x), W), softmax, layer_norm, last dim kept  →  reshape(matmul(x, W))
//
// So [B,S,K] x [K,N] stays as it is (Dense layers flatten it to 2-D), and the [12,64] bias of an attention head
// becomes the [768] bias of its matmul. Left alone: everything that looks at other dims, matmuls with a residual.
Result<bool> SinkReshapes(Network& network);

}  // namespace tfengine::passes
