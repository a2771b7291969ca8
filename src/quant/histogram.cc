// SPDX-License-Identifier: Apache-2.0
#include "quant/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace tfengine::quant {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kChunk = 4096;
constexpr int kLanes = 16;
// The least width: its inverse is finite. Elements below it go to the bin beside zero.
const float kLeastWidth = std::ldexp(1.0f, -112);

// Of the finite elements.
struct Extremes {
  float min = kInfinity, max = -kInfinity;
  int64_t nan = 0, inf = 0;
};

void Include(float x, Extremes* e) {
  if (std::isnan(x)) {
    ++e->nan;
  } else if (std::isinf(x)) {
    ++e->inf;
  } else {
    e->min = std::min(e->min, x);
    e->max = std::max(e->max, x);
  }
}

Extremes FindExtremes(const float* data, int64_t n) {
  // Lanes of fixed number are what compilers vectorise. x - x is 0, or NaN if x is not finite.
  float lo[kLanes], hi[kLanes], taint[kLanes] = {};
  std::fill(lo, lo + kLanes, kInfinity);
  std::fill(hi, hi + kLanes, -kInfinity);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float x = data[i + l];
      lo[l] = x < lo[l] ? x : lo[l];
      hi[l] = x > hi[l] ? x : hi[l];
      taint[l] += x - x;
    }
  }
  Extremes e;
  if (std::accumulate(taint, taint + kLanes, 0.0f) == 0) {
    e.min = *std::min_element(lo, lo + kLanes);
    e.max = *std::max_element(hi, hi + kLanes);
  } else {
    i = 0;
  }
  for (; i < n; ++i) Include(data[i], &e);
  return e;
}

}  // namespace

void Histogram::Add(const float* data, int64_t n) {
  const int64_t stride = n < 2 * kSampled ? 1 : n / kSampled;
  const int64_t chunk = std::max<int64_t>(1, kChunk / stride) * stride;
  uint32_t random = 1;
  for (int64_t i = 0; i < n; i += chunk) AddChunk(data + i, std::min(chunk, n - i), stride, &random);
}

void Histogram::AddChunk(const float* data, int64_t n, int64_t stride, uint32_t* random) {
  const Extremes e = FindExtremes(data, n);
  nan_ += e.nan;
  inf_ += e.inf;
  const int64_t finite = n - e.nan - e.inf;
  if (finite == 0) return;
  min_ = count_ > 0 ? std::min(min_, e.min) : e.min;
  max_ = count_ > 0 ? std::max(max_, e.max) : e.max;
  count_ += finite;
  Reach(std::max(std::fabs(e.min), std::fabs(e.max)));
  if (width_ == 0) {
    early_zeros_ += finite;
    seen_ += finite;
    return;
  }
  if (stride == 1 && finite == n) return Count(data, n, 1);
  float picked[kChunk];
  int64_t num_picked = 0;
  for (int64_t i = 0; i < n; i += stride) {
    const int64_t group = std::min(stride, n - i);
    *random = *random * 1664525u + 1013904223u;
    const auto at = static_cast<int64_t>((static_cast<uint64_t>(*random) * static_cast<uint64_t>(group)) >> 32);
    const float x = data[i + at];
    if (!std::isfinite(x)) continue;
    if (group < stride) {
      Count(&x, 1, group);
    } else {
      picked[num_picked++] = x;
    }
  }
  Count(picked, num_picked, stride);
}

void Histogram::Count(const float* data, int64_t n, int64_t weight) {
  seen_ += n;
  const float inverse = 1 / width_;
  int64_t* bins = bins_.data();
  for (int64_t i = 0; i < n; i += kLanes) {
    float x[kLanes] = {};
    int bin[kLanes];
    const int64_t lanes = std::min<int64_t>(kLanes, n - i);
    std::copy(data + i, data + i + lanes, x);
    // The product with a power of two is exact, the cast truncates. Sign and zero cannot be predicted: no branches.
    for (int l = 0; l < kLanes; ++l) {
      const auto bits = std::bit_cast<uint32_t>(x[l]);
      const uint32_t is_negative = bits >> 31, is_zero = ((bits & 0x7fffffff) - 1) >> 31;
      const uint32_t outwards = static_cast<uint32_t>(static_cast<int>(std::fabs(x[l]) * inverse));
      bin[l] = static_cast<int>(((outwards + is_negative * kBins) & (is_zero - 1)) | (is_zero * kZeros));
    }
    for (int64_t l = 0; l < lanes; ++l) bins[bin[l]] += weight;
  }
}

void Histogram::Reach(float magnitude) {
  if (magnitude == 0 || magnitude < width_ * kBins) return;
  int exponent;
  std::frexp(magnitude, &exponent);  // magnitude < 2^exponent
  SetWidth(std::max(std::ldexp(1.0f, exponent - 12), kLeastWidth));
  static_assert(kBins == 1 << 12);
}

void Histogram::SetWidth(float width) {
  if (width_ == 0) {
    bins_.assign(2 * kBins + 1, 0);
    bins_[kZeros] = early_zeros_;
    width_ = width;
  }
  if (width <= width_) return;
  // More doublings than there are bins to halve leave all in the first.
  const int shift = std::min(std::ilogb(width / width_), 31);
  for (int side : {0, kBins}) {
    for (int i = 1; i < kBins; ++i) {
      const int64_t moved = bins_[side + i];
      bins_[side + i] = 0;
      bins_[side + (i >> shift)] += moved;
    }
  }
  width_ = width;
}

void Histogram::Merge(const Histogram& other) {
  nan_ += other.nan_;
  inf_ += other.inf_;
  if (other.count_ == 0) return;
  min_ = count_ > 0 ? std::min(min_, other.min_) : other.min_;
  max_ = count_ > 0 ? std::max(max_, other.max_) : other.max_;
  count_ += other.count_;
  seen_ += other.seen_;
  if (other.width_ == 0) {
    (width_ == 0 ? early_zeros_ : bins_[kZeros]) += other.early_zeros_;
    return;
  }
  SetWidth(other.width_);
  bins_[kZeros] += other.bins_[kZeros];
  const int shift = std::min(std::ilogb(width_ / other.width_), 31);
  for (int side : {0, kBins})
    for (int i = 0; i < kBins; ++i) bins_[side + (i >> shift)] += other.bins_[side + i];
}

int64_t Histogram::weight() const { return width_ == 0 ? early_zeros_ : std::accumulate(bins_.begin(), bins_.end(), int64_t{0}); }

}  // namespace tfengine::quant
