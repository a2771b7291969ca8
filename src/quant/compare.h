// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tfengine::quant {

// How far one tensor is from another, over any number of batches. Sums are kept in double. Not thread-safe.
//
// Elements where both are NaN or the same infinity are equal and not counted further. An element that is finite on one
// side only is `broken`: then no metric can be good (snr_db -inf, relative_rms and max_abs_error +inf, cosine 0).
class Comparison {
 public:
  // `row` is the size of the last axis, for top1_agreement; n is a multiple of it. At 0 rows are not compared.
  void Add(const float* reference, const float* candidate, int64_t n, int64_t row = 0);

  int64_t count() const { return count_; }
  int64_t broken() const { return broken_; }
  // 10 log10(|reference|^2 / |error|^2): +inf without error, -inf for an error against a reference of zero.
  double snr_db() const;
  // Of the angle between the two: 1 if both are zero, 0 if one is.
  double cosine() const;
  double max_abs_error() const;
  // |error| / |reference|: 0 without error.
  double relative_rms() const;
  // Share of rows whose greatest element is at the same place (the first one of equals); 1 without rows.
  double top1_agreement() const;
  int64_t rows() const { return rows_; }

 private:
  int64_t count_ = 0, broken_ = 0, rows_ = 0, agreeing_ = 0;
  double reference_ = 0, candidate_ = 0, product_ = 0, error_ = 0;  // sums of squares and products
  double max_ = 0;
};

}  // namespace tfengine::quant
