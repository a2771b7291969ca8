// SPDX-License-Identifier: Apache-2.0
#include "partition/partition.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "convert/test_graph.h"
#include "tfgraph/transform.h"

namespace tfengine::partition {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Cut {
  convert::Conversion conversion;
  Partition partition;
  std::vector<Segment> segments;
};

Cut CutGraph(const TestGraph& g, PartitionOptions options = {.minimum_segment_size = 1},
             const convert::Exclusions& exclusions = {}) {
  Result<convert::Conversion> conversion = convert::Analyze(g.graph, exclusions);
  EXPECT_TRUE(conversion.ok()) << conversion.status().ToString();
  Cut cut{std::move(conversion).value(), {}, {}};
  cut.partition = PartitionGraph(g.graph, cut.conversion, options);
  cut.segments = ExtractSegments(g.graph, cut.conversion, cut.partition);
  return cut;
}

std::vector<EngineNode> Engines(const Cut& cut) {
  std::vector<EngineNode> engines(cut.segments.size());
  for (size_t i = 0; i < engines.size(); ++i) engines[i].name = "engine_" + std::to_string(i);
  return engines;
}

tfgraph::Graph Replaced(const TestGraph& g, const Cut& cut) {
  Result<tfgraph::Graph> graph = ReplaceSegments(g.graph, cut.partition, cut.segments, Engines(cut));
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  if (!graph.ok()) return {};
  Status valid = tfgraph::Validate(*graph);
  EXPECT_TRUE(valid.ok()) << valid.ToString();
  return std::move(graph).value();
}

const tfgraph::Node& NodeNamed(const tfgraph::Graph& graph, const std::string& name) {
  int v = graph.Find(name);
  EXPECT_GE(v, 0) << name;
  return graph.nodes[v < 0 ? 0 : v];
}

std::vector<std::string> Names(const tfgraph::Graph& graph) {
  std::vector<std::string> names;
  for (const tfgraph::Node& node : graph.nodes) names.push_back(node.name);
  return names;
}

TEST(Partition, TakesAChainAsOneSegment) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int b = g.Add("b", "Exp", {a});
  g.Return(g.Add("c", "Tanh", {b}));
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 1u);
  EXPECT_THAT(cut.partition.segments[0].nodes, ElementsAre(a, b, b + 1));
  tfgraph::Graph graph = Replaced(g, cut);
  EXPECT_THAT(Names(graph), ElementsAre("x", "engine_0"));
  EXPECT_EQ(graph.returns[0].tensor, (tfgraph::TensorId{1, 0}));
  Result<Network> network = convert::LowerSegment(cut.segments[0].body);
  ASSERT_TRUE(network.ok()) << network.status().ToString();
  EXPECT_EQ(TypeToString(network->dims(), DType::kFloat32, network->value(network->inputs()[0]).shape), "f32[batch,4]");
}

// x -> a -> native -> c, and a -> c: a and c must not be one segment.
TEST(Partition, AvoidsACycleThroughANativeNode) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int n = g.Native("n", {a, a, a});
  int c = g.Add("c", "AddV2", {a, n});
  g.Return(c);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 2u);
  EXPECT_THAT(cut.partition.segments[0].nodes, ElementsAre(a));
  EXPECT_THAT(cut.partition.segments[1].nodes, ElementsAre(c));
  EXPECT_THAT(Names(Replaced(g, cut)), ElementsAre("x", "engine_0", "n", "engine_1"));
  EXPECT_EQ(cut.partition.verdicts[n].reason, Reason::kNoConverter);
}

TEST(Partition, AvoidsACycleThroughControlEdges) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int n = g.Native("n", {x, x, x});
  g.Control(a, n);
  int c = g.Add("c", "Exp", {a});
  g.Control(n, c);
  g.Return(c);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 2u);
  tfgraph::Graph graph = Replaced(g, cut);
  EXPECT_THAT(NodeNamed(graph, "n").control_inputs, ElementsAre(graph.Find("engine_0")));
  EXPECT_THAT(NodeNamed(graph, "engine_1").control_inputs, ElementsAre(graph.Find("n")));
}

