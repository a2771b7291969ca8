// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "backends/cuda/device.h"

namespace tfengine::gpu {

// Engines on the device: pointers and streams of a caller, threads, shapes that come and go, memory that runs out, leaks.
// Prints a line per check; returns how many failed. `runs`: of the leak check.
int CheckEngines(const std::string& kernel_cache, int runs);

// Of the device's memory, whoever takes the rest.
size_t FreeBytes(const cuda::Device& device);

}  // namespace tfengine::gpu
