// SPDX-License-Identifier: Apache-2.0
#include "quant/range.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/float8.h"

namespace tfengine::quant {
namespace {

constexpr int kN = Histogram::kBins;
constexpr int kSteps = 255;

struct MethodRow {
  Method method;
  const char* name;
};
constexpr MethodRow kMethods[] = {{Method::kEntropy, "entropy"},
                                  {Method::kMinMax, "minmax"},
                                  {Method::kPercentile, "percentile"},
                                  {Method::kMse, "mse"}};

Range Symmetric(double magnitude) {
  const auto m = static_cast<float>(std::min<double>(magnitude, std::numeric_limits<float>::max()));
  return {-m, m};
}

Range Full(const Histogram& h, bool symmetric) {
  const Range range = {std::min(h.min(), 0.0f), std::max(h.max(), 0.0f)};
  return symmetric ? Symmetric(std::max(-range.lo, range.hi)) : range;
}

// The range cut at `lo` and `hi`, in bins from zero outwards.
Range Cut(const Histogram& h, double lo, double hi, bool symmetric) {
  const Range full = Full(h, symmetric);
  return {static_cast<float>(std::max<double>(full.lo, -lo * h.width())),
          static_cast<float>(std::min<double>(full.hi, hi * h.width()))};
}

// How far in bins one must go from zero outwards to leave at most `outside` behind, interpolating within a bin.
template <typename Bin>
double CutTail(const Bin& bin, double outside) {
  double behind = 0;
  for (int i = kN - 1; i >= 0; --i) {
    const auto n = static_cast<double>(bin(i));
    if (behind + n > outside) return i + 1 - (outside - behind) / n;
    behind += n;
  }
  return 0;
}

Range Percentile(const Histogram& h, double percentile, bool symmetric) {
  const double outside = static_cast<double>(h.weight()) * (100 - percentile) / 100;
  if (symmetric) {
    const double t = CutTail([&](int i) { return h.bin(i) + h.bin(-1 - i); }, outside);
    return Cut(h, t, t, true);
  }
  const double hi = CutTail([&](int i) { return h.bin(i); }, outside / 2);
  const double lo = CutTail([&](int i) { return h.bin(-1 - i); }, outside / 2);
  return Cut(h, lo, hi, false);
}

// --- least squared error -----------------------------------------------------------------------------------------

// One side of zero: how much of it lies beyond a cut, and the squared error that cutting makes (in bins squared).
class Side {
 public:
  template <typename Bin>
  Side(const Bin& bin, double extent) : extent_(extent) {
    for (int i = kN - 1; i >= 0; --i) {
      const double n = static_cast<double>(bin(i)), c = i + 0.5;
      beyond_[i] = {beyond_[i + 1].n + n, beyond_[i + 1].nc + n * c, beyond_[i + 1].ncc + n * c * c};
    }
  }
  double extent() const { return extent_; }
  double all() const { return beyond_[0].n; }
  double Beyond(double t) const { return At(t).n; }
  double Error(double t) const {
    const Sums& s = At(t);
    return std::max(0.0, s.ncc - 2 * t * s.nc + t * t * s.n);
  }

 private:
  struct Sums {
    double n = 0, nc = 0, ncc = 0;
  };
  // Bins whose middle is at or beyond t.
  const Sums& At(double t) const { return beyond_[std::clamp(static_cast<int>(std::ceil(t - 0.5)), 0, kN)]; }

  double extent_;
  std::array<Sums, kN + 1> beyond_;
};

// Rounding costs step^2 / 12 per element that is not zero, cutting the square of what is cut off.
Range LeastSquares(const Histogram& h, bool symmetric) {
  const Range full = Full(h, symmetric);
  const Side above([&](int i) { return h.bin(i); }, full.hi / h.width());
  const Side below([&](int i) { return h.bin(-1 - i); }, -full.lo / h.width());
  double best = std::numeric_limits<double>::infinity(), best_lo = 0, best_hi = 0;
  auto attempt = [&](double lo, double hi) {
    const double step = (lo + hi) / kSteps;
    const double inside = above.all() - above.Beyond(hi) + below.all() - below.Beyond(lo);
    const double error = inside * step * step / 12 + above.Error(hi) + below.Error(lo);
    if (error < best) best = error, best_lo = lo, best_hi = hi;
  };
  // A coarse grid over both cuts, the full range first, then a fine one around the best.
  constexpr int kGrid = 128;
  for (double size : {1.0, 1.0 / kGrid}) {
    const double from_lo = size == 1 ? below.extent() : std::min(below.extent(), best_lo + below.extent() * size);
    const double from_hi = size == 1 ? above.extent() : std::min(above.extent(), best_hi + above.extent() * size);
    const double span = size == 1 ? 1 : 2 * size;
    for (int i = 0; i <= kGrid; ++i) {
      const double lo = std::max(0.0, from_lo - below.extent() * span * i / kGrid);
      if (symmetric) {
        attempt(lo, lo);
        continue;
      }
      for (int j = 0; j <= kGrid; ++j) {
        attempt(lo, std::max(0.0, from_hi - above.extent() * span * j / kGrid));
        if (above.extent() == 0) break;
      }
      if (below.extent() == 0) break;
    }
  }
  return Cut(h, best_lo, best_hi, symmetric);
}

// --- least divergence --------------------------------------------------------------------------------------------

// The signed histogram without the zeros as prefix sums, so that the divergence of one candidate costs one logarithm
// per code, not per bin.
//
// Counts are noisy, and noise looks like divergence: by (occupied bins - 1) / (2 * elements) for each code on average
// (the correction of Miller and Madow). Without taking that off, little data would ask for narrow ranges.
class Divergence {
 public:
  explicit Divergence(const Histogram& h)
      : noise_(0.5 * static_cast<double>(h.weight()) / static_cast<double>(h.seen())) {
    for (int p = 0; p < 2 * kN; ++p) {
      const auto n = static_cast<double>(h.bin(p - kN));
      mass_[p + 1] = mass_[p] + n;
      occupied_[p + 1] = occupied_[p] + (n > 0);
      entropy_[p + 1] = entropy_[p] + NLogN(n);
    }
  }