TEST(Partition, JoinsADiamondWhoseSideIsNative) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int n = g.Native("n", {x, x, x});
  int a = g.Add("a", "Relu", {x});
  int b = g.Add("b", "Exp", {a});
  int c = g.Add("c", "AddV2", {b, n});
  g.Return(c);
  // n does not depend on a or b, so all three run after it.
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 1u);
  EXPECT_THAT(cut.partition.segments[0].nodes, ElementsAre(a, b, c));
}

TEST(Partition, MergesAcrossPhasesWhereNoPathForbids) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int y = g.Arg("y", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int n = g.Native("n", {a, a, a});
  int side = g.Add("side", "Exp", {y});  // as early as a, but only c needs it
  int c = g.Add("c", "AddV2", {n, side});
  g.Return(c);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 2u);
  EXPECT_THAT(cut.partition.segments[1].nodes, ElementsAre(side, c));
}

TEST(Partition, SharesConstantsWithNativeNodes) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int k = g.Floats("k", {4});
  int a = g.Add("a", "Mul", {x, k});
  int n = g.Native("n", {k, k, k}, {4});
  int c = g.Add("c", "AddV2", {a, n});
  g.Return(c);
  g.Return(k);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 1u);
  EXPECT_THAT(cut.partition.segments[0].absorbed, ElementsAre(k));
  EXPECT_EQ(cut.segments[0].outputs.size(), 1u);
  tfgraph::Graph graph = Replaced(g, cut);
  EXPECT_THAT(Names(graph), ElementsAre("x", "k", "n", "engine_0"));
  EXPECT_EQ(graph.returns[1].tensor.node, graph.Find("k"));
}

// Reshape reads the shape of a tensor that is on the far side of a native node.
TEST(Partition, CopiesShapeArithmeticIntoTheSegmentThatNeedsIt) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int shape = g.Add("shape", "Shape", {a}, {}, {DType::kInt32});
  int n = g.Native("n", {a, a, a}, {-1});
  int c = g.Add("c", "Exp", {n});
  int r = g.Add("r", "Reshape", {c, shape});
  g.Return(r);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 2u);
  EXPECT_THAT(cut.partition.segments[1].nodes, ElementsAre(c, r));
  EXPECT_THAT(cut.partition.segments[1].absorbed, ElementsAre(shape));
  for (const Segment& segment : cut.segments) {
    Result<Network> network = convert::LowerSegment(segment.body);
    EXPECT_TRUE(network.ok()) << network.status().ToString();
  }
  EXPECT_THAT(Names(Replaced(g, cut)), ElementsAre("x", "engine_0", "n", "engine_1"));
}

TEST(Partition, PassesIdentitiesThrough) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int i = g.Add("i", "Identity", {x});
  int a = g.Add("a", "Relu", {i});
  int j = g.Add("j", "Identity", {a});
  int n = g.Native("n", {j, j, j});
  g.Return(n);
  g.Return(j);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.partition.segments.size(), 1u);
  EXPECT_THAT(cut.partition.segments[0].nodes, ElementsAre(a));
  tfgraph::Graph graph = Replaced(g, cut);
  EXPECT_THAT(Names(graph), ElementsAre("x", "engine_0", "j", "n"));
}

TEST(Partition, LeavesExcludedNodesAndWhatDependsOnTheirValuesNative) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int b = g.Add("b", "Exp", {a});
  int c = g.Add("c", "Tanh", {b});
  g.Return(c);
  Cut by_name = CutGraph(g, {.minimum_segment_size = 1}, {.ops = {}, .nodes = {"b"}});
  EXPECT_EQ(by_name.partition.verdicts[b].reason, Reason::kExcluded);
  EXPECT_EQ(by_name.partition.verdicts[c].reason, Reason::kUnknownShape);  // nothing says what b's shape is
  Cut by_op = CutGraph(g, {.minimum_segment_size = 1}, {.ops = {"Tanh"}, .nodes = {}});
  EXPECT_EQ(by_op.partition.verdicts[c].reason, Reason::kExcluded);
  ASSERT_EQ(by_op.partition.segments.size(), 1u);
}

