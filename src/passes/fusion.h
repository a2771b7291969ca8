// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// The activations that conv2d, conv2d_transpose, matmul and binary can apply to their result.
bool IsFusableActivation(UnaryKind kind);

// Elementwise tails move into the op that makes their operand, if nothing else reads it:
//
//   linear + c[K]                        →  linear with bias (conv2d, conv2d_transpose, matmul)
//   linear + y, y of the result's shape  →  linear with residual (conv2d, matmul)
//   activation(linear), activation(binary)  →  act attribute
//   layer_norm(x + y), of one shape      →  layer_norm with residual
//
// in this order: bias, residual, activation; a bias may also come behind the residual. Where both operands of an addition are linear, the later one takes the
// other as residual. Left alone: values with other users, broadcasting additions, predicates, integers.
Result<bool> FuseElementwise(Network& network);

}  // namespace tfengine::passes
