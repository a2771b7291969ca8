// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/ref/ref.h"

namespace tfengine::ref {
namespace {

Tensor F32(std::vector<int64_t> shape, std::vector<float> v) {
  Tensor t(DType::kFloat32, std::move(shape));
  std::copy(v.begin(), v.end(), t.mutable_as<float>());
  return t;
}

Result<std::vector<Tensor>> RunText(const std::string& text, const std::vector<Tensor>& inputs,
                                const std::vector<std::shared_ptr<const Tensor>>& constants = {}) {
  auto net = ParseNetwork(text, constants);
  if (!net.ok()) return net.status();
  return Execute(*net, inputs);
}

TEST(TypedRefTest, CodesRoundHalfToEvenAndClamp) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  auto out = RunText(R"(network {
    input %x: f32[n]
    %q = convert(%x) {out=4, out_scale=0.5, out_zero=10, out_lo=1, out_hi=254}
    %y = convert(%q) {out=1}
    return %q, %y
  })", {F32({7}, {0, 0.25f, 0.75f, -0.25f, -100, 1000, nan})});
  ASSERT_TRUE(out.ok()) << out.status().ToString();
  const uint8_t codes[] = {10, 10, 12, 10, 1, 254, 10};
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ((*out)[0].as<uint8_t>()[i], codes[i]) << i;
    EXPECT_EQ((*out)[1].as<float>()[i], 0.5f * (codes[i] - 10)) << i;
  }
}

TEST(TypedRefTest, ProductsRoundTheirWeights) {
  // Steps 0.5 and 1: weights become 1.0 and 2 (2.5 rounds to even), 0.5 and -127.
  auto out = RunText(R"(network {
    input %x: f32[2,2]
    const %w: f32[2,2] @0
    const %steps: f32[2] @1
    %q = convert(%x) {out=4, out_scale=1, out_zero=3}
    %y = matmul(%q, %w, _, _, %steps) {out=1}
    return %y
  })", {F32({2, 2}, {1, 2, -3, 4})}, {std::make_shared<Tensor>(F32({2, 2}, {1.1f, 2.5f, 0.6f, -999})),
                                      std::make_shared<Tensor>(F32({2}, {0.5f, 1}))});
  ASSERT_TRUE(out.ok()) << out.status().ToString();
  const float want[] = {1 * 1.0f + 2 * 0.5f, 1 * 2.0f - 2 * 127, -3 * 1.0f + 4 * 0.5f, -3 * 2.0f - 4 * 127};
  for (int i = 0; i < 4; ++i) EXPECT_EQ((*out)[0].as<float>()[i], want[i]) << i;
}

TEST(TypedRefTest, PaddingAQuantizedTensorWritesTheCodeOfTheValue) {
  auto out = RunText(R"(network {
    input %x: f32[1]
    %q = convert(%x) {out=4, out_scale=0.5, out_zero=100}
    %p = pad(%q) {lo=[1], hi=[0], value=-2.0}
    %y = convert(%p) {out=1}
    return %y
  })", {F32({1}, {3})});
  ASSERT_TRUE(out.ok()) << out.status().ToString();
  EXPECT_EQ((*out)[0].as<float>()[0], -2.0f);
  EXPECT_EQ((*out)[0].as<float>()[1], 3.0f);
}

TEST(TypedRefTest, E4m3RoundsSaturatesAndMovesByValue) {
  auto out = RunText(R"(network {
    input %x: f32[1,2,2,1]
    %q = convert(%x) {out=25, out_scale=0.5}
    %y = convert(%q) {out=1}
    %p = pad(%q) {lo=[0,0,0,0], hi=[0,0,0,1], value=-3.0}
    %z = convert(%p) {out=1}
    %m = pool(%q) {kind="max", ksize=[2,2]}
    %t = convert(%m) {out=1}
    return %y, %z, %t
  })", {F32({1, 2, 2, 1}, {-1.05f, 0.53125f, -1e9f, -0.25f})});
  ASSERT_TRUE(out.ok()) << out.status().ToString();
  const float want[] = {-1, 0.5f, -224, -0.25f};  // 1.0625 lies between 1.0 and 1.125: to even
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ((*out)[0].as<float>()[i], want[i]) << i;
    EXPECT_EQ((*out)[1].as<float>()[2 * i], want[i]) << i;
    EXPECT_EQ((*out)[1].as<float>()[2 * i + 1], -3.0f) << i;
  }
  EXPECT_EQ((*out)[2].as<float>()[0], 0.5f);
}

TEST(TypedRefTest, ProductsOfE4m3RoundTheirWeightsToIt) {
  // In steps of 0.5 and 1: 2.2 and 5.1 become 2.25 and 5, 1.2 and -999 become 1.25 and -448.
  auto out = RunText(R"(network {
    input %x: f32[1,2]
    const %w: f32[2,2] @0
    const %steps: f32[2] @1
    %q = convert(%x) {out=25, out_scale=1}
    %y = matmul(%q, %w, _, _, %steps) {out=1}
    return %y
  })", {F32({1, 2}, {1, 2.1f})}, {std::make_shared<Tensor>(F32({2, 2}, {1.1f, 1.2f, 2.55f, -999})),
                                  std::make_shared<Tensor>(F32({2}, {0.5f, 1}))});
  ASSERT_TRUE(out.ok()) << out.status().ToString();
  EXPECT_EQ((*out)[0].as<float>()[0], 1 * 1.125f + 2 * 2.5f);
  EXPECT_EQ((*out)[0].as<float>()[1], 1 * 1.25f - 2 * 448);
}

TEST(TypedRefTest, SixteenBitResultsAreRounded) {
  auto out = RunText(R"(network {
    input %x: f32[1]
    %b = unary(%x) {kind="square", out=14}
    %y = convert(%b) {out=1}
    return %y
  })", {F32({1}, {1.0f + 1.0f / 64})});
  ASSERT_TRUE(out.ok()) << out.status().ToString();
  EXPECT_EQ((*out)[0].as<float>()[0], 1.03125f);  // 1.031494... to 8 bits
}

}  // namespace
}  // namespace tfengine::ref
