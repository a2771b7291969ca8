// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>

#include "network/network.h"

namespace tfengine {

// A valid network of about `nodes` nodes over a few symbolic inputs and small constants: for tests of printers, passes
// and backends. The same generator state gives the same network.
Network RandomNetwork(std::mt19937& random, int nodes);

}  // namespace tfengine
