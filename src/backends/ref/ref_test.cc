// SPDX-License-Identifier: Apache-2.0
// Tiny cases by hand; tests/ops compares every op with TensorFlow.
#include "backends/ref/ref.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/ref/element.h"

namespace tfengine::ref {
namespace {

using testing::ElementsAre;

template <typename T>
Tensor Make(DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  Tensor t(dtype, std::move(shape));
  std::copy(values.begin(), values.end(), t.mutable_as<T>());
  return t;
}
Tensor F32(std::vector<int64_t> shape, const std::vector<float>& values) {
  return Make(DType::kFloat32, std::move(shape), values);
}
Tensor I32(std::vector<int64_t> shape, const std::vector<int32_t>& values) {
  return Make(DType::kInt32, std::move(shape), values);
}

Result<std::vector<Tensor>> RunText(const std::string& body, const std::vector<Tensor>& inputs) {
  auto net = ParseNetwork("network {\n" + body + "\n}", {});
  if (!net.ok()) return net.status();
  return Execute(*net, inputs);
}

std::vector<double> Values(const std::string& body, const std::vector<Tensor>& inputs) {
  auto results = RunText(body, inputs);
  EXPECT_TRUE(results.ok()) << results.status().ToString();
  if (!results.ok()) return {};
  std::vector<double> values;
  WithWideType((*results)[0].dtype(), [&](auto tag) {
    for (auto v : Read<decltype(tag)>((*results)[0])) values.push_back(static_cast<double>(v));
  });
  return values;
}

TEST(Ref, ConvolutionWithPaddingBiasAndResidual) {
  const Tensor x = F32({1, 2, 2, 1}, {1, 2, 3, 4}), f = F32({2, 2, 1, 1}, {1, 10, 100, 1000}), bias = F32({1}, {0.5f}),
               residual = F32({1, 2, 2, 1}, {0, 0, 0, -10000});
  EXPECT_THAT(Values(R"(input %x: f32[n,2,2,1]
    input %f: f32[2,2,1,1]
    input %b: f32[1]
    input %r: f32[n,2,2,1]
    %y = conv2d(%x, %f, %b, %r) {pads=[0,1,0,1], act=relu}
    return %y)", {x, f, bias, residual}),
              ElementsAre(4321.5, 402.5, 43.5, 0));
}

TEST(Ref, GroupsKeepChannelsApart) {
  EXPECT_THAT(Values(R"(input %x: f32[1,1,1,2]
    input %f: f32[1,1,1,4]
    %y = conv2d(%x, %f) {groups=2}
    return %y)", {F32({1, 1, 1, 2}, {1, 10}), F32({1, 1, 1, 4}, {1, 2, 3, 4})}),
              ElementsAre(1, 2, 30, 40));
}

TEST(Ref, MatMulBroadcastsAndTransposes) {
  EXPECT_THAT(Values(R"(input %a: i32[2,1,2]
    input %b: i32[2,2]
    %y = matmul(%a, %b) {transpose_b=true}
    return %y)", {I32({2, 1, 2}, {1, 2, 3, 4}), I32({2, 2}, {1, 0, 10, 100})}),
              ElementsAre(1, 210, 3, 430));
}

TEST(Ref, AveragePoolingLeavesPaddingOut) {
  EXPECT_THAT(Values(R"(input %x: f32[1,2,2,1]
    %y = pool(%x) {kind=avg, ksize=[2,2], pads=[0,1,0,1]}
    return %y)", {F32({1, 2, 2, 1}, {1, 2, 3, 4})}),
              ElementsAre(2.5, 3, 3.5, 4));
}

TEST(Ref, IntegerDivisionRoundsAsTheKindSays) {
  const std::vector<Tensor> in = {I32({4}, {7, -7, 7, -7}), I32({4}, {2, 2, -2, -2})};
  auto run = [&](const std::string& kind) {
    return Values("input %a: i32[4]\ninput %b: i32[4]\n%y = binary(%a, %b) {kind=" + kind + "}\nreturn %y", in);
  };
  EXPECT_THAT(run("div"), ElementsAre(3, -3, -3, 3));
  EXPECT_THAT(run("floor_div"), ElementsAre(3, -4, -4, 3));
  EXPECT_THAT(run("floor_mod"), ElementsAre(1, 1, -1, -1));
  EXPECT_THAT(run("truncate_mod"), ElementsAre(1, -1, 1, -1));
}

TEST(Ref, ErrorsNameTheNode) {
  auto divided = RunText("input %a: i32[1]\n%y = binary(%a, %a) {kind=floor_div} \"half\"\nreturn %y", {I32({1}, {0})});
  EXPECT_EQ(divided.status().error_id(), static_cast<int>(ErrorId::kArithmetic));
  EXPECT_NE(divided.status().message().find("\"half\""), std::string::npos);
  auto gathered = RunText("input %x: f32[n]\ninput %i: i32[1]\n%y = gather(%x, %i) {axis=0}\nreturn %y",
                          {F32({2}, {1, 2}), I32({1}, {2})});
  EXPECT_EQ(gathered.status().error_id(), static_cast<int>(ErrorId::kIndexOutOfRange));
  auto sliced = RunText("input %x: f32[n]\n%y = slice(%x) {begin=[1], size=[2]}\nreturn %y", {F32({2}, {1, 2})});
  EXPECT_EQ(sliced.status().error_id(), static_cast<int>(ErrorId::kShapeUnsupported));
  auto wrong = RunText("input %x: f32[n]\nreturn %x", {I32({2}, {1, 2})});
  EXPECT_EQ(wrong.status().error_id(), static_cast<int>(ErrorId::kInputMismatch));
  auto negative = RunText("input %x: f32[n,4]\n%y = slice(%x) {begin=[0,0], size=[n - 3,4]}\nreturn %y",
                          {F32({2, 4}, std::vector<float>(8))});
  EXPECT_EQ(negative.status().error_id(), static_cast<int>(ErrorId::kShapeUnsupported));
}

TEST(Ref, SizesBecomeData) {
  EXPECT_THAT(Values("input %x: f32[n,m]\n%y = dims() {values=[n,m,n*m], dtype=i64, shape=[3]}\nreturn %y",
                     {F32({2, 3}, std::vector<float>(6))}),
              ElementsAre(2, 3, 6));
}

TEST(Ref, SixteenBitFloatsRoundHalfToEven) {
  EXPECT_EQ(FloatToHalf(1.0f), 0x3c00);
  EXPECT_EQ(FloatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(1 + 0x1p-11f), 0x3c00);
  EXPECT_EQ(FloatToHalf(1 + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(FloatToHalf(0x1p-25f), 0);
  EXPECT_EQ(FloatToHalf(-3 * 0x1p-25f), 0x8002);
  EXPECT_EQ(FloatToBfloat16(1 + 0x1p-8f), 0x3f80);
  EXPECT_EQ(FloatToBfloat16(1 + 3 * 0x1p-8f), 0x3f82);
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float v = HalfToFloat(static_cast<uint16_t>(bits));
    if (v == v) {
      ASSERT_EQ(FloatToHalf(v), bits);
    }
    const float b = Bfloat16ToFloat(static_cast<uint16_t>(bits));
    if (b == b) {
      ASSERT_EQ(FloatToBfloat16(b), bits);
    }
  }
}

}  // namespace
}  // namespace tfengine::ref
