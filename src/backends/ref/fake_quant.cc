// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"

namespace tfengine::ref {
namespace {

// In float, step by step: near a tie another order of operations gives another code.
struct Channel {
  float step, lo, hi, factor;
  bool divides;

  float Apply(float x, const std::string& rounding) const {
    if (std::isnan(x)) return x;
    const float low = lo * step, high = hi * step;
    const float clamped = std::max(low, std::min(high, x));
    if (rounding == "even") return std::nearbyint(Scale(clamped)) * step;
    if (rounding == "up") return std::floor(Scale(clamped) + 0.5f) * step;
    return std::floor(Scale(clamped - low) + lo + 0.5f) * step;
  }

 private:
  float Scale(float v) const { return divides ? v / factor : v * factor; }
};

}  // namespace

Status RunFakeQuant(const Call& c) {
  const Tensor* inverse = c.optional(4);
  const bool per_channel = c.in(1).rank() == 1;
  const AxisSplit split = per_channel ? SplitAt(c.in(0).shape(), c.attrs.Int("axis"))
                                      : AxisSplit{1, 1, c.in(0).num_elements()};
  const std::string rounding = c.attrs.Str("rounding");
  const float* x = c.in(0).as<float>();
  float* y = c.out()->mutable_as<float>();
  for (int64_t k = 0; k < split.size; ++k) {
    const float step = c.in(1).as<float>()[k];
    const Channel channel{.step = step,
                          .lo = c.in(2).as<float>()[k],
                          .hi = c.in(3).as<float>()[k],
                          .factor = inverse ? inverse->as<float>()[k] : step == 0 ? 1 : step,
                          .divides = !inverse};
    for (int64_t o = 0; o < split.outer; ++o)
      for (int64_t i = 0; i < split.inner; ++i) {
        const int64_t at = (o * split.size + k) * split.inner + i;
        y[at] = channel.Apply(x[at], rounding);
      }
  }
  return OkStatus();
}

}  // namespace tfengine::ref
