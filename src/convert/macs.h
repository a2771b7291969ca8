// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "network/network.h"

namespace tfengine::convert {

// Multiply-adds of a network node, every symbol taken as 1: exact for convolutions and matrix products, the number of
// elements touched for other arithmetic, 0 for data movement.
double NodeMacs(const Network& network, const Node& node);

}  // namespace tfengine::convert
