// SPDX-License-Identifier: Apache-2.0
#include "quant/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tfengine::quant {
namespace {

TEST(Comparison, OfEqualTensorsHasNoError) {
  const std::vector<float> x = {1, -2, 0, INFINITY, std::nanf("")};
  Comparison c;
  c.Add(x.data(), x.data(), 5, 5);
  EXPECT_EQ(c.snr_db(), INFINITY);
  EXPECT_EQ(c.cosine(), 1);
  EXPECT_EQ(c.max_abs_error(), 0);
  EXPECT_EQ(c.relative_rms(), 0);
  EXPECT_EQ(c.top1_agreement(), 1);
  EXPECT_EQ(c.count(), 5);
}

TEST(Comparison, AddsUpOverBatches) {
  const std::vector<float> a = {3, 4, 0, 0}, b = {3, 4, 0.5f, 0};
  Comparison whole, parts;
  whole.Add(a.data(), b.data(), 4, 2);
  parts.Add(a.data(), b.data(), 2, 2);
  parts.Add(a.data() + 2, b.data() + 2, 2, 2);
  for (const Comparison* c : {&whole, &parts}) {
    EXPECT_DOUBLE_EQ(c->snr_db(), 20);
    EXPECT_DOUBLE_EQ(c->relative_rms(), 0.1);
    EXPECT_DOUBLE_EQ(c->max_abs_error(), 0.5);
    EXPECT_DOUBLE_EQ(c->cosine(), 25 / (5 * std::sqrt(25.25)));
    EXPECT_EQ(c->top1_agreement(), 1);
    EXPECT_EQ(c->rows(), 2);
  }
}

TEST(Comparison, CountsRowsWithTheSameGreatestElement) {
  const std::vector<float> a = {1, 2, 3, /**/ 5, 5, 1, /**/ std::nanf(""), 1, 0}, b = {1, 2, 1, /**/ 6, 5, 9, /**/ 0, 1, 0};
  Comparison c;
  c.Add(a.data(), b.data(), 9, 3);
  EXPECT_DOUBLE_EQ(c.top1_agreement(), 1.0 / 3);
}

TEST(Comparison, IsLostWhereOneSideIsNotFinite) {
  const std::vector<float> a = {1, 2}, b = {1, INFINITY};
  Comparison c;
  c.Add(a.data(), b.data(), 2);
  EXPECT_EQ(c.broken(), 1);
  EXPECT_EQ(c.snr_db(), -INFINITY);
  EXPECT_EQ(c.cosine(), 0);
  EXPECT_EQ(c.max_abs_error(), INFINITY);
  EXPECT_EQ(c.relative_rms(), INFINITY);
}

TEST(Comparison, KnowsZeroReferences) {
  const std::vector<float> zero = {0, 0}, one = {1, 0};
  Comparison same, different, empty;
  same.Add(zero.data(), zero.data(), 2);
  different.Add(zero.data(), one.data(), 2);
  EXPECT_EQ(same.cosine(), 1);
  EXPECT_EQ(same.snr_db(), INFINITY);
  EXPECT_EQ(different.cosine(), 0);
  EXPECT_EQ(different.snr_db(), -INFINITY);
  EXPECT_EQ(different.relative_rms(), INFINITY);
  EXPECT_EQ(empty.top1_agreement(), 1);
  EXPECT_EQ(empty.snr_db(), INFINITY);
}

}  // namespace
}  // namespace tfengine::quant
