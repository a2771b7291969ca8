// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace tfengine::gpu {

// Engines on the device: pointers and streams of a caller, threads, shapes that come and go, memory that runs out, leaks.
// Prints a line per check; returns how many failed. `runs`: of the leak check.
int CheckEngines(const std::string& kernel_cache, int runs);

}  // namespace tfengine::gpu
