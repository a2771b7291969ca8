// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace tfengine::quant {

// The distribution of one value's elements, gathered in one pass over the data, batch by batch.
//
// Each side of zero has kBins bins of one width, a power of two. When an element does not fit, the width doubles and
// neighbours merge; since zero is an edge, bins always hold exactly what they would hold had the final width been known
// from the start, so the result does not depend on the order of the data. Exact zeros are counted apart: behind a ReLU
// they are most of the data, cost nothing when quantized, and would hide the rest.
//
// Counts, minimum and maximum are exact. Of calls with more than 2 * kSampled elements the bins see one element of
// every `n / kSampled`, chosen at pseudo-random so that no channel is missed, which counts for its group.
// Not thread-safe.
class Histogram {
 public:
  static constexpr int kBins = 4096;
  static constexpr int64_t kSampled = 32768;

  void Add(const float* data, int64_t n);
  void Merge(const Histogram& other);

  // Finite elements; NaN and infinite ones have no place in a range and are only counted.
  int64_t count() const { return count_; }
  int64_t nan() const { return nan_; }
  int64_t inf() const { return inf_; }
  // 0 if nothing finite was seen.
  float min() const { return count_ > 0 ? min_ : 0; }
  float max() const { return count_ > 0 ? max_ : 0; }
  // Weight of the exact zeros, and of zeros and bins together: count() unless calls were sampled.
  int64_t zeros() const { return width_ == 0 ? early_zeros_ : bins_[kZeros]; }
  int64_t weight() const;
  // Elements that the bins and zeros have seen: weight() unless calls were sampled.
  int64_t seen() const { return seen_; }
  // 0 as long as there are only zeros.
  double width() const { return width_; }
  // Weight of the elements in [i * width, (i + 1) * width) for i in [-kBins, kBins); mirrored below zero: bin -1 holds
  // (-width, 0).
  int64_t bin(int i) const {
    if (width_ == 0) return 0;
    return i >= 0 ? bins_[i] : bins_[kBins - 1 - i];
  }

 private:
  void AddChunk(const float* data, int64_t n, int64_t stride, uint32_t* random);
  // Finite elements that the bins have room for.
  void Count(const float* data, int64_t n, int64_t weight);
  // Makes room for elements of this size.
  void Reach(float magnitude);
  void SetWidth(float width);

  static constexpr int kZeros = 2 * kBins;

  int64_t count_ = 0, nan_ = 0, inf_ = 0, seen_ = 0;
  int64_t early_zeros_ = 0;  // before there were bins
  float min_ = 0, max_ = 0;
  float width_ = 0;
  std::vector<int64_t> bins_;  // [0, kBins) at and above zero outwards, then below zero outwards, then zeros
};

}  // namespace tfengine::quant
