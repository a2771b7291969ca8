// SPDX-License-Identifier: Apache-2.0
// Convolutions, pooling and resizing of images [N,H,W,C].
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"

namespace tfengine::ref {
namespace {

struct Window {
  std::vector<int64_t> strides, dilations, pads;  // pads: top, bottom, left, right

  explicit Window(const Attrs& attrs)
      : strides(attrs.Ints("strides")), dilations(attrs.Ints("dilations")), pads(attrs.Ints("pads")) {
    if (strides.empty()) strides = {1, 1};
    if (dilations.empty()) dilations = {1, 1};
    if (pads.empty()) pads = {0, 0, 0, 0};
  }
  // The row (axis 0) or column (axis 1) of the larger image under tap k of the window at `position`.
  int64_t At(int axis, int64_t position, int64_t k) const {
    return position * strides[axis] + k * dilations[axis] - pads[2 * axis];
  }
};

// Calls fn(out_y, out_x, ky, kx, y, x) for every tap inside of the larger image of `height` x `width`.
template <typename F>
void ForEachTap(const Window& w, int64_t out_h, int64_t out_w, int64_t kh, int64_t kw, int64_t height, int64_t width,
                F&& fn) {
  for (int64_t oy = 0; oy < out_h; ++oy)
    for (int64_t ox = 0; ox < out_w; ++ox)
      for (int64_t ky = 0; ky < kh; ++ky) {
        const int64_t y = w.At(0, oy, ky);
        if (y < 0 || y >= height) continue;
        for (int64_t kx = 0; kx < kw; ++kx) {
          const int64_t x = w.At(1, ox, kx);
          if (x >= 0 && x < width) fn(oy, ox, ky, kx, y, x);
        }
      }
}

template <typename W>
void AddBias(const Tensor* bias, std::vector<W>* out) {
  if (bias == nullptr || out->empty()) return;
  const std::vector<W> b = Read<W>(*bias);
  for (size_t i = 0; i < out->size(); ++i) (*out)[i] = Plus((*out)[i], b[i % b.size()]);
}

template <typename W>
void Conv(const Call& c) {
  const std::vector<W> x = Read<W>(c.in(0)), f = Read<W>(c.in(1));
  const auto &in = c.in(0).shape(), &fs = c.in(1).shape(), &os = c.out()->shape();
  const int64_t groups = c.attrs.Int("groups", 1), channels = fs[2], filters = fs[3] / groups;
  const Window window(c.attrs);
  std::vector<W> out(static_cast<size_t>(c.out()->num_elements()), W(0));
  for (int64_t n = 0; n < os[0]; ++n)
    ForEachTap(window, os[1], os[2], fs[0], fs[1], in[1], in[2],
               [&](int64_t oy, int64_t ox, int64_t ky, int64_t kx, int64_t iy, int64_t ix) {
                 W* to = &out[((n * os[1] + oy) * os[2] + ox) * os[3]];
                 for (int64_t g = 0; g < groups; ++g)
                   for (int64_t ch = 0; ch < channels; ++ch) {
                     const W v = x[((n * in[1] + iy) * in[2] + ix) * in[3] + g * channels + ch];
                     const W* taps = &f[((ky * fs[1] + kx) * channels + ch) * fs[3] + g * filters];
                     for (int64_t k = 0; k < filters; ++k)
                       to[g * filters + k] = Plus(to[g * filters + k], TimesOf(v, taps[k]));
                   }
               });
  AddBias(c.optional(2), &out);
  const Activation act(c.attrs);
  std::vector<W> residual;
  if (c.optional(3)) residual = Read<W>(*c.optional(3));
  for (size_t i = 0; i < out.size(); ++i) out[i] = act(residual.empty() ? out[i] : Plus(out[i], residual[i]));
  Write(out, c.out());
}

template <typename W>
void ConvTranspose(const Call& c) {
  const std::vector<W> x = Read<W>(c.in(0)), f = Read<W>(c.in(1));
  const auto &in = c.in(0).shape(), &fs = c.in(1).shape(), &os = c.out()->shape();
  const Window window(c.attrs);
  std::vector<W> out(static_cast<size_t>(c.out()->num_elements()), W(0));
  for (int64_t n = 0; n < os[0]; ++n)
    ForEachTap(window, in[1], in[2], fs[0], fs[1], os[1], os[2],
               [&](int64_t iy, int64_t ix, int64_t ky, int64_t kx, int64_t oy, int64_t ox) {
                 for (int64_t k = 0; k < os[3]; ++k) {
                   W sum = 0;
                   for (int64_t ch = 0; ch < in[3]; ++ch)
                     sum = Plus(sum, TimesOf(x[((n * in[1] + iy) * in[2] + ix) * in[3] + ch],
                                             f[((ky * fs[1] + kx) * fs[2] + k) * fs[3] + ch]));
                   W& to = out[((n * os[1] + oy) * os[2] + ox) * os[3] + k];
                   to = Plus(to, sum);
                 }
               });
  AddBias(c.optional(2), &out);
  const Activation act(c.attrs);
  for (W& v : out) v = act(v);
  Write(out, c.out());
}

// The lowest finite value, which maximum pooling starts from; NaN is never greater.
template <typename W>
W LowestOf(DType dtype) {
  return WithElementType(dtype, [](auto tag) -> W {
    using T = decltype(tag);
    if constexpr (std::is_same_v<T, Half>) return static_cast<W>(-65504.0);
    else if constexpr (std::is_same_v<T, Bfloat16>) return static_cast<W>(Bfloat16ToFloat(0xff7f));
    else if constexpr (std::is_same_v<T, Float8>) return static_cast<W>(-kE4m3Max);
    else return static_cast<W>(std::numeric_limits<T>::lowest());
  });
}

// Where a resized row or column comes from, computed in f32 as TensorFlow does.
struct Resampler {
  float scale;
  bool align_corners, half_pixel;