TEST(Partition, DropsSmallAndSurplusSegments) {
  TestGraph g;
  int v = g.Arg("x", {-1, 4});
  std::vector<std::vector<int>> runs;
  for (int size : {1, 3, 2, 4}) {
    runs.emplace_back();
    for (int i = 0; i < size; ++i) runs.back().push_back(v = g.Add(fmt::format("r{}_{}", size, i), "Relu", {v}));
    v = g.Native(fmt::format("n{}", size), {v, v, v});
  }
  g.Return(v);
  Cut cut = CutGraph(g, {.minimum_segment_size = 2, .max_engines = 2});
  ASSERT_EQ(cut.partition.segments.size(), 2u);
  EXPECT_EQ(cut.partition.segments[0].nodes, runs[1]);
  EXPECT_EQ(cut.partition.segments[1].nodes, runs[3]);
  EXPECT_EQ(cut.partition.verdicts[runs[0][0]].reason, Reason::kTooSmall);
  EXPECT_EQ(cut.partition.verdicts[runs[2][0]].reason, Reason::kTooManyEngines);
  Cut costly = CutGraph(g, {.minimum_segment_size = 1, .minimum_macs = 9});
  ASSERT_EQ(costly.partition.segments.size(), 2u);
  EXPECT_EQ(costly.partition.verdicts[runs[0][0]].reason, Reason::kNotWorthIt);
}

TEST(Partition, LeavesDataMovementAloneNative) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int t = g.Add("t", "Transpose", {x, g.Ints("perm", {1, 0})});
  g.Return(t);
  Cut cut = CutGraph(g);
  EXPECT_THAT(cut.partition.segments, IsEmpty());
  EXPECT_EQ(cut.partition.verdicts[t].reason, Reason::kNotWorthIt);
  EXPECT_EQ(cut.partition.verdicts[1].reason, Reason::kNotWorthIt);  // the constant
}

TEST(Partition, ReportsUnusedNodes) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int dead = g.Native("dead", {a, a, a});
  g.Return(g.Add("b", "Exp", {a}));
  Cut cut = CutGraph(g);
  EXPECT_EQ(cut.partition.verdicts[dead].reason, Reason::kUnused);
  EXPECT_EQ(cut.segments[0].outputs.size(), 1u);
  EXPECT_THAT(Names(Replaced(g, cut)), ElementsAre("x", "engine_0"));
}

TEST(Partition, GivesVariableHandlesToTheSegment) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int handle = g.Arg("handle", {}, DType::kResource);
  int read = g.Add("read", "ReadVariableOp", {handle}, {}, {DType::kFloat32});
  g.graph.nodes[read].frozen = std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{4});
  int a = g.Add("a", "Mul", {x, read});
  g.Return(a);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.segments.size(), 1u);
  EXPECT_EQ(cut.segments[0].inputs.size(), 2u);
  Result<Network> network = convert::LowerSegment(cut.segments[0].body);
  ASSERT_TRUE(network.ok()) << network.status().ToString();
  EXPECT_EQ(network->inputs().size(), 1u);
  EXPECT_EQ(NodeNamed(Replaced(g, cut), "engine_0").inputs.size(), 2u);
}

// Sizes that only an outside tensor determines keep their relations inside the segment.
TEST(Partition, AnnotatesArgumentsWithSizesOfTheGraph) {
  TestGraph g;
  int x = g.Arg("x", {-1, 6});
  int flat = g.Add("flat", "Reshape", {x, g.Ints("shape", {-1, 2})});
  int n = g.Native("n", {flat, flat, flat}, {-1, 2});
  int a = g.Add("a", "AddV2", {flat, n});
  int b = g.Add("b", "AddV2", {flat, a});
  g.Return(b);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.segments.size(), 1u);
  const tfgraph::Graph& body = cut.segments[0].body;
  std::vector<std::string> dims;
  for (int v : body.args) dims.push_back(body.nodes[v].attr(convert::kDimsAttr)->s().value());
  EXPECT_THAT(dims, ElementsAre("batch*3;2", "n_0;2"));
  EXPECT_TRUE(convert::LowerSegment(body).ok());
}

