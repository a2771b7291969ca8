// SPDX-License-Identifier: Apache-2.0
#include "passes/shapes.h"

#include <algorithm>
#include <utility>

namespace tfengine::passes {

std::vector<int64_t> Compose(const std::vector<int64_t>& first, const std::vector<int64_t>& second) {
  std::vector<int64_t> result;
  for (int64_t axis : second) result.push_back(first[axis]);
  return result;
}

std::vector<int64_t> Inverse(const std::vector<int64_t>& perm) {
  std::vector<int64_t> result(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) result[perm[i]] = static_cast<int64_t>(i);
  return result;
}

bool SwapsLastTwo(const std::vector<int64_t>& perm) {
  if (perm.size() < 2) return false;
  std::vector<int64_t> swapped = perm;
  std::swap(swapped[perm.size() - 1], swapped[perm.size() - 2]);
  return swapped[perm.size() - 1] != perm[perm.size() - 1] && std::is_sorted(swapped.begin(), swapped.end());
}

bool KeepsOrder(const std::vector<int64_t>& perm, const Shape& shape) {
  int64_t last = -1;
  for (int64_t axis : perm) {
    if (shape[axis].is(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

bool BroadcastGives(const std::vector<Shape>& operands, const Shape& result) {
  for (const Shape& shape : operands)
    if (shape.size() > result.size()) return false;
  for (size_t i = 0; i < result.size(); ++i) {
    bool found = result[i].is(1);
    for (const Shape& shape : operands) {
      size_t missing = result.size() - shape.size();
      if (i < missing) continue;
      const Dim& dim = shape[i - missing];
      if (dim == result[i]) found = true;
      else if (!dim.is(1)) return false;
    }
    if (!found) return false;
  }
  // The rank, too, must come from an operand.
  return std::any_of(operands.begin(), operands.end(), [&](const Shape& s) { return s.size() == result.size(); });
}

Shape WithRank(const Shape& shape, size_t rank) {
  Shape result(rank - std::min(rank, shape.size()), Dim(1));
  result.insert(result.end(), shape.begin(), shape.end());
  return result;
}

}  // namespace tfengine::passes
