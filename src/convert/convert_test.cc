// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "convert/test_graph.h"

namespace tfengine::convert {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tfgraph::AttrValue;

Conversion MustAnalyze(const TestGraph& g) {
  Result<Conversion> conversion = Analyze(g.graph);
  EXPECT_TRUE(conversion.ok()) << conversion.status().ToString();
  return std::move(conversion).value();
}

// The shape that the walk gives a node's first output.
std::string ShapeOf(const Conversion& c, int node) {
  const NodeResult& result = c.nodes[node];
  if (!result.verdict.ok()) return std::string(ReasonName(result.verdict.reason)) + ": " + result.verdict.detail;
  return ShapeToString(c.network.dims(), result.outputs[0].shape);
}

std::vector<std::string> OpsOf(const Network& network) {
  std::vector<std::string> ops;
  for (const Node& node : network.nodes()) ops.push_back(OpName(node.op));
  return ops;
}

Network MustLower(const TestGraph& g) {
  Result<Network> network = LowerSegment(g.graph);
  EXPECT_TRUE(network.ok()) << network.status().ToString();
  return std::move(network).value();
}

TEST(Analyze, SharesTheBatchAmongArgumentsAndNamesOtherSizes) {
  TestGraph g;
  int x = g.Arg("Ids", {-1, -1});
  int y = g.Arg("mask", {-1, -1});
  int sum = g.Add("sum", "AddV2", {x, y});
  g.Return(sum);
  Conversion c = MustAnalyze(g);
  EXPECT_EQ(ShapeOf(c, sum), "[batch,ids_1]");
  ASSERT_EQ(c.network.constraints().size(), 1u);
}

TEST(Analyze, SymbolsOfNamesThatDifferInCaseOnlyAreDistinct) {
  TestGraph g;
  int x = g.Arg("X", {-1, -1});
  int y = g.Arg("x", {-1, -1});
  g.Return(g.Add("a", "Relu", {x}));
  g.Return(g.Add("b", "Relu", {y}));
  Conversion c = MustAnalyze(g);
  EXPECT_NE(ShapeOf(c, 2), ShapeOf(c, 3));
}

TEST(Analyze, EvaluatesShapeArithmetic) {
  TestGraph g;
  int x = g.Arg("x", {-1, -1, 6});
  int shape = g.Add("shape", "Shape", {x}, {}, {DType::kInt32});
  TestGraph::Attrs shrink{{"shrink_axis_mask", AttrValue::Int(1)}};
  int batch = g.Add("batch", "StridedSlice", {shape, g.Ints("b0", {0}), g.Ints("b1", {1}), g.Ints("b2", {1})}, shrink);
  int length = g.Add("length", "StridedSlice", {shape, g.Ints("l0", {1}), g.Ints("l1", {2}), g.Ints("l2", {1})}, shrink);
  int tokens = g.Add("tokens", "Mul", {batch, length});
  int want = g.Add("want", "Pack", {tokens, g.Ints("two", {2}, true), g.Ints("open", {-1}, true)});
  int r = g.Add("r", "Reshape", {x, want});
  g.Return(r);
  Conversion c = MustAnalyze(g);
  EXPECT_EQ(ShapeOf(c, r), "[batch*x_1,2,3]");
  EXPECT_EQ(c.nodes[want].role, Role::kShape);
  EXPECT_THAT(OpsOf(c.network), ElementsAre("reshape"));
}

TEST(Analyze, GoesOnBehindWhatItCannotConvert) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int n = g.Native("n", {x, x, x}, {-1, 4});
  int a = g.Add("a", "Relu", {n});
  g.Return(a);
  Conversion c = MustAnalyze(g);
  EXPECT_EQ(c.nodes[n].verdict.reason, Reason::kNoConverter);
  EXPECT_EQ(ShapeOf(c, a), "[n_0,4]");
  EXPECT_THAT(c.inputs, ElementsAre(tfgraph::TensorId{x, 0}, tfgraph::TensorId{n, 0}));
}

