// SPDX-License-Identifier: Apache-2.0
#include "api/carriers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tfgraph/transform.h"

namespace tfengine {
namespace {

using testing::ElementsAre;
using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::TensorId;

int Add(Graph& graph, const std::string& op, std::vector<TensorId> inputs,
        std::vector<DType> types) {
  Node node;
  node.name = op + std::to_string(graph.nodes.size());
  node.op = op;
  node.inputs = std::move(inputs);
  node.output_types = std::move(types);
  graph.nodes.push_back(std::move(node));
  int index = static_cast<int>(graph.nodes.size()) - 1;
  if (op == "_Arg") graph.args.push_back(index);
  return index;
}

// ids: int64 and x: float → Gather → out: float; ids and ArgMax: int64 are returned too.
Graph Body() {
  Graph body;
  int ids = Add(body, "_Arg", {}, {DType::kInt64});
  body.nodes[ids].output_shapes = {{true, {-1, 7}}};
  int x = Add(body, "_Arg", {}, {DType::kFloat32});
  int gather = Add(body, "GatherV2", {{x, 0}, {ids, 0}}, {DType::kFloat32});
  int argmax = Add(body, "ArgMax", {{gather, 0}}, {DType::kInt64});
  body.returns = {{"output_0", {gather, 0}}, {"output_1", {argmax, 0}}, {"output_2", {ids, 0}}};
  return body;
}

std::vector<DType> ReturnTypes(const Graph& graph) {
  std::vector<DType> types;
  for (const auto& ret : graph.returns) types.push_back(graph.type_of(ret.tensor));
  return types;
}

TEST(Carriers, EveryTypeCrossesAsOneThatTheOpTakes) {
  for (DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kUint8, DType::kInt16,
                      DType::kInt8, DType::kInt64, DType::kBool, DType::kBfloat16, DType::kUint16,
                      DType::kFloat16, DType::kUint32, DType::kUint64}) {
    DType carrier = CarrierOf(dtype);
    EXPECT_EQ(CarrierOf(carrier), carrier);
    EXPECT_TRUE(DTypeSize(carrier) == DTypeSize(dtype) ||
                (DTypeSize(dtype) == 8 && carrier == DType::kInt32));
  }
  EXPECT_EQ(CarrierOf(DType::kString), DType::kInvalid);
  EXPECT_EQ(CarrierOf(DType::kResource), DType::kResource);
}

TEST(Carriers, TheNativeFunctionHasCarrierTypes) {
  Graph carried = WithCarriers(Body());
  ASSERT_TRUE(tfgraph::Validate(carried).ok());
  EXPECT_EQ(carried.nodes[carried.args[0]].output_types[0], DType::kInt32);
  EXPECT_THAT(carried.nodes[carried.args[0]].output_shapes[0].dims, ElementsAre(-1, 7, 2));
  EXPECT_EQ(carried.nodes[carried.args[1]].output_types[0], DType::kFloat32);
  EXPECT_THAT(ReturnTypes(carried), ElementsAre(DType::kFloat32, DType::kInt32, DType::kInt32));
}

TEST(Carriers, RemovingThemRestoresTypesAndShapes) {
  Graph body = Body();
  body.returns.pop_back();
  Graph restored = WithCarriers(body);
  RemoveCarriers(restored);
  tfgraph::Prune(restored);
  ASSERT_TRUE(tfgraph::Validate(restored).ok());
  EXPECT_EQ(restored.nodes.size(), 4u);
  EXPECT_EQ(restored.nodes[restored.args[0]].output_types[0], DType::kInt64);
  EXPECT_THAT(restored.nodes[restored.args[0]].output_shapes[0].dims, ElementsAre(-1, 7));
  EXPECT_THAT(ReturnTypes(restored), ElementsAre(DType::kFloat32, DType::kInt64));
}

TEST(Carriers, RemovingLeavesOtherGraphsAlone) {
  Graph graph;
  int x = Add(graph, "_Arg", {}, {DType::kFloat32});
  int cast = Add(graph, "Bitcast", {{x, 0}}, {DType::kInt32});
  graph.returns = {{"output_0", {cast, 0}}};
  RemoveCarriers(graph);
  EXPECT_THAT(ReturnTypes(graph), ElementsAre(DType::kInt32));
  EXPECT_EQ(graph.nodes[x].output_types[0], DType::kFloat32);
}

TEST(Carriers, CastsAroundEnginesEvenBetweenThem) {
  Graph graph;
  int ids = Add(graph, "_Arg", {}, {DType::kInt64});
  int first = Add(graph, "TRTEngineOp", {{ids, 0}}, {DType::kInt64, DType::kFloat32});
  int second = Add(graph, "TRTEngineOp", {{first, 0}, {first, 1}}, {DType::kUint8});
  graph.returns = {{"a", {first, 0}}, {"b", {second, 0}}};
  for (std::vector<int> engines : {std::vector<int>{first, second}, {second, first}}) {
    Graph cast = graph;
    CastAtEngines(cast, engines);
    ASSERT_TRUE(tfgraph::SortTopologically(cast).ok());
    for (const Node& node : cast.nodes) {
      if (node.op != "TRTEngineOp") continue;
      for (TensorId input : node.inputs)
        EXPECT_EQ(CarrierOf(cast.type_of(input)), cast.type_of(input));
      for (DType type : node.output_types) EXPECT_EQ(CarrierOf(type), type);
    }
    EXPECT_THAT(ReturnTypes(cast), ElementsAre(DType::kInt64, DType::kUint8));
  }
}

}  // namespace
}  // namespace tfengine
