// SPDX-License-Identifier: Apache-2.0
// Resize, cumulative, arg_reduce, top_k, cast.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/kernels/arg_reduce.h"
#include "backends/cpu/kernels/cast.h"
#include "backends/cpu/kernels/cumulative.h"
#include "backends/cpu/kernels/resize.h"
#include "backends/cpu/kernels/test_util.h"

namespace tfengine::cpu {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Resize, AgreesWithNaiveInterpolation) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ResizeShape s{random.Int(0, 2), random.Int(1, 12), random.Int(1, 12), random.Int(1, 40), random.Int(1, 25), random.Int(1, 300)};
    s.align_corners = seed % 3 == 1;
    s.half_pixel = seed % 3 == 2;
    Buffer<float> x = random.Floats(s.batch * s.in_h * s.in_w * s.channels);
    Buffer<float> y(s.batch * s.out_h * s.out_w * s.channels), z(y.size());
    ResizeBilinear(s, x.data(), y.data(), gangs[1 + seed % 3]);
    ResizeNearest(s, x.data(), 4, z.data(), gangs[1 + seed % 3]);
    auto position = [&](int64_t at, int64_t in, int64_t out, float shift) {
      const float scale = s.align_corners && out > 1 ? (in - 1) / static_cast<float>(out - 1) : in / static_cast<float>(out);
      return s.half_pixel ? (at + 0.5f) * scale - shift : at * scale;
    };
    for (int64_t i = 0; i < y.size(); ++i) {
      const int64_t c = i % s.channels, ox = i / s.channels % s.out_w, oy = i / s.channels / s.out_w % s.out_h;
      const int64_t b = i / s.channels / s.out_w / s.out_h;
      auto at = [&](double v, double h) {
        const int64_t iy = std::clamp<int64_t>(static_cast<int64_t>(v), 0, s.in_h - 1);
        const int64_t ix = std::clamp<int64_t>(static_cast<int64_t>(h), 0, s.in_w - 1);
        return double{x[((b * s.in_h + iy) * s.in_w + ix) * s.channels + c]};
      };
      const float v = position(oy, s.in_h, s.out_h, 0.5f), h = position(ox, s.in_w, s.out_w, 0.5f);
      const double wy = v - std::floor(v), wx = h - std::floor(h);
      const double top = at(std::floor(v), std::floor(h)) * (1 - wx) + at(std::floor(v), std::ceil(h)) * wx;
      const double bottom = at(std::ceil(v), std::floor(h)) * (1 - wx) + at(std::ceil(v), std::ceil(h)) * wx;
      ASSERT_TRUE(Close(y[i], top * (1 - wy) + bottom * wy, 1e-6));
      const float nv = position(oy, s.in_h, s.out_h, 0), nh = position(ox, s.in_w, s.out_w, 0);
      ASSERT_EQ(z[i], s.align_corners ? at(std::round(nv), std::round(nh)) : at(std::floor(nv), std::floor(nh)));
    }
  }
}

// Values printed by TensorFlow 2.21: ResizeBilinear and ResizeNearestNeighbor of [[0,1,2],[3,4,5]] to 3 x 4.
TEST(Resize, GivesTensorFlowsValues) {
  Gang gang;
  const float x[] = {0, 1, 2, 3, 4, 5};
  const float bilinear[3][12] = {
      {0, 0.75f, 1.5f, 2, 2, 2.75f, 3.5f, 4, 3, 3.75f, 4.5f, 5},
      {0, 2 / 3.0f, 4 / 3.0f, 2, 1.5f, 13 / 6.0f, 17 / 6.0f, 3.5f, 3, 11 / 3.0f, 13 / 3.0f, 5},
      {0, 0.625f, 1.375f, 2, 1.5f, 2.125f, 2.875f, 3.5f, 3, 3.625f, 4.375f, 5}};
  const float nearest[3][12] = {
      {0, 0, 1, 2, 0, 0, 1, 2, 3, 3, 4, 5}, {0, 1, 1, 2, 3, 4, 4, 5, 3, 4, 4, 5}, {0, 1, 1, 2, 3, 4, 4, 5, 3, 4, 4, 5}};
  for (int mode = 0; mode < 3; ++mode) {
    ResizeShape s{1, 2, 3, 1, 3, 4, mode == 1, mode == 2};
    float y[12];
    ResizeBilinear(s, x, y, gang);
    for (int i = 0; i < 12; ++i) EXPECT_NEAR(y[i], bilinear[mode][i], 1e-6) << mode << " " << i;
    ResizeNearest(s, x, 4, y, gang);
    for (int i = 0; i < 12; ++i) EXPECT_EQ(y[i], nearest[mode][i]) << mode << " " << i;
  }
}

