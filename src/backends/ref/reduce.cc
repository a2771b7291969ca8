// SPDX-License-Identifier: Apache-2.0
// Reductions, scans and selection along axes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"

namespace tfengine::ref {
namespace {

// What an empty maximum is: -inf, or the lowest integer of the element type.
template <typename W>
W Least(DType dtype, bool negate) {
  if constexpr (std::is_same_v<W, double>) {
    return negate ? INFINITY : -INFINITY;
  } else {
    return WithElementType(dtype, [&](auto tag) -> W {
      using T = decltype(tag);
      if constexpr (std::is_integral_v<T>) {
        return static_cast<W>(negate ? std::numeric_limits<T>::max() : std::numeric_limits<T>::lowest());
      } else {
        return W(0);
      }
    });
  }
}

template <typename W>
W Combine(const std::string& kind, W a, W b) {
  if (kind == "sum" || kind == "mean") return Plus(a, b);
  if (kind == "prod") return TimesOf(a, b);
  if (kind == "any") return W(a != 0 || b != 0);
  if (kind == "all") return W(a != 0 && b != 0);
  if constexpr (std::is_same_v<W, double>)
    if (std::isnan(a) || std::isnan(b)) return a + b;
  return kind == "max" ? std::max(a, b) : std::min(a, b);
}

}  // namespace

Status RunReduce(const Call& c) {
  const std::string kind = c.attrs.Str("kind");
  const std::vector<int64_t> axes = c.attrs.Ints("axes"), &shape = c.in(0).shape();
  // Strides into the result: 0 along reduced axes.
  std::vector<int64_t> kept = shape;
  int64_t count = 1;
  for (int64_t axis : axes) {
    count *= shape[axis];
    kept[axis] = 1;
  }
  const std::vector<int64_t> strides = BroadcastStrides(kept, shape);
  const DType dtype = c.in(0).dtype();
  WithWideType(dtype, [&](auto tag) {
    using W = decltype(tag);
    W start = W(kind == "prod" || kind == "all" ? 1 : 0);
    if (kind == "max" || kind == "min") start = Least<W>(dtype, kind == "min");
    const std::vector<W> x = Read<W>(c.in(0));
    std::vector<W> out(static_cast<size_t>(c.out()->num_elements()), start);
    size_t i = 0;
    ForEachIndex(shape, [&](const std::vector<int64_t>& index) {
      W& to = out[Offset(index, strides)];
      to = Combine(kind, to, x[i++]);
    });
    if (kind == "mean")
      for (W& v : out)
        if (std::is_same_v<W, double> || count > 0) v /= static_cast<W>(count);
    Write(out, c.out());
  });
  return OkStatus();
}

Status RunArgReduce(const Call& c) {
  const bool max = c.attrs.Str("kind") == "max";
  const AxisSplit s = SplitAt(c.in(0).shape(), c.attrs.Int("axis"));
  if (s.size == 0 && c.out()->num_elements() > 0)
    return Error(ErrorId::kShapeUnsupported, "axis {} of shape {} is empty", c.attrs.Int("axis"),
                 ShapeToString(c.in(0).shape()));
  std::vector<int64_t> out;
  WithWideType(c.in(0).dtype(), [&](auto tag) {
    using W = decltype(tag);
    const std::vector<W> x = Read<W>(c.in(0));
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t i = 0; i < s.inner; ++i) {
        // The first of equal elements; NaN is never chosen unless it is all there is.
        int64_t best = -1;
        auto at = [&](int64_t n) { return x[(o * s.size + n) * s.inner + i]; };
        for (int64_t n = 0; n < s.size; ++n)
          if (at(n) == at(n) && (best < 0 || (max ? at(n) > at(best) : at(n) < at(best)))) best = n;
        out.push_back(std::max<int64_t>(best, 0));
      }
  });
  Write(out, c.out());
  return OkStatus();
}

Status RunTopK(const Call& c) {
  const int64_t k = c.outputs[0]->shape().back(), n = c.in(0).shape().back();
  if (k > n) return Error(ErrorId::kShapeUnsupported, "the {} largest of {} elements do not exist", k, n);
  const AxisSplit s = SplitAt(c.in(0).shape(), c.in(0).rank() - 1);
  WithWideType(c.in(0).dtype(), [&](auto tag) {
    using W = decltype(tag);
    const std::vector<W> x = Read<W>(c.in(0));
    std::vector<W> values;
    std::vector<int64_t> indices, order(static_cast<size_t>(n));
    for (int64_t row = 0; row < s.outer; ++row) {
      const W* v = x.data() + row * n;
      std::iota(order.begin(), order.end(), 0);
      // NaN last, so that the order is total.
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return v[a] > v[b] || (v[b] != v[b] && v[a] == v[a]); });
      for (int64_t i = 0; i < k; ++i) {
        values.push_back(v[order[i]]);
        indices.push_back(order[i]);
      }
    }
    Write(values, c.outputs[0]);
    Write(indices, c.outputs[1]);
  });
  return OkStatus();
}

Status RunCumulative(const Call& c) {
  const bool sum = c.attrs.Str("kind") == "sum", exclusive = c.attrs.Bool("exclusive"),
             reverse = c.attrs.Bool("reverse");
  const AxisSplit s = SplitAt(c.in(0).shape(), c.attrs.Int("axis"));
  WithWideType(c.in(0).dtype(), [&](auto tag) {
    using W = decltype(tag);
    std::vector<W> x = Read<W>(c.in(0));
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t i = 0; i < s.inner; ++i) {
        W total = W(sum ? 0 : 1);
        for (int64_t step = 0; step < s.size; ++step) {
          W& v = x[(o * s.size + (reverse ? s.size - 1 - step : step)) * s.inner + i];
          const W before = total;
          total = sum ? Plus(total, v) : TimesOf(total, v);
          v = exclusive ? before : total;
        }
      }
    Write(x, c.out());
  });
  return OkStatus();
}

}  // namespace tfengine::ref
