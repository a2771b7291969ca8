// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/lower/conv_call.h"
#include "backends/cpu/lower/pool_call.h"
#include "base/status_macros.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kAlign = 64;
int64_t AlignUp(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

// The rows of an image that rows [first, first + count) of a window's results need, and the padding above them.
struct Rows {
  int64_t from, to, pad_top;
};
struct Window {
  int64_t size, stride, pad, in;
  Rows RowsFor(int64_t first, int64_t count) const {
    const int64_t top = first * stride - pad;
    Rows rows;
    rows.from = std::clamp<int64_t>(top, 0, in - 1);
    rows.to = std::clamp<int64_t>(top + (count - 1) * stride + size, rows.from + 1, in);
    rows.pad_top = rows.from - top;
    return rows;
  }
  // Some row of `out` sees nothing but padding: not worth a case.
  bool LeavesTheImage(int64_t out) const { return pad >= size || (out - 1) * stride - pad >= in; }
};

class ConvPool {
 public:
  static bool Fits(const ConvCall& conv, const PoolCall& pool) {
    return pool.shape.out_h > 0 && !WindowOf(conv.shape).LeavesTheImage(conv.shape.out_h) && !WindowOf(pool.shape).LeavesTheImage(pool.shape.out_h);
  }

  ConvPool(ConvCall conv, PoolCall pool, int threads)
      : conv_(std::move(conv)), pool_(std::move(pool)), conv_window_(WindowOf(conv_.shape)), pool_window_(WindowOf(pool_.shape)) {
    const ConvShape& c = conv_.shape;
    const PoolShape& p = pool_.shape;
    // A quarter of the second-level cache for what lies between the layers: weights and the scratch of Winograd need the rest.
    const int64_t l2 = HostCpu().l2_bytes > 0 ? HostCpu().l2_bytes : 512 << 10;
    const int64_t room = l2 / 4, row = std::max<int64_t>(1, between_row());
    int64_t scratch = 0, between = 0;
    if (c.batch >= 2 * threads && 2 * p.in_h * row <= room) {
      images_ = std::min(room / (p.in_h * row), c.batch / (2 * threads));
      between = images_ * p.in_h * row;
      for (int64_t images : {images_, c.batch % images_}) {
        ConvShape s = c;
        s.batch = images;
        if (images > 0) scratch = std::max(scratch, conv_.scratch_bytes(s, 1));
      }
    } else {
      if (c.batch < 2 * threads) parts_ = std::min<int64_t>(threads, p.out_h);
      const int64_t overlap = std::max<int64_t>(0, p.window_h - p.stride_h) * row;
      rows_ = std::max<int64_t>(1, (room - overlap) / (row * p.stride_h));
      if (rows_ < p.out_h) rows_ = (rows_ + 1) / 2 * 2;  // whole tiles of Winograd
      for (int64_t part = 0; part < parts_; ++part) {
        ForStripes(part, [&](int64_t, int64_t, const Rows& need, int64_t kept) {
          between = std::max(between, (need.to - need.from) * row);
          if (need.from + kept < need.to) scratch = std::max(scratch, conv_.scratch_bytes(ConvRows(need.from + kept, need.to), 1));
        });
      }
    }
    between_bytes_ = AlignUp(between + kAlign);  // vector kernels may load a register past the end
    worker_bytes_ = between_bytes_ + AlignUp(scratch);
  }

  void Run(const ConvCall::Operands& o, void* scratch, Gang& gang) const {
    const int64_t groups = (conv_.shape.batch + images_ - 1) / images_;
    gang.Run(groups * parts_, [&](int64_t task, int worker) {
      const ConvShape& c = conv_.shape;
      const PoolShape& p = pool_.shape;
      const int64_t image = task / parts_ * images_;
      ConvCall::Operands first = o;
      first.x = static_cast<const char*>(o.x) + image * c.in_h * x_row();
      if (o.residual) first.residual = static_cast<const char*>(o.residual) + image * c.out_h * residual_row();
      first.y = static_cast<char*>(o.y) + image * p.out_h * y_row();
      char* memory = static_cast<char*>(scratch) + worker * worker_bytes_;
      images_ > 1 ? RunImages(first, std::min(images_, c.batch - image), memory) : RunPart(first, task % parts_, memory);
    });
  }

  int64_t scratch_bytes(int threads) const { return worker_bytes_ * threads; }

 private:
  static Window WindowOf(const ConvShape& s) { return {(s.k_h - 1) * s.dil_h + 1, s.stride_h, s.pad_top, s.in_h}; }
  static Window WindowOf(const PoolShape& s) { return {s.window_h, s.stride_h, s.pad_top, s.in_h}; }

  // Bytes of a row.
  int64_t x_row() const { return conv_.shape.in_w * DistanceOf(conv_.shape.x_pixel, conv_.shape.in_c) * conv_.x_bytes; }
  int64_t residual_row() const { return conv_.shape.out_w * DistanceOf(conv_.shape.residual_pixel, conv_.shape.out_c) * conv_.residual_bytes; }
  int64_t between_row() const { return pool_.shape.in_w * pool_.shape.channels * conv_.y_bytes; }
  int64_t y_row() const { return pool_.shape.out_w * DistanceOf(pool_.shape.y_pixel, pool_.shape.channels) * StorageBytes(pool_.to.storage); }

  // Rows [begin, end) of one image's convolution.
  ConvShape ConvRows(int64_t begin, int64_t end) const {
    const Rows need = conv_window_.RowsFor(begin, end - begin);
    ConvShape s = conv_.shape;
    s.batch = 1;
    s.in_h = need.to - need.from;
    s.out_h = end - begin;
    s.pad_top = need.pad_top;
    return s;
  }

  // Calls visit(first row, rows, rows needed of the convolution, how many of those are there from the stripe before).
  template <typename F>
  void ForStripes(int64_t part, F visit) const {
    const int64_t begin = pool_.shape.out_h * part / parts_, end = pool_.shape.out_h * (part + 1) / parts_;
    int64_t have = 0;
    for (int64_t first = begin; first < end; first += rows_) {
      const int64_t count = std::min(rows_, end - first);
      const Rows need = pool_window_.RowsFor(first, count);
      visit(first, count, need, first == begin ? 0 : std::max<int64_t>(0, have - need.from));
      have = need.to;
    }
  }

  void RunImages(const ConvCall::Operands& o, int64_t images, char* memory) const {
    Gang alone;
    ConvShape c = conv_.shape;
    PoolShape p = pool_.shape;
    c.batch = p.batch = images;
    ConvCall::Operands to_memory = o;
    to_memory.y = memory;
    conv_.run(c, to_memory, memory + between_bytes_, alone);
    pool_.Run(p, memory, o.y, alone);
  }

  void RunPart(const ConvCall::Operands& o, int64_t part, char* memory) const {
    Gang alone;
    int64_t have_from = 0;
    ForStripes(part, [&](int64_t first, int64_t count, const Rows& need, int64_t kept) {
      if (kept > 0) std::memmove(memory, memory + (need.from - have_from) * between_row(), static_cast<size_t>(kept * between_row()));
      have_from = need.from;
      if (const int64_t begin = need.from + kept; begin < need.to) {
        ConvCall::Operands stripe = o;
        stripe.x = static_cast<const char*>(o.x) + conv_window_.RowsFor(begin, need.to - begin).from * x_row();
        if (o.residual) stripe.residual = static_cast<const char*>(o.residual) + begin * residual_row();
        stripe.y = memory + kept * between_row();
        conv_.run(ConvRows(begin, need.to), stripe, memory + between_bytes_, alone);
      }
      PoolShape p = pool_.shape;
      p.batch = 1;
      p.in_h = need.to - need.from;
      p.out_h = count;
      p.pad_top = need.pad_top;
      pool_.Run(p, memory, static_cast<char*>(o.y) + first * y_row(), alone);
    });
  }

  ConvCall conv_;
  PoolCall pool_;
  Window conv_window_, pool_window_;
  // A task is a group of small images, or one of the parts of one image's rows in stripes of rows_ rows of the result.
  int64_t images_ = 1, parts_ = 1, rows_ = 1;
  int64_t between_bytes_ = 0, worker_bytes_ = 0;
};

}  // namespace

