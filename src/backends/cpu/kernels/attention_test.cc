// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/attention.h"

#include <limits>

#include "backends/cpu/kernels/typed_test_util.h"

namespace tfengine::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

void Check(const AttentionShape& s, CpuIsa isa, Gang& gang, Random& random, float magnitude, const AttentionFormats& f = {}) {
  auto size = [&](const AttentionLayout& x, int64_t rows, int64_t depth) {
    if (s.batch * s.heads * rows * depth == 0) return int64_t{0};
    return (s.batch - 1) * x.batch + (s.heads - 1) * x.head + (rows - 1) * x.row + depth;
  };
  const TypedBuffer q = RandomValues(random, f.q, size(s.q, s.queries, s.depth), -magnitude, magnitude);
  const TypedBuffer k = RandomValues(random, f.k, size(s.k, s.keys, s.depth), -magnitude, magnitude);
  const TypedBuffer v = RandomValues(random, f.v, size(s.v, s.keys, s.value_depth), -1, 1);
  TypedBuffer o(f.o, size(s.o, s.queries, s.value_depth));
  const AttentionMaskLayout& m = s.mask_layout;
  int64_t mask_size = 0;
  if (s.batch * s.heads * s.queries * s.keys > 0) {
    mask_size = (s.batch - 1) * m.batch + (s.heads - 1) * m.head + (s.queries - 1) * m.query + (s.keys - 1) * m.key + 1;
  }
  TypedBuffer add = RandomValues(random, f.mask, mask_size, -2, 2);
  Buffer<bool> keep(mask_size);
  for (bool& b : keep) b = random.OneIn(3);
  if (random.OneIn(3)) std::fill(keep.begin(), keep.end(), false);
  if (random.OneIn(3) && f.mask.storage == Storage::kF32) {
    for (int64_t i = 0; i < mask_size; ++i)
      if (random.OneIn(3)) static_cast<float*>(add.data())[i] = -kInf;
  }
  AttentionArgs args{q.data(), k.data(), v.data(), nullptr, o.data(), f};
  if (s.mask == AttentionMask::kAdd) args.mask = add.data();
  if (s.mask == AttentionMask::kBoolAdd || s.mask == AttentionMask::kBoolSelect) args.mask = keep.data();
  Buffer<char> scratch(AttentionScratchBytes(s, gang.threads(), isa, f), char{-1});
  Attention(s, args, scratch.data(), gang, isa);

  std::vector<double> score(s.keys);
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t h = 0; h < s.heads; ++h) {
      for (int64_t i = 0; i < s.queries; ++i) {
        double max = -kInf, sum = 0;
        for (int64_t j = 0; j < s.keys; ++j) {
          double dot = 0;
          for (int64_t d = 0; d < s.depth; ++d) {
            dot += q[b * s.q.batch + h * s.q.head + i * s.q.row + d] * k[b * s.k.batch + h * s.k.head + j * s.k.row + d];
          }
          dot *= s.scale;
          const int64_t at = b * m.batch + h * m.head + i * m.query + j * m.key;
          if (s.mask == AttentionMask::kAdd) dot += add[at];
          // As float: a score disappears beside a large negative number.
          if (s.mask == AttentionMask::kBoolAdd && !keep[at]) dot = static_cast<float>(dot) + s.masked;
          if (s.mask == AttentionMask::kBoolSelect && !keep[at]) dot = s.masked;
          score[j] = dot;
          max = std::max(max, dot);
        }
        for (double& w : score) sum += w = std::exp(w - max);
        for (int64_t d = 0; d < s.value_depth; ++d) {
          double want = 0;
          for (int64_t j = 0; j < s.keys; ++j) want += score[j] / sum * v[b * s.v.batch + h * s.v.head + j * s.v.row + d];
          double tolerance = SumTolerance(s.keys, 1) + 2 * SumTolerance(s.depth, magnitude * magnitude * s.depth * s.scale);
          if (f.v.storage == Storage::kBf16) tolerance += 0x1p-9;  // exponentials may be rounded
          if (f.v.storage == Storage::kU8) tolerance *= 4;         // values up to 4
          ASSERT_TRUE(Rounded(o, b * s.o.batch + h * s.o.head + i * s.o.row + d, want, tolerance))
              << "at " << b << "," << h << "," << i << "," << d << " keys " << s.keys << " mask " << static_cast<int>(s.mask)
              << " isa " << CpuIsaName(isa);
        }
      }
    }
  }
}