TEST(Cumulative, AgreesWithNaiveLoopsInPlace) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t outer = random.Int(0, 5), axis = random.Int(0, 40), inner = random.OneIn(5) ? 300 : random.Int(0, 9);
    const bool exclusive = random.OneIn(2), reverse = random.OneIn(2);
    const auto op = static_cast<CumulativeOp>(seed % 2);
    Buffer<float> x = random.Floats(outer * axis * inner, 0.8f, 1.2f), y = x;
    Cumulative(op, y.data(), outer, axis, inner, exclusive, reverse, y.data(), gangs[1 + seed % 3]);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        double total = op == CumulativeOp::k_sum ? 0 : 1;
        for (int64_t a = 0; a < axis; ++a) {
          const int64_t at = (o * axis + (reverse ? axis - 1 - a : a)) * inner + i;
          const double before = total;
          total = op == CumulativeOp::k_sum ? total + x[at] : total * x[at];
          ASSERT_TRUE(Close(y[at], exclusive ? before : total, SumTolerance(axis, std::fabs(total) + 1)));
        }
      }
    }
  }
}

TEST(ArgReduce, FindsTheFirstExtremeAndSkipsNanAsTensorFlow) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t outer = random.Int(0, 6), axis = random.Int(1, 40), inner = random.OneIn(4) ? 500 : random.Int(1, 5);
    Buffer<float> x(outer * axis * inner);
    for (float& v : x) v = random.OneIn(8) ? kNan : static_cast<float>(random.Int(-5, 5));
    Buffer<int64_t> y(outer * inner);
    Buffer<int32_t> z(outer * inner);
    for (auto op : {ArgReduceOp::k_max, ArgReduceOp::k_min}) {
      ArgReduce(op, x.data(), outer, axis, inner, DType::kInt64, y.data(), gangs[1 + seed % 3]);
      ArgReduce(op, x.data(), outer, axis, inner, DType::kInt32, z.data(), gangs[1 + seed % 3]);
      for (int64_t i = 0; i < y.size(); ++i) {
        int64_t best = 0;
        float value = op == ArgReduceOp::k_max ? -100 : 100;
        for (int64_t a = 0; a < axis; ++a) {
          const float v = x[(i / inner * axis + a) * inner + i % inner];
          if (op == ArgReduceOp::k_max ? v > value : v < value) value = v, best = a;
        }
        ASSERT_EQ(y[i], best);
        ASSERT_EQ(z[i], best);
      }
    }
  }
}

TEST(TopK, SortsByValueThenIndex) {
  Gangs gangs;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t rows = random.Int(0, 8), cols = random.OneIn(5) ? 2000 : random.Int(1, 60), k = random.Int(0, cols);
    Buffer<float> x(rows * cols), values(rows * k);
    for (float& v : x) v = random.OneIn(30) ? kNan : static_cast<float>(random.Int(-9, 9));
    Buffer<int32_t> indices(rows * k);
    TopK(x.data(), rows, cols, k, values.data(), indices.data(), gangs[1 + seed % 3]);
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<int32_t> order(cols);
      for (int32_t i = 0; i < cols; ++i) order[i] = i;
      auto key = [&](int32_t i) { return std::isnan(x[r * cols + i]) ? -kInf : x[r * cols + i]; };
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) > key(b); });
      for (int64_t i = 0; i < k; ++i) {
        ASSERT_EQ(indices[r * k + i], order[i]);
        ASSERT_TRUE(Close(values[r * k + i], x[r * cols + order[i]], 0));
      }
    }
  }
}

template <typename To>
void ExpectCast(std::vector<float> x, DType type, std::vector<To> want) {
  Gang gang;
  // Long enough for the vector part of the loops.
  std::vector<float> many;
  for (int i = 0; i < 40; ++i) many.insert(many.end(), x.begin(), x.end());
  for (CpuIsa isa : TestedIsas()) {
    Buffer<To> y(static_cast<int64_t>(many.size()));
    Cast(many.data(), DType::kFloat32, y.data(), type, y.size(), gang, isa);
    for (int64_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(y[i], want[i % want.size()]) << DTypeName(type) << " of " << many[i] << " on " << CpuIsaName(isa);
    }
  }
}

