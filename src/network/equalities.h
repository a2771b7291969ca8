// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "network/network.h"

namespace tfengine {

// Which dims are equal, given constraints. Symbols that a constraint expresses by others are replaced; beyond that a
// difference is known to be 0 if the difference of a constraint divides it. Incomplete, never wrong.
class Equalities {
 public:
  Equalities(DimTable* dims, const std::vector<DimConstraint>& constraints);
  bool Hold(Dim a, Dim b);
  bool Hold(const Shape& a, const Shape& b);

 private:
  Dim Apply(Dim d);
  DimTable* dims_;
  std::vector<std::pair<int, Dim>> replacements_;
  std::vector<Dim> zeros_;
};

}  // namespace tfengine
