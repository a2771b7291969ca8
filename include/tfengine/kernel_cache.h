// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace tfengine {

// Where programs keep compiled GPU kernels unless they are told otherwise, from the values of XDG_CACHE_HOME and HOME (null:
// not set); empty if neither is. The library itself reads no environment variables.
inline std::string DefaultKernelCache(const char* xdg_cache_home, const char* home) {
  if (xdg_cache_home != nullptr && *xdg_cache_home != '\0') return std::string(xdg_cache_home) + "/tfengine/kernels";
  return home != nullptr && *home != '\0' ? std::string(home) + "/.cache/tfengine/kernels" : "";
}

}  // namespace tfengine
