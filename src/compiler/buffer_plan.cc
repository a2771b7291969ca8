// SPDX-License-Identifier: Apache-2.0
#include "compiler/buffer_plan.h"

#include <algorithm>
#include <numeric>

namespace tfengine {

std::vector<int64_t> PlanBuffers(const std::vector<BufferUse>& uses, int64_t* total) {
  constexpr int64_t kAlign = 64;
  auto padded = [](int64_t bytes) { return (std::max<int64_t>(bytes, 1) + kAlign - 1) / kAlign * kAlign; };
  std::vector<int> order(uses.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return uses[a].bytes > uses[b].bytes; });

  std::vector<int64_t> offsets(uses.size(), 0);
  std::vector<int> placed;  // sorted by offset
  *total = 0;
  for (int id : order) {
    const int64_t need = padded(uses[id].bytes);
    int64_t best = -1, best_gap = 0, cursor = 0;
    for (int other : placed) {
      if (uses[other].last < uses[id].first || uses[id].last < uses[other].first) continue;
      const int64_t gap = offsets[other] - cursor;
      if (gap >= need && (best < 0 || gap < best_gap)) {
        best = cursor;
        best_gap = gap;
      }
      cursor = std::max(cursor, offsets[other] + padded(uses[other].bytes));
    }
    offsets[id] = best >= 0 ? best : cursor;
    *total = std::max(*total, offsets[id] + need);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), id,
                                   [&](int a, int b) { return offsets[a] < offsets[b]; }),
                  id);
  }
  return offsets;
}

}  // namespace tfengine
