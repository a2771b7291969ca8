// SPDX-License-Identifier: Apache-2.0
#include "network/dims.h"

#include <gtest/gtest.h>

#include <random>

namespace tfengine {
namespace {

class DimsTest : public testing::Test {
 protected:
  Dim Parse(const std::string& text) {
    auto d = t.Parse(text);
    EXPECT_TRUE(d.ok()) << d.status().ToString();
    return d.ok() ? *d : Dim(-1);
  }
  std::string Normal(const std::string& text) { return t.ToString(Parse(text)); }
  DimTable t;
  Dim b = t.Symbol("batch"), h = t.Symbol("h"), w = t.Symbol("w");
};

TEST_F(DimsTest, EqualExpressionsAreTheSameDim) {
  EXPECT_EQ(t.Mul(b, t.Add(h, Dim(1))), t.Add(b, t.Mul(h, b)));
  EXPECT_EQ(t.Sub(t.Add(b, h), h), b);
  EXPECT_EQ(t.Sub(b, b), Dim(0));
  EXPECT_EQ(t.Symbol("batch"), b);
  EXPECT_EQ(t.Min(b, h), t.Min(h, b));
}

TEST_F(DimsTest, FloorDivisionsAreExactWhereTermsDivide) {
  EXPECT_EQ(Normal("floordiv(2*batch*h,2*h)"), "batch");
  EXPECT_EQ(Normal("floordiv(batch*h + h,h)"), "batch + 1");
  EXPECT_EQ(Normal("floordiv((h + 1)*(w + 2)*3,w + 2)"), "h*3 + 3");
  EXPECT_EQ(Normal("floordiv(4*h + 3,4)"), "h");
  EXPECT_EQ(Normal("floordiv(h + 3,2)"), "floordiv(h + 1,2) + 1");
  EXPECT_EQ(Normal("floordiv(2*h + 1,4)"), "floordiv(h,2)");
  EXPECT_EQ(Normal("floordiv(h,0)"), "0");
  EXPECT_EQ(Normal("floordiv(0 - 7,2)"), "-4");
  EXPECT_EQ(Normal("floordiv(batch*h + 1,h)"), "batch + floordiv(1,h)");
}

TEST_F(DimsTest, NestedHalvingsMerge) {
  Dim d = h;
  for (int i = 0; i < 5; ++i) d = t.FloorDiv(t.Add(d, Dim(1)), Dim(2));
  EXPECT_EQ(t.ToString(d), "floordiv(h + 31,32)");
}

TEST_F(DimsTest, MinAndMaxAreDecidedBySigns) {
  EXPECT_EQ(t.Max(h, Dim(0)), h);
  EXPECT_EQ(t.Min(t.Add(h, Dim(2)), h), h);
  EXPECT_EQ(Normal("min(h,9)"), Normal("min(9,h)"));
  EXPECT_EQ(t.Min(h, Dim(INT64_MAX)), h);
}

TEST_F(DimsTest, ExactDivisionNeedsEveryTerm) {
  Dim q;
  EXPECT_TRUE(t.DividesExactly(Parse("batch*h*6 + h*4"), Parse("h*2"), &q));
  EXPECT_EQ(t.ToString(q), "batch*3 + 2");
  EXPECT_FALSE(t.DividesExactly(Parse("batch*h + 1"), h, &q));
  EXPECT_FALSE(t.DividesExactly(h, Dim(0), &q));
  EXPECT_TRUE(t.DividesExactly(Parse("(h + w)*(h + w)*(batch + 1)"), Parse("(h + w)*(batch + 1)"), &q));
  EXPECT_EQ(q, t.Add(h, w));
}

TEST_F(DimsTest, OverflowIsAnErrorNotANumber) {
  Dim d = h;
  for (int i = 0; i < 9; ++i) d = t.Mul(d, Dim(1000));
  EXPECT_EQ(t.Mul(d, d), Dim(DimTable::kOverflow));
  EXPECT_FALSE(t.Eval(t.Mul(b, h), {int64_t{1} << 40, int64_t{1} << 40, 1}).ok());
  EXPECT_FALSE(t.Eval(Dim(DimTable::kOverflow), {1, 1, 1}).ok());
  Dim power = t.Add(h, t.Add(w, Dim(1)));
  for (int i = 0; i < 9; ++i) power = t.Mul(power, power);
  EXPECT_EQ(power, Dim(DimTable::kOverflow));
  EXPECT_EQ(t.Add(power, Dim(-5)), Dim(DimTable::kOverflow));
}

TEST_F(DimsTest, SubstitutionReachesIntoFunctions) {
  EXPECT_EQ(t.Substitute(Parse("floordiv(h + 1,2) + batch*h"), t.SymbolIndex(h), Dim(7)), Parse("4 + batch*7"));
  EXPECT_EQ(t.Substitute(Parse("min(h,w)"), t.SymbolIndex(h), w), w);
}

TEST_F(DimsTest, HostileTextIsRejected) {
  for (const char* text : {"", "+", "h +", "floordiv(h", "floordiv(h)", "min(,)", "H", "99999999999999999999", "h h",
                           "(", ")", "h*", "--", "min(h,w,h)", "\xff"})
    EXPECT_FALSE(t.Parse(text).ok()) << text;
  EXPECT_FALSE(t.Parse(std::string(100000, '(')).ok());
  EXPECT_FALSE(t.Parse(std::string(100000, '-')).ok());
}

// Random expressions: normal form, text and substitution keep the value.
TEST_F(DimsTest, RandomExpressionsKeepTheirValue) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  auto pick = [&](int n) { return static_cast<int64_t>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    const std::vector<int64_t> at = {pick(9), pick(50), pick(50)};
    std::vector<std::pair<Dim, int64_t>> pool = {{b, at[0]}, {h, at[1]}, {w, at[2]}};
    for (int step = 0; step < 8; ++step) {
      auto [x, xv] = pool[pick(pool.size())];
      auto [y, yv] = pick(3) ? pool[pick(pool.size())] : std::pair<Dim, int64_t>(Dim(pick(7) - 2), 0);
      if (y.is_const()) yv = y.value;
      const int64_t q = yv == 0 ? 0 : xv / yv - (xv % yv != 0 && (xv < 0) != (yv < 0));
      std::pair<Dim, int64_t> z;
      switch (pick(6)) {
        case 0: z = {t.Add(x, y), xv + yv}; break;
        case 1: z = {t.Sub(x, y), xv - yv}; break;
        case 2: z = {t.Mul(x, y), xv * yv}; break;
        // By a size that is 0, exact division by terms gives the quotient, the plain one 0.
        case 3: z = yv == 0 ? std::pair(x, xv) : std::pair(t.FloorDiv(x, y), q); break;
        case 4: z = {t.Min(x, y), std::min(xv, yv)}; break;
        default: z = {t.Max(x, y), std::max(xv, yv)}; break;
      }
      if (z.first.is(DimTable::kOverflow)) break;
      const std::string text = t.ToString(z.first);
      // A min or max decided on the claim that symbols are >= 0 needs its operands' claims to hold too.
      const auto value = t.Eval(z.first, at);
      if (!value.ok()) break;
      ASSERT_EQ(*value, z.second) << text;
      ASSERT_EQ(Parse(text), z.first) << text;
      DimTable other;
      other.Symbol("w");
      auto copy = other.Parse(text);
      ASSERT_TRUE(copy.ok());
      ASSERT_EQ(other.ToString(*copy), text);
      pool.push_back(z);
    }
  }
}

}  // namespace
}  // namespace tfengine
