// SPDX-License-Identifier: Apache-2.0
#include "quant/transposed.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backends/ref/ref.h"

namespace tfengine::quant {
namespace {

struct Layer {
  int64_t kernel_h, kernel_w, stride, pad, out_h, out_w, in_h, in_w;
};

// The layer with the input's size that its output has as a convolution; pad at both ends.
Layer MakeLayer(int64_t kernel_h, int64_t kernel_w, int64_t stride, int64_t pad, int64_t out_h, int64_t out_w) {
  return {kernel_h, kernel_w, stride, pad, out_h, out_w, (out_h + 2 * pad - kernel_h) / stride + 1, (out_w + 2 * pad - kernel_w) / stride + 1};
}

constexpr int64_t kIn = 3, kOut = 4;

std::shared_ptr<Tensor> Random(std::vector<int64_t> shape, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  auto t = std::make_shared<Tensor>(DType::kFloat32, std::move(shape));
  for (int64_t i = 0; i < t->num_elements(); ++i) t->mutable_as<float>()[i] = uniform(random);
  return t;
}

Network Net(const Layer& l, bool bias = true) {
  const std::string text = fmt::format(R"(network {{
  input %x: f32[batch,{},{},{}]
  const %w: f32[{},{},{},{}] @0
  const %b: f32[{}] @1
  %y = conv2d_transpose(%x, %w{}) {{strides=[{},{}], pads=[{},{},{},{}], output_shape=[batch,{},{},{}], act="relu"}}
  %z = unary(%y) {{kind="neg"}}
  return %z
}}
)",
                                       l.in_h, l.in_w, kIn, l.kernel_h, l.kernel_w, kOut, kIn, kOut, bias ? ", %b" : "", l.stride, l.stride,
                                       l.pad, l.pad, l.pad, l.pad, l.out_h, l.out_w, kOut);
  auto net = ParseNetwork(text, {Random({l.kernel_h, l.kernel_w, kOut, kIn}, 1), Random({kOut}, 2)});
  EXPECT_TRUE(net.ok()) << net.status().ToString();
  return *std::move(net);
}

AssignOptions Options(Precision precision = Precision::kInt8) {
  AssignOptions o;
  o.precision = precision;
  o.half = DType::kBfloat16;
  o.int8 = true;
  o.runs_typed = [](const Node&) { return true; };
  o.ranges = {{"x", {-1, 1}}, {"y", {0, 4}}, {"z", {-4, 0}}};
  return o;
}

bool Has(const Network& net, Op op) {
  return std::any_of(net.nodes().begin(), net.nodes().end(), [&](const Node& n) { return n.op == op; });
}

TEST(TransposedToBlocks, ComputesTheSameOnRandomShapes) {
  std::mt19937 random(3);
  auto any = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  int rewritten = 0;
  for (int i = 0; i < 400; ++i) {
    const int64_t stride = any(2, 4), kernel_h = any(1, 6), kernel_w = any(1, 6), pad = any(0, 2);
    const int64_t out_h = stride * any(1, 6), out_w = stride * any(1, 6);
    if (out_h + 2 * pad < kernel_h || out_w + 2 * pad < kernel_w) continue;
    const Layer layer = MakeLayer(kernel_h, kernel_w, stride, pad, out_h, out_w);
    const Network net = Net(layer, i % 2 == 0);
    SCOPED_TRACE(PrintNetwork(net));
    Network blocks = net;
    AssignOptions options = Options();
    const auto changed = TransposedToBlocks(blocks, options);
    ASSERT_TRUE(changed.ok()) << changed.status().ToString();
    ASSERT_TRUE(Verify(blocks).ok()) << Verify(blocks).ToString();
    EXPECT_EQ(*changed, Has(blocks, Op::kConv2d));
    EXPECT_NE(*changed, Has(blocks, Op::kConv2dTranspose));
    if (!*changed) continue;
    ++rewritten;
    EXPECT_EQ(options.ranges.count("y/blocks"), 1u);
    const auto x = Random({2, layer.in_h, layer.in_w, kIn}, static_cast<unsigned>(i));
    const auto want = ref::Execute(net, {*x}), got = ref::Execute(blocks, {*x});
    ASSERT_TRUE(want.ok() && got.ok());
    for (int64_t k = 0; k < (*want)[0].num_elements(); ++k)
      ASSERT_NEAR((*want)[0].as<float>()[k], (*got)[0].as<float>()[k], 1e-5f);
  }
  EXPECT_GT(rewritten, 60);
}

TEST(TransposedToBlocks, KeepsNamesAndGivesIntegerLayers) {
  const Network net = Net(MakeLayer(2, 2, 2, 0, 8, 12));
  const auto typed = Assign(net, Options());
  ASSERT_TRUE(typed.ok()) << typed.status().ToString();
  int found = 0;
  for (const Node& node : typed->network.nodes()) {
    const Value& v = typed->network.value(node.outputs[0]);
    if (node.op == Op::kConv2d) EXPECT_TRUE(typed->network.value(node.inputs[0]).quant.quantized());
    if (node.op == Op::kDepthToSpace) found += v.name == "y";
  }
  EXPECT_EQ(found, 1);
  bool int8 = false;
  for (const LayerPrecision& layer : typed->layers) int8 = int8 || (layer.name == "y/blocks" && layer.precision == Precision::kInt8);
  EXPECT_TRUE(int8);
}

TEST(TransposedToBlocks, LeavesOthersAlone) {
  auto stays = [](const Network& net, AssignOptions options) {
    Network copy = net;
    const auto changed = TransposedToBlocks(copy, options);
    return changed.ok() && !*changed && PrintNetwork(copy) == PrintNetwork(net);
  };
  const Network net = Net(MakeLayer(2, 2, 2, 0, 8, 12));
  EXPECT_FALSE(stays(net, Options()));
  EXPECT_FALSE(stays(net, Options(Precision::kHalf)));
  EXPECT_TRUE(stays(net, Options(Precision::kF32)));
  EXPECT_TRUE(stays(Net(MakeLayer(3, 3, 2, 0, 9, 9)), Options())) << "no whole blocks";
  EXPECT_TRUE(stays(Net(MakeLayer(1, 1, 4, 0, 8, 8)), Options())) << "nothing but zeros";
  EXPECT_TRUE(stays(Net(MakeLayer(4, 4, 2, 1, 8, 8)), Options(Precision::kHalf))) << "more zeros than 16 bits gain";
  AssignOptions limited = Options();
  limited.limits["y"] = Precision::kF32;
  EXPECT_TRUE(stays(net, limited));
  AssignOptions none = Options();
  none.runs_typed = [](const Node& node) { return node.op != Op::kConv2dTranspose; };
  EXPECT_TRUE(stays(net, none));
}

}  // namespace
}  // namespace tfengine::quant
