// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"

namespace tfengine::ref {
namespace {

template <typename W>
void MatMul(const Call& c) {
  const std::vector<W> a = Read<W>(c.in(0)), b = Read<W>(c.in(1));
  const std::vector<int64_t>& shape = c.out()->shape();
  const int64_t m = shape[shape.size() - 2], n = shape.back();
  const bool ta = c.attrs.Bool("transpose_a"), tb = c.attrs.Bool("transpose_b");
  const int64_t k = c.in(0).shape()[c.in(0).shape().size() - (ta ? 2 : 1)];
  auto lead = [](const std::vector<int64_t>& s) { return std::vector<int64_t>(s.begin(), s.end() - 2); };
  const std::vector<int64_t> batch = lead(shape);
  const auto sa = BroadcastStrides(lead(c.in(0).shape()), batch), sb = BroadcastStrides(lead(c.in(1).shape()), batch);
  std::vector<W> out(static_cast<size_t>(c.out()->num_elements()), W(0));
  W* to = out.data();
  if (m * n > 0)
    ForEachIndex(batch, [&](const std::vector<int64_t>& index) {
      const W *x = a.data() + Offset(index, sa) * m * k, *y = b.data() + Offset(index, sb) * k * n;
      for (int64_t i = 0; i < m; ++i)
        for (int64_t p = 0; p < k; ++p) {
          const W v = ta ? x[p * m + i] : x[i * k + p];
          for (int64_t j = 0; j < n; ++j)
            to[i * n + j] = Plus(to[i * n + j], TimesOf(v, tb ? y[j * k + p] : y[p * n + j]));
        }
      to += m * n;
    });
  std::vector<W> bias, residual;
  if (c.optional(2)) bias = Read<W>(*c.optional(2));
  if (c.optional(3)) residual = Read<W>(*c.optional(3));
  const Activation act(c.attrs);
  for (size_t i = 0; i < out.size(); ++i) {
    if (!bias.empty()) out[i] = Plus(out[i], bias[i % bias.size()]);
    if (!residual.empty()) out[i] = Plus(out[i], residual[i]);
    out[i] = act(out[i]);
  }
  Write(out, c.out());
}

}  // namespace

Status RunMatMul(const Call& c) {
  WithWideType(c.in(0).dtype(), [&](auto tag) { MatMul<decltype(tag)>(c); });
  return OkStatus();
}

Status RunAttention(const Call& c) {
  const std::vector<double> q = Read<double>(c.in(0)), k = Read<double>(c.in(1)), v = Read<double>(c.in(2));
  const auto &qs = c.in(0).shape(), &vs = c.in(2).shape();
  const int64_t heads = qs[2], depth = qs[3], queries = qs[1], keys = vs[1], out_depth = vs[3];
  const double scale = c.attrs.Float("scale"), mask_value = c.attrs.Float("mask_value", -1e9);
  const bool wide = c.in(0).dtype() == DType::kFloat64;
  std::vector<double> mask;
  std::vector<int64_t> mask_strides(4, 0);
  if (const Tensor* m = c.optional(3)) {
    if (m->dtype() == DType::kBool) {
      for (uint64_t keep : Read<uint64_t>(*m)) mask.push_back(keep ? 0 : mask_value);
    } else {
      mask = Read<double>(*m);
    }
    mask_strides = BroadcastStrides(m->shape(), {qs[0], heads, queries, keys});
  }
  std::vector<double> out(static_cast<size_t>(c.out()->num_elements()), 0.0);
  std::vector<double> scores(static_cast<size_t>(keys));
  ForEachIndex({qs[0], heads, queries}, [&](const std::vector<int64_t>& index) {
    const int64_t b = index[0], h = index[1], i = index[2];
    double highest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < depth; ++d)
        dot += q[((b * queries + i) * heads + h) * depth + d] * k[((b * keys + j) * heads + h) * depth + d];
      scores[j] = dot * scale;
      // Rounded as TensorFlow does: adding -1e9 wipes out the score, so a row that is masked whole becomes uniform.
      if (!mask.empty()) {
        const double masked = mask[Offset({b, h, i, j}, mask_strides)];
        scores[j] = wide ? scores[j] + masked : static_cast<float>(scores[j]) + static_cast<float>(masked);
      }
      highest = std::max(highest, scores[j]);
    }
    for (double& s : scores) sum += s = std::exp(s - highest);
    for (int64_t j = 0; j < keys; ++j)
      for (int64_t d = 0; d < out_depth; ++d)
        out[((b * queries + i) * heads + h) * out_depth + d] +=
            scores[j] / sum * v[((b * keys + j) * heads + h) * out_depth + d];
  });
  Write(out, c.out());
  return OkStatus();
}

}  // namespace tfengine::ref
