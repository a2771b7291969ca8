// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <cstdlib>

#include "tfengine/kernel_cache.h"

namespace tfengine::python {

std::string KernelCache() {
  return DefaultKernelCache(std::getenv("XDG_CACHE_HOME"), std::getenv("HOME"));
}

EngineOptions DeviceOptions(const std::string& device, bool tf32) {
  EngineOptions options;
  options.device = device;
  options.tf32 = tf32;
  options.kernel_cache = KernelCache();
  return options;
}

}  // namespace tfengine::python