Result<std::optional<Lowered>> LowerConvPool(const ConcreteNode& conv, const ConcreteNode& pool, const std::string& tactic,
                                             WeightStore& weights, int threads) {
  TFE_ASSIGN_OR_RETURN(std::optional<PoolCall> pool_call, PreparePool(pool));
  if (!pool_call) return std::optional<Lowered>();
  TFE_ASSIGN_OR_RETURN(std::optional<ConvCall> conv_call, PrepareConv({conv, tactic, weights, threads}));
  if (!conv_call || !ConvPool::Fits(*conv_call, *pool_call)) return std::optional<Lowered>();
  std::vector<int> in = {0};
  const bool bias = conv_call->bias, residual = conv_call->residual;
  if (bias) in.push_back(2);
  if (residual) in.push_back(3);
  auto shared = std::make_shared<const ConvPool>(*std::move(conv_call), *std::move(pool_call), threads);
  auto run = [=](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    ConvCall::Operands o;
    o.x = in[0];
    o.bias = bias ? F32(in[1]) : nullptr;
    o.residual = residual ? in[bias ? 2 : 1] : nullptr;
    o.y = out[0];
    shared->Run(o, scratch, gang);
    return OkStatus();
  };
  return WithViews(MakeLowered("pooled", std::move(in), std::move(run), -1,
                               [shared](int threads) { return static_cast<size_t>(shared->scratch_bytes(threads)); }));
}

}  // namespace tfengine::cpu
