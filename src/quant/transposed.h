// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"
#include "quant/assign.h"

namespace tfengine::quant {

// conv2d_transpose(x)  →  depth_to_space(conv2d(x)), which has reduced forms: the convolution computes all of a
// stride x stride block of outputs as channels of its pixel. Its filter holds zeros where outputs of a block see different
// pixels; that must cost less than the precision gains. Left alone: filters that are not constant, dilations, unequal
// strides, outputs that are not whole blocks, padding beyond the filter, layers limited to FP32.
//
// The result keeps its name; the convolution's is "<name>/blocks", and takes over ranges and limits in `options`.
Result<bool> TransposedToBlocks(Network& network, AssignOptions& options);

}  // namespace tfengine::quant
