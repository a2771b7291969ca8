// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/gang.h"

namespace tfengine::cpu {

struct ConcatInput {
  const void* data = nullptr;
  int64_t bytes = 0;  // of this input per outer index: its extent on the axis times all inner extents times the element size
};

// Joins inputs along an axis; `outer` is the product of the extents before it. Also serves pack (stack).
void Concat(std::span<const ConcatInput> inputs, int64_t outer, void* y, Gang& gang);

// The inverse: outputs[i].data is written. (split, unpack)
struct SplitOutput {
  void* data = nullptr;
  int64_t bytes = 0;
};
void Split(const void* x, std::span<const SplitOutput> outputs, int64_t outer, Gang& gang);

}  // namespace tfengine::cpu