// Values printed by TensorFlow 2.21 on x86.
TEST(Cast, GivesTensorFlowsValues) {
  constexpr int64_t kMin64 = std::numeric_limits<int64_t>::min();
  ExpectCast<int32_t>({kNan, kInf, -kInf, 3e9f, -3e9f, 2.7f, -2.7f}, DType::kInt32,
                      {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, 2, -2});
  ExpectCast<uint8_t>({kNan, kInf, -kInf, 3e9f, -1.5f, 300, -2.7f}, DType::kUint8, {0, 0, 0, 0, 255, 44, 254});
  ExpectCast<int64_t>({kNan, kInf, -kInf, 1e19f, -1.5f}, DType::kInt64, {kMin64, kMin64, kMin64, kMin64, -1});
  ExpectCast<int8_t>({kNan, kInf, 300, -200, -2.7f}, DType::kInt8, {0, 0, 44, 56, -2});
  ExpectCast<int16_t>({kNan, kInf, -kInf, 70000, -1.5f, 5e9f}, DType::kInt16, {0, 0, 0, 4464, -1, 0});
  ExpectCast<uint16_t>({kNan, kInf, -kInf, 70000, -1.5f, 5e9f}, DType::kUint16, {0, 0, 0, 4464, 65535, 0});
  ExpectCast<uint32_t>({kNan, kInf, -kInf, 3e9f, -1.5f, 5e9f}, DType::kUint32, {0, 0, 0, 3000000000u, 4294967295u, 705032704u});
  constexpr uint64_t kTop = uint64_t{1} << 63;
  ExpectCast<uint64_t>({kNan, kInf, -kInf, 1e19f, -1.5f, 5e9f}, DType::kUint64,
                       {kTop, kTop, kTop, 9999999980506447872u, 18446744073709551615u, 5000000000u});
  ExpectCast<bool>({kNan, 0, -0.0f, 1}, DType::kBool, {true, false, false, true});
  // The bits of 16-bit floats: ties to even, overflow, subnormal numbers.
  ExpectCast<uint16_t>({kNan, 1.00390625f, 1.01171875f, 3.4e38f, 1e-40f, -2}, DType::kBfloat16,
                       {0x7fc0, 0x3f80, 0x3f82, 0x7f80, 0x0001, 0xc000});
  ExpectCast<uint16_t>({kInf, 1, 65504, 65519.99f, 65520, 1e-8f, 6e-8f, 0x1p-25f, 3 * 0x1p-25f, 1 + 0x1p-11f, -2}, DType::kFloat16,
                       {0x7c00, 0x3c00, 0x7bff, 0x7bff, 0x7c00, 0, 1, 0, 2, 0x3c00, 0xc000});
}

TEST(Cast, ReturnsEveryHalfUnchangedThroughFloat) {
  Gangs gangs;
  Buffer<uint16_t> x(65536), back(65536);
  Buffer<float> wide(65536);
  for (int64_t i = 0; i < 65536; ++i) x[i] = static_cast<uint16_t>(i);
  for (DType type : {DType::kFloat16, DType::kBfloat16}) {
    for (CpuIsa isa : TestedIsas()) {
      Cast(x.data(), type, wide.data(), DType::kFloat32, 65536, gangs[3], isa);
      Cast(wide.data(), DType::kFloat32, back.data(), type, 65536, gangs[3], isa);
      for (int64_t i = 0; i < 65536; ++i) ASSERT_TRUE(back[i] == x[i] || std::isnan(wide[i])) << i;
    }
  }
  EXPECT_EQ(wide[0x3f80], 1.0f);
}

TEST(Cast, ConvertsBetweenAllPairs) {
  Gang gang;
  constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBfloat16, DType::kInt8, DType::kInt16, DType::kInt32,
                              DType::kInt64,   DType::kUint8,   DType::kUint16,  DType::kUint32,   DType::kUint64, DType::kBool};
  for (DType from : kTypes) {
    for (DType to : kTypes) {
      EXPECT_TRUE(CastSupported(from, to));
      // 0 and 1 survive every chain of conversions.
      const float x[] = {0, 1, 1};
      alignas(8) char a[24], b[24];
      float y[3];
      Cast(x, DType::kFloat32, a, from, 3, gang);
      Cast(a, from, b, to, 3, gang);
      Cast(b, to, y, DType::kFloat32, 3, gang);
      EXPECT_THAT(y, testing::ElementsAre(0, 1, 1)) << DTypeName(from) << " to " << DTypeName(to);
    }
  }
  EXPECT_FALSE(CastSupported(DType::kString, DType::kFloat32));
}

}  // namespace
}  // namespace tfengine::cpu
