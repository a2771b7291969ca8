// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/format.h"

namespace tfengine::cpu {

// An activation and the rounding to codes behind it in 64 pieces over 16-bit words: far cheaper in vectors than the
// function. The pieces are straight lines, or parabolas where lines are not close enough. For a real x,
//   word = saturate(round(x * scale + offset)), i = word >> 10 (unsigned), d = (word << 6) ^ 0x8000 (signed),
//   value = intercept[i] + mul(slope[i], word), or intercept[i] + mul(slope[i] + mul(bend[i], d), d),
//   code = clamp(value >> kFractionBits, lo, hi)
// with mul(a, b) = (a * b + 2^14) >> 15. Before its rounding, a code is at most kMaxLinesError off. Beyond the words' range
// codes are constant.
struct ActivationLines {
  static constexpr int kSegments = 64, kFractionBits = 5;
  alignas(64) int16_t intercept[kSegments];
  alignas(64) int16_t slope[kSegments];
  alignas(64) int16_t bend[kSegments];
  float scale, offset;
  bool bent;  // parabolas
};

// In codes. Rounding itself errs by 0.5 (root mean square 0.29), lines by 0.02 to 0.04 in the mean.
inline constexpr double kMaxLinesError = 0.15;

// Null where the pieces would err more (kinks), or would not help (clips).
std::shared_ptr<const ActivationLines> MakeActivationLines(const Activation& activation, const Format& out);

}  // namespace tfengine::cpu
