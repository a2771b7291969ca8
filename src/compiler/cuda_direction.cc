// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda_direction.h"

#include <algorithm>

#include "backends/cuda/device.h"

namespace tfengine {

std::vector<bool> Directions(const Executable& exe) {
  std::vector<bool> backwards;
  for (size_t i = 0; i < exe.steps.size(); ++i) {
    const Step& step = exe.steps[i];
    bool turns = false;
    for (size_t k = i; k-- > 0 && !step.in.empty();) {
      const auto& out = exe.steps[k].out;
      if (std::find(out.begin(), out.end(), step.in[0]) == out.end()) continue;
      turns = !backwards[k];
      break;
    }
    backwards.push_back(turns && static_cast<const cuda::DeviceKernel&>(*step.kernel).reverses());
  }
  return backwards;
}

}  // namespace tfengine