TEST(Attention, AgreesWithNaiveLoopsOnRandomShapes) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 80; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    AttentionShape s;
    s.batch = random.OneIn(20) ? 0 : random.Int(1, 3), s.heads = random.Int(1, 4);
    s.queries = random.OneIn(20) ? 0 : random.OneIn(5) ? 1 : random.Int(1, 70);
    s.keys = random.Int(1, 70);
    if (random.OneIn(8)) s.keys = random.Int(500, 1300), s.queries = random.Int(1, 9);
    if (random.OneIn(15)) s.queries = random.Int(250, 600), s.batch = 1;
    s.depth = random.OneIn(2) ? 64 : random.Int(1, 80);
    s.value_depth = random.OneIn(2) ? s.depth : random.Int(1, 80);
    auto layout = [&](int64_t rows, int64_t depth) {
      AttentionLayout x = random.OneIn(2) ? AttentionBSHD(rows, s.heads, depth) : AttentionBHSD(rows, s.heads, depth);
      if (random.OneIn(4)) x = {3 * rows * s.heads * depth, depth, 3 * s.heads * depth};  // part of a fused QKV
      return x;
    };
    s.q = layout(s.queries, s.depth), s.k = layout(s.keys, s.depth), s.v = layout(s.keys, s.value_depth);
    s.o = layout(s.queries, s.value_depth);
    s.scale = 1 / std::sqrt(static_cast<float>(s.depth));
    s.mask = static_cast<AttentionMask>(random.Int(0, 3));
    const bool per_head = random.OneIn(2), per_query = random.OneIn(2);
    s.mask_layout = {s.keys * (per_query ? s.queries : 1) * (per_head ? s.heads : 1), per_head ? s.keys * (per_query ? s.queries : 1) : 0,
                     per_query ? s.keys : 0, 1};
    if (random.OneIn(10)) s.mask_layout = {s.queries, 0, 1, 0};
    if (random.OneIn(2)) s.masked = -3e38f * 0.7f;
    for (CpuIsa isa : TestedIsas()) Check(s, isa, gangs[1 + seed % 3], random, random.OneIn(4) ? 4.0f : 1.0f);
    if (HasFatalFailure()) return;
    // All bf16 (pairs along the depth need an even one), and any mixture.
    if (s.masked < -1e30f) s.masked = -1e9f;
    AttentionFormats f{{Storage::kBf16}, {Storage::kBf16}, {Storage::kBf16}, {}, {}};
    auto any = [&](float scale) {
      return Format{kAllStorages[random.Int(0, 2)], scale, static_cast<int32_t>(random.Int(100, 140))};
    };
    f.o = any(0.01f), f.mask = any(0.02f);
    for (CpuIsa isa : TestedIsas()) Check(s, isa, gangs[1 + seed % 3], random, 1, f);
    f.q = any(0.01f), f.k = any(0.01f), f.v = any(0.01f);
    for (CpuIsa isa : TestedIsas()) Check(s, isa, gangs[1 + seed % 3], random, 1, f);
    if (HasFatalFailure()) return;
  }
}

TEST(Attention, GivesTheMeanOfTheValuesWhenEveryKeyIsMasked) {
  Gang gang;
  AttentionShape s{.batch = 1, .heads = 1, .queries = 2, .keys = 3, .depth = 2, .value_depth = 1};
  s.q = s.k = {0, 0, 2}, s.v = s.o = {0, 0, 1};
  s.mask = AttentionMask::kBoolSelect;
  const float q[] = {5, 1, 0, -3}, k[] = {1, 2, 3, 4, 5, 6}, v[] = {1, 2, 6};
  const bool keep[] = {false, false, false};
  float o[2];
  for (CpuIsa isa : TestedIsas()) {
    Buffer<char> scratch(AttentionScratchBytes(s, 1, isa));
    Attention(s, {q, k, v, keep, o}, scratch.data(), gang, isa);
    EXPECT_FLOAT_EQ(o[0], 3);
    EXPECT_FLOAT_EQ(o[1], 3);
  }
  s.keys = 0;
  Attention(s, {q, k, v, keep, o}, nullptr, gang);
  EXPECT_EQ(o[0], 0);
}

}  // namespace
}  // namespace tfengine::cpu
