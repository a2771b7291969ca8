// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "runtime/executable.h"

namespace tfengine {

// Which steps run backwards (cuda::Launch::backwards): those whose first operand another step wrote forwards. The second-level cache
// has the end of a large tensor when the next step starts, and would lose it before that step got there. Steps are of a device.
std::vector<bool> Directions(const Executable& exe);

}  // namespace tfengine
