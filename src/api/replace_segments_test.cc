// SPDX-License-Identifier: Apache-2.0
#include "api/replace_segments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tfengine {
namespace {

using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::TensorId;
using testing::ElementsAre;

int Add(Graph& graph, const std::string& name, std::vector<TensorId> inputs, std::vector<int> controls = {}) {
  Node node;
  node.name = name;
  node.op = name[0] == 'a' ? "_Arg" : "Op";
  node.inputs = std::move(inputs);
  node.control_inputs = std::move(controls);
  node.output_types = {DType::kFloat32, DType::kFloat32};
  graph.nodes.push_back(std::move(node));
  int index = static_cast<int>(graph.nodes.size()) - 1;
  if (name[0] == 'a') graph.args.push_back(index);
  return index;
}

Node EngineNode(const std::string& name, int outputs) {
  Node node;
  node.name = name;
  node.op = "TRTEngineOp";
  node.output_types.assign(outputs, DType::kFloat32);
  return node;
}

std::vector<std::string> Names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) names.push_back(node.name);
  return names;
}

// a → c → d → f (return), a → e(native) → f; the segment {c, d, f} takes e's output from outside.
TEST(ReplaceSegments, RewiresDataControlAndReturns) {
  Graph graph;
  int a = Add(graph, "a", {});
  int unused = Add(graph, "const", {});
  int e = Add(graph, "e", {{a, 0}});
  int c = Add(graph, "c", {{a, 0}, {unused, 0}}, {e});
  int d = Add(graph, "d", {{c, 1}});
  int g = Add(graph, "g", {{d, 1}, {e, 0}}, {c});
  graph.returns = {{"out", {g, 0}}, {"mid", {d, 0}}, {"in", {a, 0}}};
  graph.control_returns = {{"keep", g}};
  auto result = ReplaceSegments(graph, {{{c, d}, {{d, 1}, {d, 0}}, {{a, 0}}, EngineNode("engine", 2)}});
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_THAT(Names(*result), ElementsAre("a", "e", "engine", "g"));  // "const" was only used inside
  const Node& engine = result->nodes[2];
  EXPECT_THAT(engine.inputs, ElementsAre(TensorId{0, 0}));
  EXPECT_THAT(engine.control_inputs, ElementsAre(1));
  EXPECT_THAT(result->nodes[3].inputs, ElementsAre(TensorId{2, 0}, TensorId{1, 0}));
  EXPECT_THAT(result->nodes[3].control_inputs, ElementsAre(2));
  EXPECT_EQ(result->returns[0].tensor, (TensorId{3, 0}));
  EXPECT_EQ(result->returns[1].tensor, (TensorId{2, 1}));
  EXPECT_EQ(result->returns[2].tensor, (TensorId{0, 0}));
  EXPECT_EQ(result->control_returns[0].node, 3);
}

TEST(ReplaceSegments, ChainsEnginesThatFeedEachOther) {
  Graph graph;
  int a = Add(graph, "a", {});
  int b = Add(graph, "b", {{a, 0}});
  int c = Add(graph, "c", {{b, 1}});
  graph.returns = {{"out", {c, 0}}};
  auto result = ReplaceSegments(graph, {{{c}, {{c, 0}}, {{b, 1}}, EngineNode("second", 1)},
                                        {{b}, {{b, 1}}, {{a, 0}}, EngineNode("first", 1)}});
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_THAT(Names(*result), ElementsAre("a", "first", "second"));
  EXPECT_THAT(result->nodes[2].inputs, ElementsAre(TensorId{1, 0}));
}

TEST(ReplaceSegments, ATensorThatIsMissingIsAnError) {
  Graph graph;
  int a = Add(graph, "a", {});
  int b = Add(graph, "b", {{a, 0}});
  graph.returns = {{"out", {b, 0}}};
  auto result = ReplaceSegments(graph, {{{b}, {}, {{a, 0}}, EngineNode("engine", 0)}});
  EXPECT_EQ(result.status().error_id(), 901);
}

}  // namespace
}  // namespace tfengine