TEST(Analyze, GivesReasons) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int text = g.Arg("text", {-1}, DType::kString);
  int handle = g.Arg("handle", {}, DType::kResource);
  int unranked = g.Add("unranked", "Betainc", {x, x, x});
  auto reason = [&](int v) { return ReasonName(MustAnalyze(g).nodes[v].verdict.reason); };
  EXPECT_STREQ(reason(x), "graph-boundary");
  EXPECT_STREQ(reason(g.Add("a", "Relu", {unranked})), "unknown-shape");
  EXPECT_STREQ(reason(g.Add("b", "Shape", {text}, {}, {DType::kInt32})), "string");
  EXPECT_STREQ(reason(g.Add("c", "ReadVariableOp", {handle}, {}, {DType::kFloat32})), "resource");
  EXPECT_STREQ(reason(g.Add("d", "StatelessWhile", {x})), "control-flow");
  EXPECT_STREQ(reason(g.Add("e", "Where", {x}, {}, {DType::kInt64})), "data-dependent");
  EXPECT_STREQ(reason(g.Add("f", "Reshape", {x, g.Arg("s", {2}, DType::kInt32)})), "not-constant");
  EXPECT_STREQ(reason(g.Add("h", "LogicalNot", {x})), "dtype");
  int random = g.Add("i", "RandomUniform", {x});
  g.graph.nodes[random].stateful = true;
  EXPECT_STREQ(reason(random), "stateful");
}

TEST(Analyze, RejectsCorruptGraphs) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  g.Add("a", "Relu", {x});
  g.graph.nodes[1].inputs[0] = {7, 0};
  EXPECT_THAT(Analyze(g.graph).status().message(), HasSubstr("node \"a\", input 0"));
  g.graph.nodes[1].inputs[0] = {0, 3};
  EXPECT_FALSE(Analyze(g.graph).ok());
  g.graph.nodes[1].inputs[0] = {0, 0};
  g.Return(5);
  EXPECT_FALSE(Analyze(g.graph).ok());
}

TEST(Analyze, RejectsWhatTensorFlowWouldRejectWithoutDying) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  std::vector<int> odd{
      g.Add("no_inputs", "Relu", {}), g.Add("no_axis", "Sum", {x}), g.Add("no_equation", "Einsum", {x, x}),
      g.Add("bare_split", "Split", {x, x}), g.Add("rank", "Conv2D", {x, x}), g.Add("perm", "Transpose", {x, x}),
      g.Add("pack", "Pack", {}), g.Add("concat", "ConcatV2", {x}), g.Add("slice", "StridedSlice", {x, x, x}),
      g.Add("norm", "FusedBatchNormV3", {x}), g.Add("const", "Const", {})};
  Conversion c = MustAnalyze(g);
  for (int v : odd) EXPECT_FALSE(c.nodes[v].verdict.ok()) << g.graph.nodes[v].name;
}

TEST(Analyze, CountsMultiplyAdds) {
  TestGraph g;
  int x = g.Arg("x", {-1, 8, 8, 3});
  int conv = g.Add("conv", "Conv2D", {x, g.Floats("w", {3, 3, 3, 16})},
                   {{"strides", AttrValue::IntList({1, 2, 2, 1})}, {"padding", AttrValue::String("SAME")}});
  g.Return(conv);
  Conversion c = MustAnalyze(g);
  EXPECT_EQ(ShapeOf(c, conv), "[batch,4,4,16]");
  EXPECT_EQ(c.nodes[conv].macs, 4 * 4 * 16 * 27);
}

TEST(LowerSegment, PadsAsTensorFlowsSame) {
  TestGraph g;
  int x = g.Arg("x", {-1, 224, 224, 3});
  g.Return(g.Add("conv", "Conv2D", {x, g.Floats("w", {7, 7, 3, 8})},
                 {{"strides", AttrValue::IntList({1, 2, 2, 1})}, {"padding", AttrValue::String("SAME")}}));
  Network network = MustLower(g);
  EXPECT_THAT(network.nodes()[0].attrs.Ints("pads"), ElementsAre(2, 3, 2, 3));
}

