// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace tfengine {

// A buffer that must hold its content from step `first` to step `last`, both included.
struct BufferUse {
  int64_t bytes = 0;
  int first = 0;
  int last = 0;
};

// Offsets into one arena such that buffers alive at the same time do not overlap; *total = size of the arena. Greedy by
// size (Pisarchyk & Lee, arXiv:2001.03288): the largest buffer first, each into the smallest gap that fits between those
// already placed. Offsets are multiples of 64.
std::vector<int64_t> PlanBuffers(const std::vector<BufferUse>& uses, int64_t* total);

}  // namespace tfengine
