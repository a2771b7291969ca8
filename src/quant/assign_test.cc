// SPDX-License-Identifier: Apache-2.0
#include "quant/assign.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backends/ref/ref.h"

namespace tfengine::quant {
namespace {

std::shared_ptr<const Tensor> Random(std::vector<int64_t> shape, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  auto t = std::make_shared<Tensor>(DType::kFloat32, std::move(shape));
  for (int64_t i = 0; i < t->num_elements(); ++i) t->mutable_as<float>()[i] = normal(random);
  return t;
}

// A residual block, a max pool, a global mean and a classifier.
constexpr char kConvNet[] = R"(network {
  input %x: f32[batch,6,6,3]
  const %w1: f32[3,3,3,8] @0
  const %w2: f32[3,3,8,8] @1
  const %w3: f32[1,1,8,8] @2
  const %wd: f32[8,5] @3
  %a = conv2d(%x, %w1) {pads=[1,1,1,1], act="relu"}
  %b = conv2d(%a, %w2) {pads=[1,1,1,1], act="relu"}
  %c = conv2d(%b, %w3, _, %a) {act="relu"}
  %p = pool(%c) {kind="max", ksize=[2,2], strides=[2,2]}
  %m = reduce(%p) {kind="mean", axes=[1,2]}
  %d = matmul(%m, %wd)
  %s = softmax(%d)
  return %s
}
)";

Network ConvNet() {
  return *ParseNetwork(kConvNet, {Random({3, 3, 3, 8}, 1, 0.3f), Random({3, 3, 8, 8}, 2, 0.2f), Random({1, 1, 8, 8}, 3, 0.4f),
                                  Random({8, 5}, 4, 0.5f)});
}

AssignOptions Options(Precision precision) {
  AssignOptions o;
  o.precision = precision;
  o.half = DType::kBfloat16;
  o.int8 = o.fp8 = true;
  o.runs_typed = [](const Node&) { return true; };
  for (const char* name : {"a", "b", "c", "m"}) o.ranges[name] = {0, 4};
  o.ranges["x"] = {-3, 3};
  return o;
}

const Value& Named(const Network& net, const std::string& name) {
  for (const Value& v : net.values())
    if (v.name == name) return v;
  ADD_FAILURE() << "no value " << name;
  return net.value(0);
}
int Count(const Network& net, Op op) {
  return static_cast<int>(std::count_if(net.nodes().begin(), net.nodes().end(), [&](const Node& n) { return n.op == op; }));
}

// Root mean square error of the first output, relative to its own.
double Error(const Network& exact, const Network& typed, const Tensor& x) {
  auto want = ref::Execute(exact, {x}), got = ref::Execute(typed, {x});
  EXPECT_TRUE(want.ok() && got.ok());
  double error = 0, norm = 0;
  for (int64_t i = 0; i < (*want)[0].num_elements(); ++i) {
    const double w = (*want)[0].as<float>()[i], d = w - (*got)[0].as<float>()[i];
    error += d * d;
    norm += w * w;
  }
  return std::sqrt(error / norm);
}

TEST(AssignTest, Fp32LeavesTheNetworkAsItIs) {
  auto a = Assign(ConvNet(), Options(Precision::kF32));
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(PrintNetwork(a->network), PrintNetwork(ConvNet()));
}

TEST(AssignTest, ConvolutionsAndResidualsStayInCodesFromInputToClassifier) {
  auto a = Assign(ConvNet(), Options(Precision::kInt8));
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  for (const char* name : {"a", "b", "c", "p", "m"}) EXPECT_TRUE(Named(a->network, name).quant.quantized()) << name;
  EXPECT_EQ(Named(a->network, "p").quant, Named(a->network, "c").quant);
  EXPECT_EQ(Named(a->network, "d").dtype, DType::kBfloat16);
  EXPECT_EQ(Named(a->network, "s").dtype, DType::kFloat32);
  EXPECT_EQ(Count(a->network, Op::kConvert), 1);  // the input
  for (const LayerPrecision& l : a->layers)
    if (l.name == "a" || l.name == "b" || l.name == "c" || l.name == "d") EXPECT_EQ(l.precision, Precision::kInt8) << l.name;
  EXPECT_LT(Error(ConvNet(), a->network, *Random({2, 6, 6, 3}, 9)), 0.05);
}