  Resampler(int64_t in, int64_t out, const Attrs& attrs)
      : align_corners(attrs.Bool("align_corners")), half_pixel(attrs.Bool("half_pixel")) {
    scale = align_corners && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                                     : static_cast<float>(in) / static_cast<float>(out);
  }
  float Linear(int64_t i) const {
    const float x = static_cast<float>(i);
    return half_pixel ? (x + 0.5f) * scale - 0.5f : x * scale;
  }
  int64_t Nearest(int64_t i, int64_t size) const {
    const float x = static_cast<float>(i);
    const float at = half_pixel ? (x + 0.5f) * scale : x * scale;
    const int64_t nearest = static_cast<int64_t>(align_corners ? std::round(at) : std::floor(at));
    return std::clamp<int64_t>(nearest, 0, size - 1);
  }
};

struct Interpolation {
  int64_t lower, upper;
  double weight;  // of upper

  Interpolation(const Resampler& r, int64_t i, int64_t size) {
    const float at = r.Linear(i), floor = std::floor(at);
    lower = std::max<int64_t>(static_cast<int64_t>(floor), 0);
    upper = std::min<int64_t>(static_cast<int64_t>(std::ceil(at)), size - 1);
    weight = at - floor;
  }
};

}  // namespace

Status RunConv2d(const Call& c) {
  WithWideType(c.in(0).dtype(), [&](auto tag) { Conv<decltype(tag)>(c); });
  return OkStatus();
}

Status RunConv2dTranspose(const Call& c) {
  WithWideType(c.in(0).dtype(), [&](auto tag) { ConvTranspose<decltype(tag)>(c); });
  return OkStatus();
}

Status RunPool(const Call& c) {
  const bool max = c.attrs.Str("kind") == "max";
  const std::vector<int64_t> ksize = c.attrs.Ints("ksize");
  const auto &in = c.in(0).shape(), &os = c.out()->shape();
  const Window window(c.attrs);
  WithWideType(c.in(0).dtype(), [&](auto tag) {
    using W = decltype(tag);
    const std::vector<W> x = Read<W>(c.in(0));
    std::vector<W> out(static_cast<size_t>(c.out()->num_elements()), max ? LowestOf<W>(c.in(0).dtype()) : W(0));
    std::vector<int64_t> counts(out.size(), 0);
    for (int64_t n = 0; n < os[0]; ++n)
      ForEachTap(window, os[1], os[2], ksize[0], ksize[1], in[1], in[2],
                 [&](int64_t oy, int64_t ox, int64_t, int64_t, int64_t iy, int64_t ix) {
                   for (int64_t ch = 0; ch < os[3]; ++ch) {
                     const int64_t to = ((n * os[1] + oy) * os[2] + ox) * os[3] + ch;
                     const W v = x[((n * in[1] + iy) * in[2] + ix) * in[3] + ch];
                     out[to] = max ? (v > out[to] ? v : out[to]) : Plus(out[to], v);
                     ++counts[to];
                   }
                 });
    if (!max)
      for (size_t i = 0; i < out.size(); ++i)
        if (counts[i] > 0) out[i] /= static_cast<W>(counts[i]);
    Write(out, c.out());
  });
  return OkStatus();
}

Status RunResize(const Call& c) {
  const auto &in = c.in(0).shape(), &os = c.out()->shape();
  if (c.out()->num_elements() == 0) return OkStatus();
  if (in[1] == 0 || in[2] == 0)
    return Error(ErrorId::kShapeUnsupported, "an image of shape {} cannot be resized", ShapeToString(in));
  const Resampler rows(in[1], os[1], c.attrs), columns(in[2], os[2], c.attrs);
  if (c.attrs.Str("kind") == "nearest") {
    const size_t pixel = static_cast<size_t>(in[3]) * DTypeSize(c.in(0).dtype());
    char* out = c.out()->mutable_as<char>();
    for (int64_t n = 0; n < os[0]; ++n)
      for (int64_t y = 0; y < os[1]; ++y)
        for (int64_t x = 0; x < os[2]; ++x, out += pixel) {
          const int64_t from = (n * in[1] + rows.Nearest(y, in[1])) * in[2] + columns.Nearest(x, in[2]);
          std::memcpy(out, c.in(0).as<char>() + static_cast<size_t>(from) * pixel, pixel);
        }
    return OkStatus();
  }
  WithWideType(c.in(0).dtype(), [&](auto tag) {
    const auto image = Read<decltype(tag)>(c.in(0));
    float* out = c.out()->mutable_as<float>();
    for (int64_t n = 0; n < os[0]; ++n)
      for (int64_t y = 0; y < os[1]; ++y)
        for (int64_t x = 0; x < os[2]; ++x)
          for (int64_t ch = 0; ch < os[3]; ++ch) {
            const Interpolation v(rows, y, in[1]), h(columns, x, in[2]);
            auto at = [&](int64_t row, int64_t column) {
              return static_cast<double>(image[((n * in[1] + row) * in[2] + column) * in[3] + ch]);
            };
            const double top = at(v.lower, h.lower) + (at(v.lower, h.upper) - at(v.lower, h.lower)) * h.weight;
            const double bottom = at(v.upper, h.lower) + (at(v.upper, h.upper) - at(v.upper, h.lower)) * h.weight;
            *out++ = static_cast<float>(top + (bottom - top) * v.weight);
          }
  });
  return OkStatus();
}

// depth_to_space: [N, h, w, (by, bx, c)] -> [N, (h, by), (w, bx), c]; space_to_depth is its inverse.
Status RunDepthSpace(const Call& c) {
  const bool to_space = c.op == Op::kDepthToSpace;
  const int64_t block = c.attrs.Int("block");
  const Tensor &deep = to_space ? c.in(0) : *c.out(), &wide = to_space ? *c.out() : c.in(0);
  const auto &d = deep.shape(), &s = wide.shape();
  const size_t pixel = static_cast<size_t>(s[3]) * DTypeSize(wide.dtype());
  char* out = c.out()->mutable_as<char>();
  const char* in = c.in(0).as<char>();
  ForEachIndex({d[0], d[1], d[2], block, block}, [&](const std::vector<int64_t>& i) {
    const size_t deep_at = static_cast<size_t>((((i[0] * d[1] + i[1]) * d[2] + i[2]) * block + i[3]) * block + i[4]);
    const size_t wide_at = static_cast<size_t>((i[0] * s[1] + i[1] * block + i[3]) * s[2] + i[2] * block + i[4]);
    std::memcpy(out + (to_space ? wide_at : deep_at) * pixel, in + (to_space ? deep_at : wide_at) * pixel, pixel);
  });
  return OkStatus();
}

}  // namespace tfengine::ref
