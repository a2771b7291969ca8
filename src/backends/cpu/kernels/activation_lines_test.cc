// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/activation_lines.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/typed_test_util.h"

namespace tfengine::cpu {
namespace {

Format OutputOf(float low, float high) {
  Format f;
  f.storage = Storage::kU8;
  f.scale = (high - low) / 255;
  f.zero = static_cast<int32_t>(std::lrint(-low / f.scale));
  return f;
}

int Multiply(int a, int b) { return (a * b + (1 << 14)) >> 15; }

// Before rounding, as in the header.
double CodeOf(const ActivationLines& lines, const Format& out, float x) {
  const auto word = static_cast<int16_t>(std::clamp(std::nearbyint(double{x} * lines.scale + lines.offset), -32768.0, 32767.0));
  const int i = static_cast<uint16_t>(word) >> 10, d = static_cast<int16_t>(static_cast<uint16_t>(word) << 6 ^ 0x8000);
  const int code = lines.intercept[i] + (lines.bent ? Multiply(lines.slope[i] + Multiply(lines.bend[i], d), d) : Multiply(lines.slope[i], word));
  constexpr int kOne = 1 << ActivationLines::kFractionBits;
  return std::clamp<double>(static_cast<double>(code - kOne / 2) / kOne, out.lo, out.hi);
}

TEST(ActivationLines, AreCloserThanTheirLimit) {
  struct Case {
    Activation activation;
    float low, high;
  };
  for (const auto& [activation, low, high] : {Case{{ActivationKind::kSilu}, -0.28f, 8}, Case{{ActivationKind::kSilu}, -0.28f, 40}, Case{{ActivationKind::kSilu}, -0.28f, 0.5f},
                                              Case{{ActivationKind::kSigmoid}, 0, 1}, Case{{ActivationKind::kTanh}, -1, 1},
                                              Case{{ActivationKind::kGeluErf}, -0.17f, 6}, Case{{ActivationKind::kGeluTanh}, -0.17f, 3},
                                              Case{{ActivationKind::kMish}, -0.31f, 8}, Case{{ActivationKind::kElu, 1}, -1, 8},
                                              Case{{ActivationKind::kSoftplus}, 0, 8}}) {
    Format out = OutputOf(low, high);
    for (int narrow = 0; narrow < 2; ++narrow) {
      SCOPED_TRACE(ActivationName(activation.kind));
      const auto lines = MakeActivationLines(activation, out);
      ASSERT_NE(lines, nullptr);
      double sum = 0;
      int n = 0;
      for (float x = -50; x < 50; x += 0.0137f, ++n) {
        float y;
        ApplyActivationReference(activation, &x, &y, 1);
        const double want = std::clamp<double>(double{y} / out.scale + out.zero, out.lo, out.hi);
        const double error = CodeOf(*lines, out, x) - want;
        ASSERT_LE(std::fabs(error), kMaxLinesError + 0.02) << x;  // 0.02: the word's rounding
        sum += error * error;
      }
      EXPECT_LE(std::sqrt(sum / n), 0.06);
      out.lo = 3, out.hi = 200;
      if (out.zero < out.lo) out.zero = out.lo;
    }
  }
}

TEST(ActivationLines, AreParabolasWhereCodesAreFine) {
  EXPECT_FALSE(MakeActivationLines({ActivationKind::kSilu}, OutputOf(-0.28f, 8))->bent);
  EXPECT_TRUE(MakeActivationLines({ActivationKind::kSilu}, OutputOf(-0.28f, 0.5f))->bent);
}

TEST(ActivationLines, AreNotMadeForKinksAndClips) {
  for (const Activation& activation : {Activation{ActivationKind::kNone}, Activation{ActivationKind::kRelu6},
                                       Activation{ActivationKind::kClip, -1, 1}, Activation{ActivationKind::kHardSwish}}) {
    EXPECT_EQ(MakeActivationLines(activation, OutputOf(-0.4f, 6)), nullptr) << ActivationName(activation.kind);
  }
  EXPECT_EQ(MakeActivationLines({ActivationKind::kSilu}, Format()), nullptr);
}

TEST(ActivationLines, AreNotMadeForResultsThatAreAllOneCode) {
  const Format out = OutputOf(0, 10000);
  EXPECT_EQ(MakeActivationLines({ActivationKind::kSigmoid}, out), nullptr);
}

}  // namespace
}  // namespace tfengine::cpu