TEST(AssignTest, Fp8LayersFollowTheSameRangesWithoutZeros) {
  auto a = Assign(ConvNet(), Options(Precision::kFp8));
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  for (const char* name : {"a", "b", "c", "p", "m"}) {
    EXPECT_EQ(Named(a->network, name).dtype, DType::kFloat8E4m3) << name;
    EXPECT_EQ(Named(a->network, name).quant, (Quant{4.0f / 448, 0})) << name;
  }
  EXPECT_EQ(Named(a->network, "d").dtype, DType::kBfloat16);
  EXPECT_EQ(Count(a->network, Op::kConvert), 1);
  for (const LayerPrecision& l : a->layers)
    if (l.name == "a" || l.name == "d") EXPECT_EQ(l.precision, Precision::kFp8) << l.name;
  // The largest weight of a channel becomes 448 steps.
  const Node& conv = a->network.nodes()[Named(a->network, "a").producer];
  const Network exact = ConvNet();
  const Tensor &w = *exact.value(exact.nodes()[0].inputs[1]).constant, &steps = *a->network.value(conv.inputs[4]).constant;
  float most = 0;
  for (int64_t i = 0; i < w.num_elements(); i += 8) most = std::max(most, std::fabs(w.as<float>()[i]));
  EXPECT_EQ(steps.as<float>()[0], most / 448);
  EXPECT_LT(Error(ConvNet(), a->network, *Random({2, 6, 6, 3}, 9)), 0.1);
}

