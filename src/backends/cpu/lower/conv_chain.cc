// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/lower/conv_call.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kAlign = 64;
int64_t AlignUp(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

bool IsPointwise(const ConvShape& s) {
  return s.k_h == 1 && s.k_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.groups == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.out_h == s.in_h && s.out_w == s.in_w;
}
bool IsDepthwise(const ConvShape& s) { return s.groups == s.in_c && s.in_c > 1; }

// `s` for some rows of one image.
ConvShape Rows(ConvShape s, int64_t in_rows, int64_t out_rows, int64_t pad_top) {
  s.batch = 1;
  s.in_h = in_rows;
  s.out_h = out_rows;
  s.pad_top = pad_top;
  return s;
}

// Rows [first, first + count) of the result; they need rows [from, to) of the depthwise convolution's input.
struct Stripe {
  int64_t first, count, from, to, pad_top;
};

class Chain {
 public:
  static std::optional<Chain> Make(std::vector<ConvCall> calls, int threads) {
    Chain chain;
    for (ConvCall& call : calls) {
      const bool last = &call == &calls.back();
      if (call.residual && !last) return std::nullopt;
      if (IsDepthwise(call.shape)) {
        if (chain.depthwise_) return std::nullopt;
        chain.depthwise_ = std::move(call);
      } else if (IsPointwise(call.shape)) {
        std::optional<ConvCall>& side = chain.depthwise_ ? chain.after_ : chain.before_;
        if (side) return std::nullopt;
        side = std::move(call);
      } else {
        return std::nullopt;
      }
    }
    if (!chain.depthwise_ || !(chain.before_ || chain.after_)) return std::nullopt;
    // Rows that see nothing but padding are not worth a case.
    const ConvShape& s = chain.depthwise_->shape;
    if (s.pad_top >= (s.k_h - 1) * s.dil_h + 1 || (s.out_h - 1) * s.stride_h - s.pad_top >= s.in_h) return std::nullopt;
    chain.Plan(threads);
    return chain;
  }

  struct Operands {
    const void* x;
    const float* before_bias;
    const float* bias;
    const float* after_bias;
    const void* residual;
    void* y;
  };

  void Run(const Operands& o, void* scratch, Gang& gang) const {
    const int64_t parts = static_cast<int64_t>(parts_.size());
    gang.Run(depthwise_->shape.batch * parts, [&](int64_t task, int worker) {
      RunPart(o, task / parts, parts_[task % parts], static_cast<char*>(scratch) + worker * worker_bytes_);
    });
  }

  int64_t scratch_bytes(int threads) const { return worker_bytes_ * threads; }

 private:
  const ConvCall& first() const { return before_ ? *before_ : *depthwise_; }
  const ConvCall& last() const { return after_ ? *after_ : *depthwise_; }
  // Bytes of a row of the tensors in front of, inside and behind the depthwise convolution.
  int64_t wide_row() const { return depthwise_->shape.in_w * depthwise_->shape.in_c * depthwise_->x_bytes; }
  int64_t narrow_row() const { return depthwise_->shape.out_w * depthwise_->shape.out_c * depthwise_->y_bytes; }

  void Plan(int threads) {
    const ConvShape& s = depthwise_->shape;
    const int64_t window = (s.k_h - 1) * s.dil_h + 1;
    // One image per thread where there are enough images; else each image in as many parts as there are threads.
    const int64_t parts = s.batch >= 2 * threads ? 1 : std::min<int64_t>(threads, s.out_h);
    // Half of the second-level cache for what lies between the layers, the rest for weights and what comes and goes.
    const int64_t l2 = HostCpu().l2_bytes > 0 ? HostCpu().l2_bytes : 512 << 10;
    const int64_t per_row = (before_ ? wide_row() * s.stride_h : 0) + (after_ ? narrow_row() : 0);
    const int64_t fixed = before_ ? wide_row() * (window - s.stride_h) : 0;
    const int64_t rows = std::max<int64_t>(1, (l2 / 2 - fixed) / std::max<int64_t>(1, per_row));
    int64_t most_wide = 0, most_rows = 0, scratch = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t begin = s.out_h * part / parts, end = s.out_h * (part + 1) / parts;
      const int64_t stripes = (end - begin + rows - 1) / rows;
      std::vector<Stripe> list;
      for (int64_t i = 0; i < stripes; ++i) {
        Stripe stripe;
        stripe.first = begin + (end - begin) * i / stripes;
        stripe.count = begin + (end - begin) * (i + 1) / stripes - stripe.first;
        const int64_t top = stripe.first * s.stride_h - s.pad_top;
        stripe.from = std::clamp<int64_t>(top, 0, s.in_h - 1);
        stripe.to = std::clamp<int64_t>(top + (stripe.count - 1) * s.stride_h + window, stripe.from + 1, s.in_h);
        stripe.pad_top = stripe.from - top;
        most_wide = std::max(most_wide, stripe.to - stripe.from);
        most_rows = std::max(most_rows, stripe.count);
        scratch = std::max(scratch, depthwise_->scratch_bytes(Rows(s, stripe.to - stripe.from, stripe.count, stripe.pad_top), 1));
        if (after_) scratch = std::max(scratch, after_->scratch_bytes(Rows(after_->shape, stripe.count, stripe.count, 0), 1));
        for (int64_t n = 1; before_ && n <= stripe.to - stripe.from; ++n)
          scratch = std::max(scratch, before_->scratch_bytes(Rows(before_->shape, n, n, 0), 1));
        list.push_back(stripe);
      }
      parts_.push_back(std::move(list));
    }
    // Vector kernels may load a register past the end.
    wide_bytes_ = before_ ? AlignUp(most_wide * wide_row() + kAlign) : 0;
    narrow_bytes_ = after_ ? AlignUp(most_rows * narrow_row() + kAlign) : 0;
    worker_bytes_ = wide_bytes_ + narrow_bytes_ + AlignUp(scratch);
  }

  void RunPart(const Operands& o, int64_t image, const std::vector<Stripe>& stripes, char* memory) const {
    const ConvShape& s = depthwise_->shape;
    char* wide = memory;
    char* narrow = memory + wide_bytes_;
    void* scratch = memory + wide_bytes_ + narrow_bytes_;
    Gang alone;
    const int64_t x_row = first().shape.in_w * DistanceOf(first().shape.x_pixel, first().shape.in_c) * first().x_bytes;
    const char* x = static_cast<const char*>(o.x) + image * first().shape.in_h * x_row;
    const ConvShape& out = last().shape;
    const int64_t y_row = out.out_w * DistanceOf(out.y_pixel, out.out_c), residual_row = out.out_w * DistanceOf(out.residual_pixel, out.out_c);
    char* y = static_cast<char*>(o.y) + image * out.out_h * y_row * last().y_bytes;
    const char* residual = o.residual ? static_cast<const char*>(o.residual) + image * out.out_h * residual_row * last().residual_bytes : nullptr;
    int64_t have_from = 0, have_to = 0;  // rows that lie in `wide`
    for (const Stripe& stripe : stripes) {
      ConvCall::Operands dw;
      dw.bias = o.bias;
      if (before_) {
        int64_t kept = std::max<int64_t>(0, have_to - std::max(stripe.from, have_from));
        if (have_from > stripe.from) kept = 0;
        if (kept > 0) std::memmove(wide, wide + (stripe.from - have_from) * wide_row(), static_cast<size_t>(kept * wide_row()));
        have_from = stripe.from;
        have_to = stripe.to;
        if (const int64_t fresh = stripe.to - stripe.from - kept; fresh > 0) {
          ConvCall::Operands expand;
          expand.x = x + (stripe.from + kept) * x_row;
          expand.bias = o.before_bias;
          expand.y = wide + kept * wide_row();
          before_->run(Rows(before_->shape, fresh, fresh, 0), expand, scratch, alone);
        }
        dw.x = wide;
      } else {
        dw.x = x + stripe.from * x_row;
      }
      char* to = y + stripe.first * y_row * last().y_bytes;
      const char* add = residual ? residual + stripe.first * residual_row * last().residual_bytes : nullptr;
      dw.y = after_ ? narrow : to;
      dw.residual = after_ ? nullptr : add;
      depthwise_->run(Rows(s, stripe.to - stripe.from, stripe.count, stripe.pad_top), dw, scratch, alone);
      if (!after_) continue;
      ConvCall::Operands project;
      project.x = narrow;
      project.bias = o.after_bias;
      project.residual = add;
      project.y = to;
      after_->run(Rows(after_->shape, stripe.count, stripe.count, 0), project, scratch, alone);
    }
  }

  std::optional<ConvCall> before_, depthwise_, after_;
  std::vector<std::vector<Stripe>> parts_;
  int64_t wide_bytes_ = 0, narrow_bytes_ = 0, worker_bytes_ = 0;
};

}  // namespace

