// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::passes {

// Matmuls by the same constant of every slice of one value become one product (the input projections of an unrolled
// recurrent layer):
//
//   matmul(x[:, 0], W, b), ..., matmul(x[:, n-1], W, b)  →  y[0], ..., y[n-1] with y = matmul(x, W, b), its sliced axis first
//
// Reshapes between slice and matmul that keep the last dim are seen through. Left alone: slices of more than one element
// of the axis or that do not cover all of it, weights that are not float32 of rank 2, residuals.
Result<bool> MergeSharedWeights(Network& network);

}  // namespace tfengine::passes
