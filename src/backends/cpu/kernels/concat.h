// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/gang.h"

namespace tfengine::cpu {

// An input of a concatenation, in bytes. Its part of one outer index is dense: its extent on the axis times all inner extents.
struct ConcatInput {
  const void* data = nullptr;
  int64_t bytes = 0;     // per outer index
  int64_t distance = 0;  // from one outer index to the next
  int64_t at = 0;        // where its part of an outer index starts in that of y
};

// Copies inputs to their places in y, whose outer indices lie `distance` bytes apart; `outer`: the product of the extents before
// the axis. Bytes of y between the inputs' places keep what they hold.
void Concat(std::span<const ConcatInput> inputs, int64_t outer, void* y, int64_t distance, Gang& gang);

}  // namespace tfengine::cpu