// The form that the attention pattern starts from: heads in front, keys transposed by the product.
TEST(LowerSegment, WritesAttentionEinsumsAsHeadMajorProducts) {
  TestGraph g;
  int k = g.Arg("k", {-1, -1, 2, 5});
  int q = g.Arg("q", {-1, -1, 2, 5});
  g.Return(g.Add("scores", "Einsum", {k, q}, {{"equation", AttrValue::String("aecd,abcd->acbe")}}));
  Network network = MustLower(g);
  EXPECT_THAT(OpsOf(network), ElementsAre("transpose", "transpose", "matmul"));
  EXPECT_TRUE(network.nodes()[2].attrs.Bool("transpose_b"));
}

TEST(LowerSegment, NormalisesKerasTwosLayerNorm) {
  TestGraph g;
  int x = g.Arg("x", {1, -1, 6, 1});
  int shape = g.Add("shape", "Shape", {x}, {}, {DType::kInt32});
  int rows = g.Add("rows", "StridedSlice", {shape, g.Ints("b", {1}), g.Ints("e", {2}), g.Ints("s", {1})});
  int ones = g.Add("ones", "Fill", {rows, g.Floats("one", {}, 1)}, {}, {DType::kFloat32});
  int zeros = g.Add("zeros", "Fill", {rows, g.Floats("zero", {}, 0)}, {}, {DType::kFloat32});
  int none = g.Floats("none", {0});
  g.Return(g.Add("norm", "FusedBatchNormV3", {x, ones, zeros, none, none},
                 {{"data_format", AttrValue::String("NCHW")}, {"is_training", AttrValue::Bool(true)}},
                 std::vector<DType>(6, DType::kFloat32)));
  EXPECT_THAT(OpsOf(MustLower(g)), ElementsAre("reshape", "layer_norm", "reshape"));
}

TEST(LowerSegment, ReadsSizesFromAnnotations) {
  TestGraph g;
  int x = g.Arg("x", {-1, -1, 4});
  g.graph.nodes[x].attrs[kDimsAttr] = AttrValue::String("n*12;floordiv(w + 1,2);4");
  g.Return(g.Add("a", "Relu", {x}));
  Network network = MustLower(g);
  EXPECT_EQ(ShapeToString(network.dims(), network.value(network.inputs()[0]).shape), "[n*12,floordiv(w + 1,2),4]");
}

TEST(LowerSegment, TakesArgumentsOfKnownValueAsConstants) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int axis = g.Arg("axis", {}, DType::kInt32);
  Tensor value(DType::kInt32, {});
  *value.mutable_as<int32_t>() = 1;
  g.graph.nodes[axis].frozen = std::make_shared<Tensor>(value);
  g.Return(g.Add("sum", "Sum", {x, axis}));
  Network network = MustLower(g);
  EXPECT_EQ(network.inputs().size(), 2u);
  EXPECT_THAT(network.nodes()[0].attrs.Ints("axes"), ElementsAre(1));
}

TEST(LowerSegment, NamesTheFirstNodeThatCannotBeLowered) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  g.Return(g.Native("bad", {x, x, x}));
  Status status = LowerSegment(g.graph).status();
  EXPECT_THAT(status.ToString(), HasSubstr("E-0301"));
  EXPECT_THAT(status.message(), HasSubstr("node \"bad\" (Betainc): no-converter"));
}

TEST(LowerSegment, ReturnsArgumentsAndConstants) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  g.Return(x);
  g.Return(g.Floats("k", {2}));
  Network network = MustLower(g);
  EXPECT_EQ(network.outputs()[0], network.inputs()[0]);
  EXPECT_NE(network.value(network.outputs()[1]).constant, nullptr);
}

TEST(Converters, AreListedByName) {
  std::vector<std::string> names = ConverterNames();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_THAT(names, Contains("FusedBatchNormV3"));
  EXPECT_GT(names.size(), 140u);
}

}  // namespace
}  // namespace tfengine::convert
