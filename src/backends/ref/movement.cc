// SPDX-License-Identifier: Apache-2.0
// Ops that move elements without computing, and sizes as data.
#include <algorithm>
#include <cstring>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"

namespace tfengine::ref {
namespace {

// Copies element source(index) of the input to every index of the output.
template <typename F>
void CopyEach(const Tensor& in, Tensor* out, F&& source) {
  const size_t size = DTypeSize(in.dtype());
  char* to = out->mutable_as<char>();
  ForEachIndex(out->shape(), [&](const std::vector<int64_t>& index) {
    std::memcpy(to, in.as<char>() + static_cast<size_t>(source(index)) * size, size);
    to += size;
  });
}

Status Unfit(const Call& c) {
  return Error(ErrorId::kShapeUnsupported, "{} does not fit an input of shape {}", OpName(c.op),
               ShapeToString(c.in(0).shape()));
}

}  // namespace

Status RunReshape(const Call& c) {
  if (c.in(0).num_elements() != c.out()->num_elements()) return Unfit(c);
  if (c.in(0).num_bytes() > 0) std::memcpy(c.out()->mutable_data(), c.in(0).data(), c.in(0).num_bytes());
  return OkStatus();
}

Status RunTranspose(const Call& c) {
  const std::vector<int64_t> in = StridesOf(c.in(0).shape());
  std::vector<int64_t> strides;
  for (int64_t axis : c.attrs.Ints("perm")) strides.push_back(in[axis]);
  CopyEach(c.in(0), c.out(), [&](const std::vector<int64_t>& index) { return Offset(index, strides); });
  return OkStatus();
}

Status RunBroadcast(const Call& c) {
  const std::vector<int64_t> strides = BroadcastStrides(c.in(0).shape(), c.out()->shape());
  CopyEach(c.in(0), c.out(), [&](const std::vector<int64_t>& index) { return Offset(index, strides); });
  return OkStatus();
}

Status RunConcat(const Call& c) {
  const int64_t axis = c.attrs.Int("axis");
  const size_t size = DTypeSize(c.out()->dtype());
  const AxisSplit whole = SplitAt(c.out()->shape(), axis);
  size_t start = 0;
  for (const Tensor* in : c.inputs) {
    const AxisSplit part = SplitAt(in->shape(), axis);
    const size_t row = static_cast<size_t>(part.size * part.inner) * size;
    const size_t pitch = static_cast<size_t>(whole.size * whole.inner) * size;
    for (size_t o = 0; o < static_cast<size_t>(part.outer) && row > 0; ++o)
      std::memcpy(c.out()->mutable_as<char>() + o * pitch + start, in->as<char>() + o * row, row);
    start += row;
  }
  return OkStatus();
}

Status RunSlice(const Call& c) {
  const std::vector<int64_t>&shape = c.in(0).shape(), &size = c.out()->shape();
  const std::vector<int64_t> begin = c.attrs.Ints("begin");
  std::vector<int64_t> steps = c.attrs.Ints("strides"), strides = StridesOf(shape);
  steps.resize(shape.size(), 1);
  if (c.out()->num_elements() == 0) return OkStatus();
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t last = begin[i] + (size[i] - 1) * steps[i];
    if (begin[i] < 0 || begin[i] >= shape[i] || last < 0 || last >= shape[i]) return Unfit(c);
  }
  const int64_t base = Offset(begin, strides);
  for (size_t i = 0; i < shape.size(); ++i) strides[i] *= steps[i];
  CopyEach(c.in(0), c.out(), [&](const std::vector<int64_t>& index) { return base + Offset(index, strides); });
  return OkStatus();
}

Status RunPad(const Call& c) {
  const std::vector<int64_t>&shape = c.in(0).shape(), lo = c.attrs.Ints("lo"), hi = c.attrs.Ints("hi");
  const std::string mode = c.attrs.Str("mode", "constant");
  const std::vector<int64_t> strides = StridesOf(shape);
  if (mode != "constant") {
    const int64_t edge = mode == "reflect" ? 1 : 0;  // the element at the edge is not repeated
    for (size_t i = 0; i < shape.size(); ++i)
      if ((lo[i] > 0 || hi[i] > 0) && std::max(lo[i], hi[i]) > shape[i] - edge) return Unfit(c);
    CopyEach(c.in(0), c.out(), [&](const std::vector<int64_t>& index) {
      int64_t offset = 0;
      for (size_t i = 0; i < shape.size(); ++i) {
        int64_t at = index[i] - lo[i];
        if (at < 0) at = -at - 1 + edge;
        if (at >= shape[i]) at = 2 * shape[i] - 1 - edge - at;
        offset += at * strides[i];
      }
      return offset;
    });
    return OkStatus();
  }
  WithElementType(c.out()->dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T value = Narrow<T>(c.attrs.Float("value"));
    T* out = c.out()->mutable_as<T>();
    ForEachIndex(c.out()->shape(), [&](const std::vector<int64_t>& index) {
      int64_t offset = 0;
      bool inside = true;
      for (size_t i = 0; i < shape.size(); ++i) {
        const int64_t at = index[i] - lo[i];
        inside &= at >= 0 && at < shape[i];
        offset += at * strides[i];
      }
      *out++ = inside ? c.in(0).template as<T>()[offset] : value;
    });
  });
  return OkStatus();
}

Status RunTile(const Call& c) {
  const std::vector<int64_t>& shape = c.in(0).shape();
  const std::vector<int64_t> strides = StridesOf(shape);
  CopyEach(c.in(0), c.out(), [&](const std::vector<int64_t>& index) {
    int64_t offset = 0;
    for (size_t i = 0; i < shape.size(); ++i) offset += index[i] % shape[i] * strides[i];
    return offset;
  });
  return OkStatus();
}

Status RunDims(const Call& c) {
  WithElementType(c.out()->dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* out = c.out()->mutable_as<T>();
    for (int64_t v : c.attrs.Ints("values")) *out++ = Narrow<T>(v);
  });
  return OkStatus();
}

Status RunRange(const Call& c) {
  const int64_t start = c.attrs.DimOf("start").value, delta = c.attrs.DimOf("delta").value;
  WithElementType(c.out()->dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* out = c.out()->mutable_as<T>();
    for (int64_t i = 0; i < c.out()->num_elements(); ++i) out[i] = Narrow<T>(Plus(start, TimesOf(i, delta)));
  });
  return OkStatus();
}

}  // namespace tfengine::ref
