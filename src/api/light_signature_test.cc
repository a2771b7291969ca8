// SPDX-License-Identifier: Apache-2.0
#include "api/light_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tfgraph/transform.h"

namespace tfengine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using tfgraph::AttrValue;
using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::TensorId;

int Add(Graph& graph, std::string name, const std::string& op, std::vector<TensorId> inputs,
        DType type) {
  Node node;
  node.name = std::move(name);
  node.op = op;
  node.inputs = std::move(inputs);
  node.output_types = {type};
  if (op == "TRTEngineOp") {
    std::vector<DType> types;
    for (TensorId input : node.inputs) types.push_back(graph.type_of(input));
    node.attrs["InT"] = AttrValue::TypeList(types);
    node.attrs["input_shapes"] =
        AttrValue::ShapeList(std::vector<tfgraph::PartialShape>(types.size()));
  }
  graph.nodes.push_back(std::move(node));
  int index = static_cast<int>(graph.nodes.size()) - 1;
  if (op == "_Arg") graph.args.push_back(index);
  return index;
}

// x and three variables; an engine of the first two between x and a native read of the last.
Graph Signature() {
  Graph g;
  int x = Add(g, "x", "_Arg", {}, DType::kFloat32);
  int a = Add(g, "a", "_Arg", {}, DType::kResource), b = Add(g, "b", "_Arg", {}, DType::kResource);
  int c = Add(g, "c", "_Arg", {}, DType::kResource);
  int e = Add(g, "call_1/engine", "TRTEngineOp", {{a, 0}, {x, 0}, {b, 0}}, DType::kFloat32);
  int read = Add(g, "read", "ReadVariableOp", {{c, 0}}, DType::kFloat32);
  int sum = Add(g, "sum", "AddV2", {{e, 0}, {read, 0}}, DType::kFloat32);
  g.returns = {{"y", {sum, 0}}};
  return g;
}

TEST(LightSignature, TheFirstVariableOfTheModelStandsForTheOthers) {
  auto light = MakeLightSignature(Signature(), {-1, 9, 4, 5});
  ASSERT_TRUE(light.has_value());
  EXPECT_TRUE(tfgraph::Validate(light->graph).ok());
  EXPECT_THAT(light->kept, ElementsAre(0, 2, 3));
  ASSERT_EQ(light->lists.size(), 1u);
  EXPECT_EQ(light->lists[0].engine, "engine");
  EXPECT_THAT(light->lists[0].objects, ElementsAre(9, 4));
  EXPECT_EQ(light->lists[0].key, 1);
  const Graph& g = light->graph;
  const Node& engine = g.nodes[static_cast<size_t>(g.Find("call_1/engine"))];
  std::vector<std::string> inputs;
  for (TensorId input : engine.inputs)
    inputs.push_back(g.nodes[static_cast<size_t>(input.node)].name);
  EXPECT_THAT(inputs, ElementsAre("x", "b"));
  EXPECT_THAT(*engine.attr("InT")->type_list(), ElementsAre(DType::kFloat32, DType::kResource));
  EXPECT_EQ(engine.attr("input_shapes")->shape_list()->size(), 2u);
  EXPECT_EQ(g.Find("a"), -1);
}

TEST(LightSignature, WhatIsNotBoundStays) {
  EXPECT_FALSE(MakeLightSignature(Signature(), {}).has_value());
  EXPECT_FALSE(MakeLightSignature(Signature(), {-1, -1, 4, 5}).has_value());
}

TEST(LightSignature, OneVariableNeedsNoOther) {
  Graph g = Signature();
  Node& engine = g.nodes[static_cast<size_t>(g.Find("call_1/engine"))];
  engine.inputs.pop_back();
  EXPECT_FALSE(MakeLightSignature(g, {-1, 9, 4, 5}).has_value());
}

}  // namespace
}  // namespace tfengine