// The control edge from i, whose copy outside would depend on the segment, orders nothing here.
TEST(Partition, DoesNotWaitForACopyOfAnIdentityOfItself) {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {x});
  int i = g.Add("i", "Identity", {a});
  int b = g.Add("b", "Exp", {a});
  g.Control(i, b);
  g.Return(b);
  Cut cut = CutGraph(g);
  ASSERT_EQ(cut.segments.size(), 1u);
  EXPECT_THAT(cut.segments[0].control_inputs, IsEmpty());
  EXPECT_THAT(Names(Replaced(g, cut)), ElementsAre("x", "engine_0"));
}

// Every segment is convex and the graph of segments and native nodes has no cycle: ReplaceSegments would fail.
class RandomGraphs : public ::testing::TestWithParam<int> {};

TestGraph RandomGraph(int seed, int size) {
  std::mt19937 random(seed);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  TestGraph g;
  g.Arg("x", {-1, 4});
  g.Arg("y", {-1, 4});
  for (int i = 2; i < size; ++i) {
    auto pick = [&] { return below(3) ? std::max(0, i - 1 - below(std::min(i, 12))) : below(i); };
    std::string name = "v" + std::to_string(i);
    int kind = below(10);
    int v = kind < 2 ? g.Native(name, {pick(), pick(), pick()}) : kind == 2 ? g.Add(name, "Identity", {pick()})
                                                                            : g.Add(name, "AddV2", {pick(), pick()});
    if (below(8) == 0) g.Control(pick(), v);
    if (below(10) == 0) g.Return(v);
  }
  g.Return(size - 1);
  return g;
}

TEST_P(RandomGraphs, SegmentsAreConvexMaximalAndDeterministic) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  TestGraph g = RandomGraph(GetParam(), 120);
  Cut cut = CutGraph(g);
  tfgraph::Graph graph = Replaced(g, cut);
  std::set<int> seen;
  for (const SegmentNodes& segment : cut.partition.segments) {
    for (int v : segment.nodes) EXPECT_TRUE(seen.insert(v).second);
  }
  for (size_t v = 0; v < g.graph.nodes.size(); ++v) {
    EXPECT_EQ(cut.partition.verdicts[v].ok() && g.graph.nodes[v].op == "AddV2", seen.count(static_cast<int>(v)) > 0);
  }
  for (const Segment& segment : cut.segments) {
    Result<Network> network = convert::LowerSegment(segment.body);
    EXPECT_TRUE(network.ok()) << network.status().ToString();
  }
  Cut again = CutGraph(g);
  EXPECT_EQ(cut.partition.segment_of, again.partition.segment_of);

  // No two engines with an edge between them could be one: there is another path.
  auto is_engine = [&](int v) { return graph.nodes[v].op == "TRTEngineOp"; };
  std::vector<std::set<int>> next(graph.nodes.size());
  for (size_t v = 0; v < graph.nodes.size(); ++v) {
    for (tfgraph::TensorId t : graph.nodes[v].inputs) next[t.node].insert(static_cast<int>(v));
    for (int c : graph.nodes[v].control_inputs) next[c].insert(static_cast<int>(v));
  }
  for (size_t a = 0; a < graph.nodes.size(); ++a) {
    for (int b : next[a]) {
      if (!is_engine(static_cast<int>(a)) || !is_engine(b)) continue;
      std::set<int> reached;
      std::vector<int> stack;
      for (int s : next[a]) {
        if (s != b) stack.push_back(s);
      }
      while (!stack.empty()) {
        int v = stack.back();
        stack.pop_back();
        if (reached.insert(v).second) stack.insert(stack.end(), next[v].begin(), next[v].end());
      }
      EXPECT_TRUE(reached.count(b)) << graph.nodes[a].name << " and " << graph.nodes[b].name << " could be one";
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, RandomGraphs, ::testing::Range(1, 41));

TEST(Partition, TakesLargeGraphs) {
  TestGraph g = RandomGraph(99, 10000);
  Cut cut = CutGraph(g);
  Replaced(g, cut);
}

}  // namespace
}  // namespace tfengine::partition
