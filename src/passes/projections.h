// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Matmuls of one input with constant weights of the same form (the query, key and value projections of an attention)
// become one wide matmul:
//
//   matmul(x, Wq, bq), matmul(x, Wk, bk), matmul(x, Wv, bv)  →  slices of matmul(x, [Wq Wk Wv], [bq bk bv])
//
// A win only where the readers take the slices as strided views. Left alone: weights that are not float32 of rank 2 and
// equal K, residuals, activations that differ.
Result<bool> MergeProjections(Network& network);

}  // namespace tfengine::passes
