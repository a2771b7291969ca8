// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"

namespace tfengine::ref {

Status RunGather(const Call& c) {
  const std::vector<int64_t>& shape = c.in(0).shape();
  const int64_t axis = c.attrs.Int("axis"), batch_dims = c.attrs.Int("batch_dims");
  std::vector<int64_t> indices = Read<int64_t>(c.in(1));
  const int64_t least = c.attrs.Bool("wrap") ? -shape[axis] : 0;
  for (int64_t& i : indices) {
    if (i < least || i >= shape[axis]) return Error(ErrorId::kIndexOutOfRange, "index {} is not in [{}, {})", i, least, shape[axis]);
    if (i < 0) i += shape[axis];
  }
  // params is [batch, outer, size, inner], indices [batch, count], the result [batch, outer, count, inner].
  const AxisSplit s = SplitAt(shape, axis);
  int64_t batch = 1;
  for (int64_t i = 0; i < batch_dims; ++i) batch *= shape[i];
  if (c.out()->num_elements() == 0) return OkStatus();
  const int64_t outer = s.outer / batch, count = static_cast<int64_t>(indices.size()) / batch;
  const size_t row = static_cast<size_t>(s.inner) * DTypeSize(c.in(0).dtype());
  char* out = c.out()->mutable_as<char>();
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < count; ++i, out += row) {
        const int64_t from = (b * outer + o) * s.size + indices[b * count + i];
        std::memcpy(out, c.in(0).as<char>() + static_cast<size_t>(from) * row, row);
      }
  return OkStatus();
}

Status RunGatherNd(const Call& c) {
  const std::vector<int64_t>& shape = c.in(0).shape();
  const int64_t batch_dims = c.attrs.Int("batch_dims"), depth = c.in(1).shape().back();
  const std::vector<int64_t> strides = StridesOf(shape);
  if (c.out()->num_elements() == 0 && depth == 0) return OkStatus();
  int64_t batch = 1, tuples = 1;
  for (int64_t i = 0; i + 1 < c.in(1).rank(); ++i) tuples *= c.in(1).shape()[i];
  for (int64_t i = 0; i < batch_dims; ++i) batch *= shape[i];
  const int64_t per_batch = batch > 0 ? tuples / batch : 0;
  int64_t row = 1, batch_size = 1;
  for (size_t i = static_cast<size_t>(batch_dims); i < shape.size(); ++i) {
    batch_size *= shape[i];
    if (static_cast<int64_t>(i) >= batch_dims + depth) row *= shape[i];
  }
  const std::vector<int64_t> indices = Read<int64_t>(c.in(1));
  const size_t size = DTypeSize(c.in(0).dtype());
  char* out = c.out()->mutable_as<char>();
  for (int64_t t = 0; t < tuples; ++t) {
    int64_t from = t / std::max<int64_t>(per_batch, 1) * batch_size;
    for (int64_t d = 0; d < depth; ++d) {
      const int64_t index = indices[t * depth + d], axis = batch_dims + d;
      if (index < 0 || index >= shape[axis])
        return Error(ErrorId::kIndexOutOfRange, "index {} is not in [0, {})", index, shape[axis]);
      from += index * strides[axis];
    }
    if (row == 0) continue;
    std::memcpy(out, c.in(0).as<char>() + static_cast<size_t>(from) * size, static_cast<size_t>(row) * size);
    out += static_cast<size_t>(row) * size;
  }
  return OkStatus();
}

// Rows of indices outside [0, depth) are all `off`.
Status RunOneHot(const Call& c) {
  const int64_t depth = c.attrs.DimOf("depth").value;
  const AxisSplit s = SplitAt(c.out()->shape(), c.attrs.Int("axis"));
  WithWideType(c.in(0).dtype(), [&](auto wide) {
    const auto indices = Read<decltype(wide)>(c.in(0));
    WithElementType(c.out()->dtype(), [&](auto tag) {
      using T = decltype(tag);
      const T on = Narrow<T>(c.attrs.Float("on")), off = Narrow<T>(c.attrs.Float("off"));
      T* out = c.out()->mutable_as<T>();
      for (int64_t o = 0; o < s.outer; ++o)
        for (int64_t d = 0; d < depth; ++d)
          for (int64_t i = 0; i < s.inner; ++i)
            *out++ = static_cast<int64_t>(indices[o * s.inner + i]) == d ? on : off;
    });
  });
  return OkStatus();
}

}  // namespace tfengine::ref
