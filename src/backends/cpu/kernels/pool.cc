// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/pool.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/row_kernels.h"
#include "backends/cpu/kernels/typed_blocks.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 8192;      // elements read that are worth a task of their own
constexpr int64_t kChannels = 1024;  // folded at a time

// The part of a window that lies inside the image.
struct Window {
  int64_t y0, y1, x0, x1;
  int64_t Count() const { return y1 > y0 && x1 > x0 ? (y1 - y0) * (x1 - x0) : 0; }
};

// Pools one window of an image; compiled once, called per output point.
class WindowPool {
 public:
  WindowPool(PoolOp op, const PoolShape& s, const Format& from, const Format& to, CpuIsa isa)
      : s_(s), from_(from), to_(to), rows_(RowKernelsFor(isa)), typed_(TypedKernelsFor(isa)), max_(op == PoolOp::k_max),
        codes_(max_ && from == to && from.storage == Storage::kU8),
        fold_(static_cast<int>(max_ ? Fold::kMaxNumber : Fold::kSum)), x_pixel_(s.x_pixel > 0 ? s.x_pixel : s.channels),
        y_pixel_(s.y_pixel > 0 ? s.y_pixel : s.channels) {}

  int64_t x_pixel() const { return x_pixel_; }
  int64_t y_pixel() const { return y_pixel_; }

  // The first windows of an output row that lie wholly inside the image and start at column 0 or later, if they can be had
  // at once: how many were done. `left`: of the first.
  int64_t RunInside(const void* image, int64_t y0, int64_t left, int64_t count, void* y) const {
    const int64_t room = s_.in_w - s_.window_w - left;
    if (!max_ || from_ != to_ || left < 0 || room < 0 || y0 < 0 || y0 + s_.window_h > s_.in_h) return 0;
    count = std::min(count, room / s_.stride_w + 1);
    const void* x = At(image, from_, (y0 * s_.in_w + left) * x_pixel_);
    rows_.max_windows[Index(from_)](
        {x, s_.in_w * x_pixel_, x_pixel_, s_.stride_w * x_pixel_, s_.window_h, s_.window_w, s_.channels, y, y_pixel_}, count);
    return count;
  }

  void Run(const void* image, const Window& w, void* y) const {
    for (int64_t c = 0; c < s_.channels; c += kChannels) {
      Channels(image, w, c, std::min(kChannels, s_.channels - c), At(y, to_, c));
    }
  }

 private:
  void Channels(const void* image, const Window& w, int64_t c, int64_t n, void* y) const {
    const void* points[kMostFoldedRows];
    float sum[kChannels], more[kChannels];
    const int64_t count = w.Count();
    // An f32 result is folded in place.
    float* total = to_.storage == Storage::kF32 ? static_cast<float*>(y) : sum;
    if (count == 0) std::fill(total, total + n, max_ ? std::numeric_limits<float>::lowest() : 0.0f);
    int64_t pending = 0, done = 0;
    auto flush = [&] {
      if (codes_ && done == 0 && pending == count) {
        rows_.max_codes(points, pending, static_cast<uint8_t*>(y), n);
      } else {
        rows_.fold_rows[fold_][Index(from_)](points, pending, from_, done == 0 ? total : more, n);
        if (done > 0) rows_.combine[fold_](more, total, n);
      }
      done += pending;
      pending = 0;
    };
    for (int64_t iy = w.y0; iy < w.y1 && count > 0; ++iy) {
      for (int64_t ix = w.x0; ix < w.x1; ++ix) {
        points[pending++] = At(image, from_, (iy * s_.in_w + ix) * x_pixel_ + c);
        if (pending == kMostFoldedRows) flush();
      }
    }
    if (pending > 0) flush();
    if (codes_ && count > 0 && count <= kMostFoldedRows) return;
    const float scale = from_.storage == Storage::kU8 && count > 0 ? from_.scale : 1.0f;
    if (!max_) {
      const float divisor = static_cast<float>(count);
      for (int64_t i = 0; i < n; ++i) total[i] = total[i] * scale / divisor;
    } else if (scale != 1) {
      for (int64_t i = 0; i < n; ++i) total[i] *= scale;
    }
    if (total == sum) typed_.convert[0][Index(to_)](sum, Format(), y, to_, -kUnbounded, kUnbounded, n);
  }

  const PoolShape& s_;
  Format from_, to_;
  const RowKernels& rows_;
  const TypedKernels& typed_;
  bool max_, codes_;
  int fold_;
  int64_t x_pixel_, y_pixel_;
};

}  // namespace

void Pool(PoolOp op, const PoolShape& s, const void* x, const Format& from, void* y, const Format& to, Gang& gang, CpuIsa isa) {
  const WindowPool pool(op, s, from, to, isa);
  const int64_t row_elements = s.out_w * s.channels * s.window_h * s.window_w;
  ParallelRows(gang, s.batch * s.out_h, row_elements, kPart, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const void* image = At(x, from, row / s.out_h * s.in_h * s.in_w * pool.x_pixel());
      const int64_t top = row % s.out_h * s.stride_h - s.pad_top;
      Window w{std::max<int64_t>(0, top), std::min(s.in_h, top + s.window_h), 0, 0};
      for (int64_t ox = 0; ox < s.out_w;) {
        const int64_t left = ox * s.stride_w - s.pad_left;
        void* out = At(y, to, (row * s.out_w + ox) * pool.y_pixel());
        if (const int64_t done = pool.RunInside(image, top, left, s.out_w - ox, out); done > 0) {
          ox += done;
          continue;
        }
        w.x0 = std::max<int64_t>(0, left), w.x1 = std::min(s.in_w, left + s.window_w);
        pool.Run(image, w, out);
        ++ox;
      }
    }
  });
}

}  // namespace tfengine::cpu
