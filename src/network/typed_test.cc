// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "network/network.h"

namespace tfengine {
namespace {

constexpr char kTyped[] = R"(network {
  input %x: f32[batch,4,4,3]
  const %w: f32[1,1,3,8] @0
  const %steps: f32[8] @1
  %q: u8[batch,4,4,3] = convert(%x) {out=4, out_scale=0.5, out_zero=7}
  %y: u8[batch,4,4,8] = conv2d(%q, %w, _, _, %steps) {act=relu, out=4, out_lo=1, out_scale=0.25, out_zero=128}
  %m: u8[batch,2,2,8] = pool(%y) {kind=max, ksize=[2,2], strides=[2,2]}
  %r: bf16[batch,2,2,8] = convert(%m) {out=14}
  return %r
}
)";

std::vector<std::shared_ptr<const Tensor>> Constants() {
  return {std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{1, 1, 3, 8}),
          std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{8})};
}

TEST(TypedNetworkTest, QuantizationIsInferredAndRoundTrips) {
  auto net = ParseNetwork(kTyped, Constants());
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  EXPECT_TRUE(Verify(*net).ok());
  EXPECT_EQ(PrintNetwork(*net), kTyped);
  const Quant y = {0.25f, 128};
  for (const Value& v : net->values()) {
    if (v.name == "y" || v.name == "m") EXPECT_EQ(v.quant, y) << v.name;  // pooling keeps it
    if (v.name == "r" || v.name == "x") EXPECT_FALSE(v.quant.quantized()) << v.name;
  }
}

TEST(TypedNetworkTest, E4m3IsInferredAndRoundTrips) {
  constexpr char kText[] = R"(network {
  input %x: f32[batch,4,4,3]
  const %w: f32[1,1,3,8] @0
  const %steps: f32[8] @1
  %q: f8e4m3[batch,4,4,3] = convert(%x) {out=25, out_scale=0.5}
  %y: f8e4m3[batch,4,4,8] = conv2d(%q, %w, _, _, %steps) {act=relu, out=25, out_scale=0.25}
  %m: f8e4m3[batch,2,2,8] = pool(%y) {kind=max, ksize=[2,2], strides=[2,2]}
  %r: f16[batch,2,2,8] = convert(%m) {out=19}
  return %r
}
)";
  auto net = ParseNetwork(kText, Constants());
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  EXPECT_TRUE(Verify(*net).ok());
  EXPECT_EQ(PrintNetwork(*net), kText);
}

void ExpectRefused(const std::string& body, const std::string& why) {
  const std::string text = "network {\n  input %x: f32[batch,4]\n  input %b: u8[batch,4]\n  const %w: f32[4,4] @0\n" + body + "  return %y\n}\n";
  auto net = ParseNetwork(text, {std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{4, 4})});
  ASSERT_FALSE(net.ok()) << body;
  EXPECT_THAT(net.status().message(), testing::HasSubstr(why)) << body;
}

TEST(TypedNetworkTest, NonsenseIsRefused) {
  ExpectRefused("  %y = convert(%x)\n", "out is missing");
  ExpectRefused("  %y = convert(%x) {out=4}\n", "out_scale");
  ExpectRefused("  %y = convert(%x) {out=4, out_scale=1, out_zero=300}\n", "out_zero");
  ExpectRefused("  %y = convert(%x) {out=14, out_scale=1}\n", "only for out = u8 or f8e4m3");
  ExpectRefused("  %y = convert(%x) {out=3}\n", "expected f32, bf16, f16, u8 or f8e4m3");
  ExpectRefused("  %y = convert(%b) {out=1}\n", "expected a real tensor");  // a plain u8 tensor holds integers
  ExpectRefused("  %y = convert(%x) {out=25}\n", "out_scale");
  ExpectRefused("  %y = convert(%x) {out=25, out_scale=1, out_zero=3}\n", "out_zero: only for out = u8");
  ExpectRefused("  %y = cast(%x) {dtype=25}\n", "expected an element type");
  ExpectRefused("  %y = reshape(%x) {shape=[batch,4], out=14}\n", "no typed form");
  ExpectRefused("  %q = convert(%x) {out=4, out_scale=1, out_zero=0}\n  %y = unary(%q) {kind=\"exp\"}\n", "without attribute out");
  ExpectRefused("  %q = convert(%x) {out=4, out_scale=1, out_zero=0}\n  %y = matmul(%q, %w) {out=1}\n", "steps are missing");
  ExpectRefused("  %q = convert(%x) {out=4, out_scale=1, out_zero=0}\n  %r = convert(%x) {out=4, out_scale=2, out_zero=0}\n"
                "  %y = concat(%q, %r) {axis=1}\n", "differs");
}

}  // namespace
}  // namespace tfengine
