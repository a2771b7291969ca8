// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/kernels/elements.h"
#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/row_kernels.h"
#include "backends/cpu/kernels/typed_blocks.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kColumns = 256;  // output columns whose coordinates are computed at a time

float Scale(int64_t in, int64_t out, bool align_corners) {
  return align_corners && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                                  : static_cast<float>(in) / static_cast<float>(out);
}

struct Point {
  int64_t low, high;
  float weight;  // of high
};

Point Bilinear(int64_t at, float scale, int64_t in, bool half_pixel) {
  const float position = half_pixel ? (static_cast<float>(at) + 0.5f) * scale - 0.5f : static_cast<float>(at) * scale;
  const float floor = std::floor(position);
  return {std::max<int64_t>(static_cast<int64_t>(floor), 0), std::min(static_cast<int64_t>(std::ceil(position)), in - 1),
          position - floor};
}

int64_t Nearest(int64_t at, float scale, int64_t in, const ResizeShape& s) {
  const float position = s.half_pixel ? (static_cast<float>(at) + 0.5f) * scale : static_cast<float>(at) * scale;
  const float whole = s.align_corners ? std::round(position) : std::floor(position);
  return std::clamp<int64_t>(static_cast<int64_t>(whole), 0, in - 1);
}

int64_t PixelOf(int64_t distance, const ResizeShape& s) { return distance > 0 ? distance : s.channels; }

}  // namespace

void ResizeBilinear(const ResizeShape& s, const void* x, const Format& from, void* y, const Format& to, Gang& gang) {
  const auto bilinear = RowKernelsFor(HostCpu().isa).bilinear[Index(from)][Index(to)];
  const float scale_h = Scale(s.in_h, s.out_h, s.align_corners), scale_w = Scale(s.in_w, s.out_w, s.align_corners);
  const int64_t x_pixel = PixelOf(s.x_pixel, s), y_pixel = PixelOf(s.y_pixel, s);
  ParallelRows(gang, s.batch * s.out_h, s.out_w * s.channels * sizeof(float), kMovePart, [&](int64_t begin, int64_t end) {
    Point columns[kColumns];
    for (int64_t c = 0; c < s.out_w; c += kColumns) {
      const int64_t n = std::min(kColumns, s.out_w - c);
      for (int64_t i = 0; i < n; ++i) columns[i] = Bilinear(c + i, scale_w, s.in_w, s.half_pixel);
      for (int64_t row = begin; row < end; ++row) {
        const Point v = Bilinear(row % s.out_h, scale_h, s.in_h, s.half_pixel);
        const int64_t image = row / s.out_h * s.in_h * s.in_w;
        const int64_t top = image + v.low * s.in_w, bottom = image + v.high * s.in_w;
        auto point = [&](int64_t at) { return At(x, from, at * x_pixel); };
        for (int64_t i = 0; i < n; ++i) {
          const auto [low, high, weight] = columns[i];
          bilinear({point(top + low), point(top + high), point(bottom + low), point(bottom + high), weight, v.weight}, from,
                   At(y, to, (row * s.out_w + c + i) * y_pixel), to, s.channels);
        }
      }
    }
  });
}

void ResizeNearest(const ResizeShape& s, const void* x, size_t element_size, void* y, Gang& gang) {
  const float scale_h = Scale(s.in_h, s.out_h, s.align_corners), scale_w = Scale(s.in_w, s.out_w, s.align_corners);
  const auto size = static_cast<int64_t>(element_size);
  const int64_t pixel = s.channels * size, x_pixel = PixelOf(s.x_pixel, s) * size, y_pixel = PixelOf(s.y_pixel, s) * size;
  const char* from = static_cast<const char*>(x);
  char* to = static_cast<char*>(y);
  ParallelRows(gang, s.batch * s.out_h, s.out_w * pixel, kMovePart, [&](int64_t begin, int64_t end) {
    int64_t columns[kColumns];
    for (int64_t c = 0; c < s.out_w; c += kColumns) {
      const int64_t n = std::min(kColumns, s.out_w - c);
      for (int64_t i = 0; i < n; ++i) columns[i] = Nearest(c + i, scale_w, s.in_w, s) * x_pixel;
      for (int64_t row = begin; row < end; ++row) {
        const int64_t source = row / s.out_h * s.in_h + Nearest(row % s.out_h, scale_h, s.in_h, s);
        for (int64_t i = 0; i < n; ++i) {
          std::memcpy(to + (row * s.out_w + c + i) * y_pixel, from + source * s.in_w * x_pixel + columns[i], pixel);
        }
      }
    }
  });
}

}  // namespace tfengine::cpu
