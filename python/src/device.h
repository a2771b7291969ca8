// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tfengine/engine.h"

namespace tfengine::python {

// Options for engines on `device`; compiled GPU kernels are kept in the user's cache directory.
EngineOptions DeviceOptions(const std::string& device, bool tf32);
std::string KernelCache();

}  // namespace tfengine::python
