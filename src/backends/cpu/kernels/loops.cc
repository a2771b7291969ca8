// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/loops.h"

#include "base/errors.h"

namespace tfengine::cpu {

LoopNest MakeLoopNest(Dims result, std::initializer_list<Dims> shapes, std::span<const int64_t> pitches) {
  TFE_CHECK(result.size() <= kMaxRank && shapes.size() <= LoopNest::kMaxOperands);
  LoopNest loops;
  loops.operands = static_cast<int>(shapes.size());
  loops.size = NumElements(result);
  const int rank = static_cast<int>(result.size());
  // Strides of each operand aligned to the result's dims.
  int64_t strides[LoopNest::kMaxOperands][kMaxRank] = {};
  int operand = 0;
  for (Dims shape : shapes) {
    const int skipped = rank - static_cast<int>(shape.size());
    TFE_CHECK(skipped >= 0);
    const bool apart = operand < static_cast<int>(pitches.size()) && pitches[operand] > 0;
    int64_t stride = 1;
    for (int d = rank - 1; d >= skipped; --d) {
      const int64_t extent = shape[d - skipped];
      TFE_CHECK(extent == result[d] || extent == 1);
      strides[operand][d] = extent == 1 ? 0 : stride;
      stride = d == rank - 1 && apart ? pitches[operand] : stride * extent;
    }
    ++operand;
  }
  for (int d = 0; d < rank; ++d) {
    if (result[d] == 1) continue;
    bool merge = loops.rank > 0;
    for (int i = 0; i < loops.operands && merge; ++i) {
      merge = loops.strides[i][loops.rank - 1] == strides[i][d] * result[d];
    }
    const int to = merge ? loops.rank - 1 : loops.rank++;
    loops.dims[to] = merge ? loops.dims[to] * result[d] : result[d];
    for (int i = 0; i < loops.operands; ++i) loops.strides[i][to] = strides[i][d];
  }
  if (loops.rank == 0) {
    loops.rank = 1;
    loops.dims[0] = 1;
  }
  return loops;
}

}  // namespace tfengine::cpu