TEST(AssignTest, WithoutFp8ProductsLayersAreHalf) {
  AssignOptions o = Options(Precision::kFp8);
  o.fp8 = false;
  auto a = Assign(ConvNet(), o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(PrintNetwork(a->network), PrintNetwork(Assign(ConvNet(), Options(Precision::kHalf))->network));
  for (const LayerPrecision& l : a->layers)
    if (l.name == "a") EXPECT_STREQ(l.why, "no fp8 products on this device");
  o.half = DType::kFloat32;
  a = Assign(ConvNet(), o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(PrintNetwork(a->network), PrintNetwork(ConvNet()));
}

TEST(AssignTest, RaisedFp8LayersAreHalfThenFp32) {
  for (const Precision limit : {Precision::kHalf, Precision::kF32}) {
    AssignOptions o = Options(Precision::kFp8);
    o.limits["b"] = limit;
    auto a = Assign(ConvNet(), o);
    ASSERT_TRUE(a.ok()) << a.status().ToString();
    for (const LayerPrecision& l : a->layers)
      if (l.name == "b") EXPECT_EQ(l.precision, limit);
    EXPECT_NE(Named(a->network, "b").dtype, DType::kFloat8E4m3);  // loops for such results would cost more than they gain
  }
}

TEST(AssignTest, GroupsHaveNoFp8FormAndDepthwiseLayersWriteIt) {
  auto net = ParseNetwork(R"(network {
    input %x: f32[batch,4,4,8]
    const %w: f32[1,1,8,8] @0
    const %wd: f32[3,3,1,8] @1
    const %wg: f32[3,3,4,8] @2
    %a = conv2d(%x, %w) {act="relu"}
    %d = conv2d(%a, %wd) {groups=8, pads=[1,1,1,1]}
    %b = conv2d(%d, %w)
    %g = conv2d(%b, %wg) {groups=2, pads=[1,1,1,1]}
    %c = conv2d(%g, %w)
    %s = softmax(%c)
    return %s
  })", {Random({1, 1, 8, 8}, 1), Random({3, 3, 1, 8}, 2), Random({3, 3, 4, 8}, 3)});
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  AssignOptions o = Options(Precision::kFp8);
  for (const char* name : {"a", "b", "c", "d", "g"}) o.ranges[name] = {-4, 4};
  auto a = Assign(*net, o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  for (const LayerPrecision& l : a->layers) {
    if (l.name == "a" || l.name == "b" || l.name == "c") EXPECT_EQ(l.precision, Precision::kFp8) << l.name;
    if (l.name == "d" || l.name == "g") {
      EXPECT_EQ(l.precision, Precision::kHalf) << l.name;
      EXPECT_STREQ(l.why, "no fp8 form") << l.name;
    }
  }
  EXPECT_EQ(Named(a->network, "a").dtype, DType::kBfloat16);
  EXPECT_EQ(Named(a->network, "d").dtype, DType::kFloat8E4m3);
  EXPECT_EQ(Named(a->network, "g").dtype, DType::kBfloat16);
  EXPECT_EQ(Count(a->network, Op::kConvert), 2);  // of x and g
}

TEST(AssignTest, AttentionWritesWhatAnFp8ProductReads) {
  auto net = ParseNetwork(R"(network {
    input %x: f32[batch,4,16]
    const %wq: f32[16,16] @0
    const %wk: f32[16,16] @1
    const %wv: f32[16,16] @2
    const %wo: f32[16,16] @3
    %q = matmul(%x, %wq)
    %k = matmul(%x, %wk)
    %v = matmul(%x, %wv)
    %qh = reshape(%q) {shape=[batch,4,2,8]}
    %kh = reshape(%k) {shape=[batch,4,2,8]}
    %vh = reshape(%v) {shape=[batch,4,2,8]}
    %a = attention(%qh, %kh, %vh) {scale=0.35}
    %r = reshape(%a) {shape=[batch,4,16]}
    %o = matmul(%r, %wo, _, %x)
    return %o
  })", {Random({16, 16}, 1, 0.25f), Random({16, 16}, 2, 0.25f), Random({16, 16}, 3, 0.25f), Random({16, 16}, 4, 0.25f)});
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  AssignOptions o = Options(Precision::kFp8);
  for (const char* name : {"x", "q", "k", "v", "a", "o"}) o.ranges[name] = {-4, 4};
  auto a = Assign(*net, o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  for (const char* name : {"q", "k", "v"}) EXPECT_EQ(Named(a->network, name).dtype, DType::kBfloat16) << name;
  for (const char* name : {"a", "r"}) EXPECT_EQ(Named(a->network, name).dtype, DType::kFloat8E4m3) << name;
  EXPECT_EQ(Count(a->network, Op::kConvert), 1);  // of x, for all three
  const std::vector<Node>& nodes = a->network.nodes();
  const Node& q = nodes[Named(a->network, "q").producer];
  for (const char* name : {"k", "v"}) {  // they can run as one product
    const Node& node = nodes[Named(a->network, name).producer];
    EXPECT_EQ(node.inputs[0], q.inputs[0]) << name;
    EXPECT_TRUE(node.attrs == q.attrs) << name;
  }
  EXPECT_LT(Error(*net, a->network, *Random({2, 4, 16}, 9)), 0.1);
}

TEST(AssignTest, HalfStoresEverythingInside16Bits) {
  auto a = Assign(ConvNet(), Options(Precision::kHalf));
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  for (const char* name : {"a", "b", "c", "p", "m", "d"}) EXPECT_EQ(Named(a->network, name).dtype, DType::kBfloat16) << name;
  EXPECT_EQ(Count(a->network, Op::kConvert), 1);
  EXPECT_LT(Error(ConvNet(), a->network, *Random({2, 6, 6, 3}, 9)), 0.02);
}

TEST(AssignTest, WithoutAHalfTypeTheRestStaysFp32) {
  AssignOptions o = Options(Precision::kInt8);
  o.half = DType::kFloat32;
  auto a = Assign(ConvNet(), o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(Named(a->network, "d").dtype, DType::kFloat32);
  EXPECT_TRUE(Named(a->network, "c").quant.quantized());
  o.precision = Precision::kHalf;
  a = Assign(ConvNet(), o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(PrintNetwork(a->network), PrintNetwork(ConvNet()));
}

TEST(AssignTest, ARaisedLayerReadsAndComputesMoreExactly) {
  AssignOptions o = Options(Precision::kInt8);
  o.limits["b"] = Precision::kF32;
  auto a = Assign(ConvNet(), o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  const Network& net = a->network;
  const Node& b = net.nodes()[Named(net, "b").producer];
  EXPECT_EQ(net.value(b.inputs[0]).dtype, DType::kFloat32);
  EXPECT_EQ(Named(net, "b").dtype, DType::kFloat32);
  EXPECT_FALSE(Named(net, "a").quant.quantized());
  EXPECT_LT(Error(ConvNet(), net, *Random({2, 6, 6, 3}, 9)), 0.05);
}

TEST(AssignTest, NoRangeNoInt8) {
  AssignOptions o = Options(Precision::kInt8);
  o.ranges.erase("a");
  auto a = Assign(ConvNet(), o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  for (const LayerPrecision& l : a->layers)
    if (l.name == "b") {
      EXPECT_EQ(l.precision, Precision::kHalf);
      EXPECT_STREQ(l.why, "no range for its input");
    }
}

TEST(AssignTest, TheResidualStreamOfATransformerIsNotQuantized) {
  auto net = ParseNetwork(R"(network {
    input %x: f32[batch,8]
    const %w1: f32[8,16] @0
    const %w2: f32[16,8] @1
    %n = layer_norm(%x) {epsilon=1e-05}
    %f = matmul(%n, %w1) {act="gelu_erf"}
    %g = matmul(%f, %w2, _, %n)
    %o = layer_norm(%g) {epsilon=1e-05}
    return %o
  })", {Random({8, 16}, 1), Random({16, 8}, 2)});
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  AssignOptions o = Options(Precision::kInt8);
  for (const char* name : {"n", "f", "g"}) o.ranges[name] = {-4, 4};
  auto a = Assign(*net, o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(Named(a->network, "n").dtype, DType::kBfloat16);
  EXPECT_TRUE(Named(a->network, "f").quant.quantized());
  EXPECT_EQ(Named(a->network, "g").dtype, DType::kBfloat16);
  EXPECT_EQ(Count(a->network, Op::kConvert), 1);  // n in codes, for the product alone
}

TEST(AssignTest, ConstantsAmongMovedValuesMustLieInTheRange) {
  const std::string text = R"(network {
    input %x: f32[batch,4,4,2]
    const %w: f32[1,1,2,2] @0
    %a = conv2d(%x, %w)
    %p = pad(%a) {lo=[0,1,1,0], hi=[0,1,1,0], value=VALUE}
    %c = conv2d(%p, %w)
    %s = softmax(%c)
    return %s
  })";
  for (const char* value : {"0.0", "-1000.0"}) {
    std::string t = text;
    t.replace(t.find("VALUE"), 5, value);
    auto net = ParseNetwork(t, {Random({1, 1, 2, 2}, 1)});
    ASSERT_TRUE(net.ok()) << net.status().ToString();
    AssignOptions o = Options(Precision::kInt8);
    o.ranges["p"] = {-1000, 4};
    o.ranges["a"] = {-4, 4};
    auto a = Assign(*net, o);
    ASSERT_TRUE(a.ok()) << a.status().ToString();
    EXPECT_EQ(Named(a->network, "p").quant.quantized(), value == std::string("0.0")) << value;
  }
}

// What Quantization-aware training leaves: a fake_quant behind the input and behind the activation, weights on a grid.
TEST(AssignTest, ExplicitQuantizationIsTakenOverWithoutCalibration) {
  auto weights = [](std::vector<int64_t> shape, unsigned seed) {
    auto t = Random(std::move(shape), seed, 30);
    auto grid = std::make_shared<Tensor>(DType::kFloat32, t->shape());
    for (int64_t i = 0; i < t->num_elements(); ++i)
      grid->mutable_as<float>()[i] = 0.03f * std::clamp(std::nearbyint(t->as<float>()[i]), -100.0f, 100.0f);
    return std::shared_ptr<const Tensor>(grid);
  };
  auto scalar = [](float v) {
    Tensor t(DType::kFloat32, {});
    *t.mutable_as<float>() = v;
    return std::make_shared<const Tensor>(t);
  };
  auto net = ParseNetwork(R"(network {
    input %x: f32[batch,4,4,3]
    const %w1: f32[3,3,3,8] @0
    const %w2: f32[1,1,8,8] @1
    const %step: f32[] @2
    const %lo: f32[] @3
    const %hi: f32[] @4
    const %relu_step: f32[] @5
    const %zero: f32[] @6
    const %top: f32[] @7
    %q = fake_quant(%x, %step, %lo, %hi) {rounding="even"}
    %a = conv2d(%q, %w1) {pads=[1,1,1,1], act="relu"}
    %qa = fake_quant(%a, %relu_step, %zero, %top) {rounding="even"}
    %b = conv2d(%qa, %w2)
    return %b
  })", {weights({3, 3, 3, 8}, 1), weights({1, 1, 8, 8}, 2), scalar(0.05f), scalar(-127), scalar(127), scalar(0.4f), scalar(0), scalar(63)});
  ASSERT_TRUE(net.ok()) << net.status().ToString();
  AssignOptions o = Options(Precision::kInt8);
  o.ranges.clear();
  auto a = Assign(*net, o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(Count(a->network, Op::kFakeQuant), 0);
  EXPECT_EQ(Count(a->network, Op::kConvert), 1);  // the second is part of the convolution
  EXPECT_EQ(Named(a->network, "q").quant, (Quant{0.05f, 127}));
  EXPECT_EQ(Named(a->network, "a").quant, (Quant{0.4f, 0}));
  const Node& conv = a->network.nodes()[Named(a->network, "a").producer];
  EXPECT_EQ(OutTypeOf(conv.attrs).hi, 63);
  // Nothing is rounded that the model does not round itself.
  EXPECT_LT(Error(*net, a->network, *Random({2, 4, 4, 3}, 9)), 1e-5);
  for (const LayerPrecision& l : a->layers)
    if (l.name == "a" || l.name == "b") EXPECT_STREQ(l.why, "quantized by the model");
  // E4M3 takes the model's ranges, not its codes.
  o.precision = Precision::kFp8;
  a = Assign(*net, o);
  ASSERT_TRUE(a.ok()) << a.status().ToString();
  EXPECT_EQ(Count(a->network, Op::kFakeQuant), 2);
  EXPECT_EQ(Named(a->network, "qa").dtype, DType::kFloat32);
  for (const LayerPrecision& l : a->layers)
    if (l.name == "b") EXPECT_EQ(l.precision, Precision::kFp8);
  EXPECT_LT(Error(*net, a->network, *Random({2, 4, 4, 3}, 9)), 0.1);
}

}  // namespace
}  // namespace tfengine::quant
