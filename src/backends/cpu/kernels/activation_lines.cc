// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/activation_lines.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

namespace tfengine::cpu {
namespace {

constexpr int64_t kWords = 65536 / ActivationLines::kSegments;  // of a segment
constexpr int64_t kStep = 32;                                   // words between samples
constexpr double kOne = 1 << ActivationLines::kFractionBits;
constexpr float kFar = 1e4f;  // reals beyond are of no interest
constexpr double kConstant = 1.0 / 16;  // codes that differ less count as the same

class Fit {
 public:
  Fit(const Activation& activation, const Format& out) : activation_(activation), out_(out) {}

  std::shared_ptr<const ActivationLines> Run() const {
    const std::optional<float> low = Edge(-1), high = Edge(1);
    if (!low || !high || !(*low < *high)) return nullptr;
    auto lines = std::make_shared<ActivationLines>();
    lines->scale = 65535 / (*high - *low);
    lines->offset = -32768 - *low * lines->scale;
    for (const bool bent : {false, true}) {
      lines->bent = bent;
      int i = 0;
      while (i < ActivationLines::kSegments && FitSegment(i, *lines)) ++i;
      if (i == ActivationLines::kSegments) return lines;
    }
    return nullptr;
  }

 private:
  // Not rounded, not clamped.
  double Code(float x) const {
    float y;
    ApplyActivationReference(activation_, &x, &y, 1);
    return double{y} / out_.scale + out_.zero;
  }
  double Clamped(double code) const { return std::clamp<double>(code, out_.lo, out_.hi); }

  // The code is constant from there on towards sign * infinity; nullopt: nowhere short of kFar.
  std::optional<float> Edge(float sign) const {
    const double limit = Clamped(Code(sign * kFar));
    auto differs = [&](float x) { return !(std::fabs(Clamped(Code(x)) - limit) <= kConstant); };
    float x = kFar / 2;
    if (differs(sign * kFar * 0.99f) || differs(sign * x)) return std::nullopt;
    for (float nearer = x; nearer > 1e-3f; nearer *= 0.98f) {
      if (differs(sign * nearer)) return sign * x;
      x = nearer;
    }
    // Beyond zero.
    x = 0;
    for (float further = 1e-3f; further < kFar; further *= 1.02f) {
      if (differs(-sign * further)) return -sign * x;
      x = further;
    }
    return std::nullopt;
  }

  // The line through the ends or the parabola through the Chebyshev points, moved half way to the sample furthest from it.
  bool FitSegment(int i, ActivationLines& lines) const {
    const int64_t first = i * kWords - (i >= ActivationLines::kSegments / 2 ? 65536 : 0);  // as the index wraps
    auto code_at = [&](double word) { return Code(static_cast<float>((word - lines.offset) / lines.scale)); };
    double slope, bend = 0;
    if (lines.bent) {
      constexpr double kNode = 0.86602540378443865;
      const double middle = static_cast<double>(first) + kWords / 2.0, half = kWords / 2.0;
      const double left = code_at(middle - kNode * half), centre = code_at(middle), right = code_at(middle + kNode * half);
      slope = std::nearbyint((right - left) / (2 * kNode) * kOne);
      bend = std::nearbyint((left - 2 * centre + right) / (2 * kNode * kNode) * kOne);
    } else {
      slope = std::nearbyint((code_at(static_cast<double>(first + kWords)) - code_at(static_cast<double>(first))) / kWords * kOne * 32768);
    }
    if (!(std::fabs(slope) + std::fabs(bend) <= 32767)) return false;
    lines.slope[i] = static_cast<int16_t>(slope);
    lines.bend[i] = static_cast<int16_t>(bend);
    std::array<double, kWords / kStep + 1> codes;
    std::array<int, kWords / kStep + 1> rise;
    double least = std::numeric_limits<double>::infinity(), most = -least;
    for (size_t k = 0; k < codes.size(); ++k) {
      const int64_t word = std::min(first + static_cast<int64_t>(k) * kStep, first + kWords - 1);
      codes[k] = code_at(static_cast<double>(word));
      rise[k] = Rise(lines, i, static_cast<int16_t>(word));
      const double rest = codes[k] * kOne - rise[k];
      least = std::min(least, rest);
      most = std::max(most, rest);
    }
    const double intercept = std::nearbyint((least + most) / 2);
    if (!(std::fabs(intercept) <= 32767 - kOne)) return false;
    for (size_t k = 0; k < codes.size(); ++k)
      if (!(std::fabs(Clamped((intercept + rise[k]) / kOne) - Clamped(codes[k])) <= kMaxLinesError)) return false;
    lines.intercept[i] = static_cast<int16_t>(intercept + kOne / 2);  // for the rounding
    return true;
  }

  static int Multiply(int a, int b) { return (a * b + (1 << 14)) >> 15; }
  static int Rise(const ActivationLines& lines, int i, int16_t word) {
    if (!lines.bent) return Multiply(lines.slope[i], word);
    const auto d = static_cast<int16_t>(static_cast<uint16_t>(word) << 6 ^ 0x8000);
    return Multiply(lines.slope[i] + Multiply(lines.bend[i], d), d);
  }

  const Activation& activation_;
  const Format& out_;
};

}  // namespace

std::shared_ptr<const ActivationLines> MakeActivationLines(const Activation& activation, const Format& out) {
  switch (activation.kind) {
    case ActivationKind::kNone:
    case ActivationKind::kRelu:
    case ActivationKind::kRelu6:
    case ActivationKind::kClip: return nullptr;
    default: return out.storage == Storage::kU8 ? Fit(activation, out).Run() : nullptr;
  }
}

}  // namespace tfengine::cpu
