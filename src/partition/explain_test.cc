// SPDX-License-Identifier: Apache-2.0
#include "partition/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "convert/test_graph.h"

namespace tfengine::partition {
namespace {

using ::testing::HasSubstr;

// x -> a -> b -> c -> native twice, with a constant and an identity on the way.
Explanation Sample() {
  TestGraph g;
  int x = g.Arg("x", {-1, 4});
  int a = g.Add("a", "Relu", {g.Add("i", "Identity", {x})});
  int b = g.Add("b", "Mul", {a, g.Floats("k", {4})});
  int c = g.Add("c", "Relu", {b});
  int n = g.Native("n1", {c, c, c});
  g.Return(g.Native("n2", {n, c, c}));
  Result<convert::Conversion> conversion = convert::Analyze(g.graph);
  EXPECT_TRUE(conversion.ok());
  return Explain(g.graph, PartitionGraph(g.graph, *conversion), "serving_default");
}

TEST(Explain, CountsComputeNodes) {
  Explanation e = Sample();
  EXPECT_EQ(e.compute_nodes, 5);
  EXPECT_EQ(e.converted_nodes, 3);
  EXPECT_DOUBLE_EQ(e.share(), 0.6);
  ASSERT_EQ(e.segments.size(), 1u);
  EXPECT_EQ(e.segments[0].nodes, 3);
  EXPECT_EQ(e.segments[0].absorbed, 2);
  EXPECT_EQ(e.segments[0].ops[0].op, "Relu");
  ASSERT_EQ(e.natives.size(), 1u);
  EXPECT_EQ(e.natives[0].nodes.size(), 2u);
}

TEST(Explain, WritesTextForATerminal) {
  EXPECT_EQ(ToText(Sample(), 1),
            "serving_default\n"
            "3 of 5 compute nodes in 1 engine (60.0 %)\n"
            "segment 0        3 nodes   engine   12 multiply-adds: 2 Relu, 1 Mul\n"
            "native           2 nodes   why\n"
            "     2 Betainc                      no-converter\n"
            "         n1\n"
            "         and 1 more\n");
}

TEST(Explain, WritesJson) {
  nlohmann::json root = nlohmann::json::parse(ToJson(Sample()));
  EXPECT_EQ(root["segments"][0]["ops"]["Relu"], 2);
  EXPECT_EQ(root["natives"][0]["reason"], "no-converter");
  EXPECT_EQ(root["nodes"].size(), 8u);
  EXPECT_EQ(root["nodes"][2]["segment"], 0);
}

TEST(Explain, WritesJsonOfNamesThatAreNotUtf8) {
  Explanation e = Sample();
  e.nodes[0].name = "\xff\xfe";
  EXPECT_THAT(ToJson(e), HasSubstr("nodes"));
}

TEST(Reasons, HaveDistinctNames) {
  std::set<std::string> names;
  for (int r = 0; r <= static_cast<int>(Reason::kUnused); ++r) names.insert(ReasonName(static_cast<Reason>(r)));
  EXPECT_EQ(names.size(), static_cast<size_t>(Reason::kUnused) + 1);
}

}  // namespace
}  // namespace tfengine::partition