  // Of the bins [-lo, hi), with everything outside moved into the bins at the ends, from the same bins (without what
  // is outside) after each code's bins were given their mean over the occupied ones. `step` in bins, at least 1.
  double Of(int lo, int hi, double step) const {
    const int first = kN - lo, last = kN + hi - 1;
    const double all = mass_[2 * kN], inside = mass_[last + 1] - mass_[first];
    if (inside == 0) return std::numeric_limits<double>::infinity();
    const double cut_below = mass_[first], cut_above = all - mass_[last + 1];
    double sum = entropy_[last + 1] - entropy_[first];
    if (first == last) {
      sum += NLogN(Bin(first) + cut_below + cut_above) - NLogN(Bin(first));
    } else {
      sum += NLogN(Bin(first) + cut_below) - NLogN(Bin(first));
      sum += NLogN(Bin(last) + cut_above) - NLogN(Bin(last));
    }
    // Code k stands for the reals around k * step.
    int begin = first;
    for (auto code = static_cast<int>(std::floor(-lo / step)); begin <= last; ++code) {
      const int end = std::min(kN + static_cast<int>(std::lround((code + 0.5) * step)), last + 1);
      if (end <= begin) continue;
      const double mass = mass_[end] - mass_[begin];
      double target = mass, occupied = occupied_[end] - occupied_[begin];
      if (begin == first && cut_below > 0) {
        target += cut_below;
        occupied += Bin(first) == 0;
      }
      if (end == last + 1 && cut_above > 0) {
        target += cut_above;
        occupied += Bin(last) == 0 && !(first == last && cut_below > 0);
      }
      if (target > 0) sum -= target * std::log(std::max(mass, kSmooth) / occupied) + noise_ * (occupied - 1);
      begin = end;
    }
    return sum / all + std::log(inside / all);
  }

 private:
  // What stands for a count of zero where the distribution has something.
  static constexpr double kSmooth = 1e-4;
  static double NLogN(double n) { return n > 0 ? n * std::log(n) : 0; }
  double Bin(int p) const { return mass_[p + 1] - mass_[p]; }

  const double noise_;  // of one degree of freedom, in units of weight
  std::array<double, 2 * kN + 1> mass_{}, occupied_{}, entropy_{};
};

Range LeastDivergence(const Histogram& h, bool symmetric) {
  const Divergence divergence(h);
  const Range full = Full(h, symmetric);
  const int below = std::min(kN, static_cast<int>(std::ceil(-full.lo / h.width())));
  const int above = std::min(kN, static_cast<int>(std::ceil(full.hi / h.width())));
  const int largest = std::max(below, above);
  double best = std::numeric_limits<double>::infinity();
  int best_t = largest;
  // From the full range inwards: of equals the widest wins. Steps narrower than a bin cannot be judged.
  for (int t = largest; t > 0; t -= std::max(1, t / 256)) {
    const int lo = std::min(t, below), hi = std::min(t, above);
    const double step = static_cast<double>(lo + hi) / kSteps;
    if (step < 1) break;
    const double d = divergence.Of(lo, hi, step);
    if (d < best) best = d, best_t = t;
  }
  return Cut(h, best_t, best_t, symmetric);
}

}  // namespace

const char* MethodName(Method method) {
  for (const MethodRow& row : kMethods)
    if (row.method == method) return row.name;
  return "";
}

std::optional<Method> ParseMethod(std::string_view name) {
  for (const MethodRow& row : kMethods)
    if (name == row.name) return row.method;
  return std::nullopt;
}

std::string MethodNames() {
  std::string names;
  for (const MethodRow& row : kMethods) names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

Method EffectiveMethod(const Histogram& h, Method wanted) {
  const bool needs_shape = wanted == Method::kEntropy || wanted == Method::kMse;
  return needs_shape && h.weight() - h.zeros() < kLeastElements ? Method::kMinMax : wanted;
}

Range ChooseRange(const Histogram& h, const RangeOptions& options) {
  if (h.width() == 0) return {};
  switch (EffectiveMethod(h, options.method)) {
    case Method::kEntropy: return LeastDivergence(h, options.symmetric);
    case Method::kMinMax: return Full(h, options.symmetric);
    case Method::kPercentile: return Percentile(h, options.percentile, options.symmetric);
    case Method::kMse: return LeastSquares(h, options.symmetric);
  }
  return {};
}

QuantParams ParamsOf(const Range& range, bool symmetric) {
  const double lo = std::min(range.lo, 0.0f), hi = std::max(range.hi, 0.0f);
  const double span = symmetric ? std::max(-lo, hi) : hi - lo;
  if (span == 0) return {1, symmetric ? 128 : 0};
  const double steps = symmetric ? 127 : kSteps;
  const float scale = std::max(static_cast<float>(span / steps), std::numeric_limits<float>::min());
  if (symmetric) return {scale, 128};
  return {scale, std::clamp(static_cast<int>(std::nearbyint(-lo / scale)), 0, kSteps)};
}

float Fp8ScaleOf(const Range& range) {
  const float most = std::max(-range.lo, range.hi);
  return most > 0 ? std::max(most / kE4m3Max, std::numeric_limits<float>::min()) : 1;
}

}  // namespace tfengine::quant
