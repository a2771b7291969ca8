// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/format.h"

namespace tfengine::cpu {

// An activation and the rounding to codes behind it, as 64 straight lines over 16-bit words: far cheaper in vectors than
// the function. For a real x,
//   word = saturate(round(x * scale + offset)), i = word >> 10 (unsigned),
//   code = clamp((intercept[i] + ((slope[i] * word + 2^14) >> 15)) >> 5, lo, hi).
// Before its rounding, a code is at most kMaxLinesError off. Beyond the words' range codes are constant.
struct ActivationLines {
  static constexpr int kSegments = 64, kFractionBits = 5;
  alignas(64) int16_t intercept[kSegments];
  alignas(64) int16_t slope[kSegments];
  float scale, offset;
};

// In codes. Rounding itself errs by 0.5 (root mean square 0.29); lines by 0.02 to 0.05 in the mean.
inline constexpr double kMaxLinesError = 0.15;

// Null where lines would err more (kinks, curves too sharp for the range of codes), or would not help (clips).
std::shared_ptr<const ActivationLines> MakeActivationLines(const Activation& activation, const Format& out);

}  // namespace tfengine::cpu