Result<std::optional<Lowered>> LowerConvChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>& tactics,
                                              WeightStore& weights, int threads) {
  std::vector<ConvCall> calls;
  std::vector<int> in;
  int first_operand = 0;
  // Where the operands lie in the kernel's list; -1: absent.
  std::vector<int> bias_at(nodes.size(), -1);
  int residual_at = -1;
  for (size_t k = 0; k < nodes.size(); ++k) {
    TFE_ASSIGN_OR_RETURN(std::optional<ConvCall> call, PrepareConv({nodes[k], tactics[k], weights, threads}));
    if (!call) return std::optional<Lowered>();
    if (k == 0) in.push_back(0);
    if (call->bias) {
      bias_at[k] = static_cast<int>(in.size());
      in.push_back(first_operand + 2);
    }
    if (call->residual) {
      residual_at = static_cast<int>(in.size());
      in.push_back(first_operand + 3);
    }
    first_operand += static_cast<int>(nodes[k].inputs.size());
    calls.push_back(*std::move(call));
  }
  const bool has_before = calls.size() > 1 && !IsDepthwise(calls[0].shape);
  std::optional<Chain> chain = Chain::Make(std::move(calls), threads);
  if (!chain) return std::optional<Lowered>();
  auto shared = std::make_shared<const Chain>(*std::move(chain));
  auto run = [=](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    auto bias = [&](size_t k) { return k < bias_at.size() && bias_at[k] >= 0 ? F32(in[bias_at[k]]) : nullptr; };
    Chain::Operands o;
    o.x = in[0];
    o.before_bias = has_before ? bias(0) : nullptr;
    o.bias = bias(has_before ? 1 : 0);
    o.after_bias = bias(has_before ? 2 : 1);
    o.residual = residual_at >= 0 ? in[residual_at] : nullptr;
    o.y = out[0];
    shared->Run(o, scratch, gang);
    return OkStatus();
  };
  return WithViews(MakeLowered("stripes", std::move(in), std::move(run), -1,
                               [shared](int threads) { return static_cast<size_t>(shared->scratch_bytes(threads)); }));
}

}  // namespace tfengine::cpu
