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
    for (int i = 0; i < ActivationLines::kSegments; ++i)
      if (!FitSegment(i, *lines)) return nullptr;
    return lines;
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

  // The line through the ends, moved half way to the sample furthest from it.
  bool FitSegment(int i, ActivationLines& lines) const {
    const int64_t first = i * kWords - (i >= ActivationLines::kSegments / 2 ? 65536 : 0);  // as the index wraps
    std::array<double, kWords / kStep + 1> codes;
    for (size_t k = 0; k < codes.size(); ++k) {
      const double word = static_cast<double>(first + static_cast<int64_t>(k) * kStep);
      codes[k] = Code(static_cast<float>((word - lines.offset) / lines.scale));
    }
    const double slope = std::nearbyint((codes.back() - codes.front()) / static_cast<double>(kWords) * kOne * 32768);
    if (!(std::fabs(slope) <= 32767)) return false;
    double least = std::numeric_limits<double>::infinity(), most = -least;
    for (size_t k = 0; k < codes.size(); ++k) {
      const double rest = codes[k] * kOne - slope * static_cast<double>(first + static_cast<int64_t>(k) * kStep) / 32768;
      least = std::min(least, rest);
      most = std::max(most, rest);
    }
    const double intercept = std::nearbyint((least + most) / 2);
    if (!(std::fabs(intercept) <= 32767 - kOne)) return false;
    for (size_t k = 0; k < codes.size(); ++k) {
      const double word = static_cast<double>(first + static_cast<int64_t>(k) * kStep);
      const double line = (intercept + std::floor((slope * word + 16384) / 32768)) / kOne;
      if (!(std::fabs(Clamped(line) - Clamped(codes[k])) <= kMaxLinesError)) return false;
    }
    lines.slope[i] = static_cast<int16_t>(slope);
    lines.intercept[i] = static_cast<int16_t>(intercept + kOne / 2);  // for the rounding
    return true;
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
