// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "network/network.h"

namespace tfengine {
namespace {

class InferTest : public testing::Test {
 protected:
  // The type of the first output, or the error.
  std::string Type(Op op, std::vector<ValueId> inputs, Attrs attrs = {}) {
    auto v = net.Add(op, "n", std::move(inputs), std::move(attrs));
    if (!v.ok()) return v.status().message();
    return TypeToString(net.dims(), net.value(*v).dtype, net.value(*v).shape);
  }
  ValueId In(Shape shape, DType dtype = DType::kFloat32) { return net.AddInput("x", dtype, std::move(shape)); }
  using Ints = std::vector<int64_t>;
  Network net;
  Dim b = net.dims().Symbol("batch"), h = net.dims().Symbol("h"), w = net.dims().Symbol("w");
};

TEST_F(InferTest, ConvolutionWithSamePaddingOfUnknownSize) {
  const ValueId x = In({b, h, 224, 3}), f = In({7, 7, 3, 64});
  const Dim pad = SamePadding(net.dims(), h, 7, 2), top = net.dims().FloorDiv(pad, Dim(2));
  EXPECT_EQ(Type(Op::kConv2d, {x, f},
                 {{"strides", Ints{2, 2}}, {"pads", Shape{top, net.dims().Sub(pad, top), Dim(2), Dim(3)}}}),
            "f32[batch,floordiv(h + 1,2),112,64]");
  EXPECT_TRUE(net.constraints().empty());
}

TEST_F(InferTest, DepthwiseConvolutionChecksGroups) {
  const ValueId x = In({b, 8, 8, 6});
  EXPECT_EQ(Type(Op::kConv2d, {x, In({3, 3, 1, 12})}, {{"groups", int64_t{6}}}), "f32[batch,6,6,12]");
  EXPECT_NE(Type(Op::kConv2d, {x, In({3, 3, 1, 12})}).find("channels"), std::string::npos);
}

TEST_F(InferTest, BroadcastingAssumesUnknownSizesEqual) {
  EXPECT_EQ(Type(Op::kBinary, {In({b, h}), In({b, 5})}, {{"kind", "add"}}), "f32[batch,5]");
  ASSERT_EQ(net.constraints().size(), 1u);
  EXPECT_EQ(Type(Op::kBinary, {In({b, 1}), In({h})}, {{"kind", "less"}}), "bool[batch,h]");
  EXPECT_EQ(net.constraints().size(), 1u);
  EXPECT_NE(Type(Op::kBinary, {In({2}), In({3})}, {{"kind", "add"}}).find("do not broadcast"), std::string::npos);
}

TEST_F(InferTest, ReshapeProvesWhatItCan) {
  const ValueId x = In({b, h, 4});
  EXPECT_EQ(Type(Op::kReshape, {x}, {{"shape", Shape{net.dims().Mul(b, h), Dim(4)}}}), "f32[batch*h,4]");
  EXPECT_TRUE(net.constraints().empty());
  EXPECT_NE(Type(Op::kReshape, {x}, {{"shape", Shape{b, h, Dim(3)}}}).find("as many"), std::string::npos);
  EXPECT_EQ(Type(Op::kReshape, {x}, {{"shape", Shape{b, Dim(8)}}}), "f32[batch,8]");
  ASSERT_EQ(net.constraints().size(), 1u);
  EXPECT_EQ(net.dims().ToString(net.constraints()[0].a), "h*4");
}

TEST_F(InferTest, AttributesAreChecked) {
  const ValueId x = In({b, 4});
  EXPECT_NE(Type(Op::kSoftmax, {x}, {{"axis", int64_t{1}}}).find("unknown attribute"), std::string::npos);
  EXPECT_NE(Type(Op::kReduce, {x}, {{"kind", "sum"}}).find("axes is missing"), std::string::npos);
  EXPECT_NE(Type(Op::kUnary, {x}, {{"kind", int64_t{1}}}).find("expected a word"), std::string::npos);
  EXPECT_NE(Type(Op::kUnary, {x}, {{"kind", "frobnicate"}}).find("unknown unary kind"), std::string::npos);
  EXPECT_NE(Type(Op::kSoftmax, {}).find("inputs"), std::string::npos);
  EXPECT_NE(Type(Op::kSoftmax, {99}).find("does not exist"), std::string::npos);
}

TEST_F(InferTest, AbsurdSizesAreErrors) {
  const ValueId x = In({1 << 20, 1 << 20});
  EXPECT_NE(Type(Op::kTile, {x}, {{"reps", Ints{1 << 20, 1}}}).find("too large"), std::string::npos);
  EXPECT_NE(Type(Op::kTile, {x}, {{"reps", Ints{1, int64_t{1} << 60}}}).find("too large"), std::string::npos);
}

TEST_F(InferTest, MatMulWithTransposesBiasAndResidual) {
  EXPECT_EQ(Type(Op::kMatMul, {In({b, 12, h, 64}), In({b, 12, w, 64})}, {{"transpose_b", true}}),
            "f32[batch,12,h,w]");
  const ValueId a = In({b, 8}), m = In({8, 16});
  EXPECT_EQ(Type(Op::kMatMul, {a, m, In({16}), In({b, 16})}, {{"act", "relu"}}), "f32[batch,16]");
  EXPECT_EQ(Type(Op::kMatMul, {a, m, kNoValue, In({b, 16})}), "f32[batch,16]");
  EXPECT_NE(Type(Op::kMatMul, {a, m, In({15})}).find("expected 16, got 15"), std::string::npos);
}

TEST(Network, BindsSymbolsAndChecksConstraints) {
  Network net;
  DimTable& t = net.dims();
  const Dim b = t.Symbol("batch"), h = t.Symbol("h");
  net.AddInput("a", DType::kFloat32, {t.Mul(b, Dim(2)), Dim(3)});
  net.AddInput("b", DType::kFloat32, {t.FloorDiv(h, Dim(2))});
  net.AddInput("c", DType::kFloat32, {h});
  auto bound = net.BindSymbols({{8, 3}, {3}, {7}});
  ASSERT_TRUE(bound.ok()) << bound.status().ToString();
  EXPECT_EQ(*bound, (std::vector<int64_t>{4, 7}));
  EXPECT_FALSE(net.BindSymbols({{7, 3}, {3}, {7}}).ok());
  EXPECT_FALSE(net.BindSymbols({{8, 4}, {3}, {7}}).ok());
  EXPECT_FALSE(net.BindSymbols({{8, 3}, {3}}).ok());
  EXPECT_FALSE(net.BindSymbols({{8, 3}, {4}, {7}}).ok());
  net.AddConstraint(b, t.Sub(h, Dim(3)));
  EXPECT_TRUE(net.BindSymbols({{8, 3}, {3}, {7}}).ok());
  EXPECT_FALSE(net.BindSymbols({{10, 3}, {3}, {7}}).ok());
}

TEST(Network, CompactSortsAndDropsWhatNoOutputNeeds) {
  Network net;
  const ValueId x = net.AddInput("x", DType::kFloat32, {4}), unused = net.AddInput("u", DType::kFloat32, {1});
  const ValueId a = *net.Add(Op::kUnary, "a", {x}, {{"kind", "relu"}});
  const ValueId b = *net.Add(Op::kUnary, "b", {a}, {{"kind", "exp"}});
  ASSERT_TRUE(net.Add(Op::kUnary, "dead", {b}, {{"kind", "exp"}}).ok());
  const ValueId late = *net.Add(Op::kUnary, "late", {x}, {{"kind", "abs"}});
  net.MarkOutput(b);
  net.ReplaceUses(a, late);
  net.Compact();
  (void)unused;
  ASSERT_EQ(net.nodes().size(), 2u);
  EXPECT_EQ(net.nodes()[0].name, "late");
  EXPECT_EQ(net.inputs().size(), 2u);
  EXPECT_EQ(net.values().size(), 4u);
  EXPECT_EQ(net.value(net.outputs()[0]).producer, 1);
}

TEST(Network, NamesAreMadeUnique) {
  Network net;
  const ValueId a = net.AddInput("x", DType::kFloat32, {4}), b = net.AddInput("x", DType::kFloat32, {4}),
                c = net.AddInput("x_1", DType::kFloat32, {4});
  EXPECT_EQ(net.value(a).name, "x");
  EXPECT_EQ(net.value(b).name, "x_1");
  EXPECT_EQ(net.value(c).name, "x_1_1");
}

}  // namespace
}  // namespace tfengine
