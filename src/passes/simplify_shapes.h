// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Removes data movement that has no effect, and puts the rest in a normal form:
//
//   reshape(reshape(x))                      →  reshape(x)
//   transpose(transpose(x))                  →  transpose(x) with the composed permutation
//   transpose that moves dims of size 1 only →  reshape
//   reshape, transpose, broadcast, slice, cast, pad, tile, concat that return their input  →  the input
//   cast(cast(x)), the first without loss    →  cast(x)
//   reduce over dims of size 1               →  reshape, or fewer axes
//   op(broadcast(a), b), op elementwise      →  op(a, b), if b still gives the shape
//   unary, cast, reshape (adding or dropping 1s), op with one element of broadcast(x)  →  broadcast(op(x))
//   matmul(transpose(a), b), last two axes   →  matmul(a, b) {transpose_a}; also b, and the result of a bare matmul
//
// Left alone: dims that are not equal as written (symbols that only happen to agree), casts that lose information,
// network outputs' shapes.
Result<bool> SimplifyShapes(Network& network);

}  // namespace tfengine::passes
