// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace tfengine::gpu {

// One node as network text. Names of inputs say what is in them: "idx7" indices below 7, "nz" integers but 0, "pos"
// positive reals, "mask" an additive mask of 0 and -1e4, "w" a constant; anything else small random numbers.
struct Case {
  std::string text;
  // Of a result with |reference| up to m: tolerance * m where sums cancel, relative to each element otherwise.
  double tolerance;
  bool sums = false;
  std::string error;  // expected instead of a result: a part of its message
  double step = 0;    // of results that are codes: values near a tie may fall to either side
  double ulp = 0;     // of results in E4M3: the same, relative to each element (`step`: where that is less)
  float range = 0;    // > 0: an f32 network, which quant::Assign turns into FP8 with this range for every value
};

std::vector<Case> OpCases();

}  // namespace tfengine::gpu
