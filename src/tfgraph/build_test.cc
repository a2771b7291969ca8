// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/build.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/errors.h"
#include "saved_model/writer.h"
#include "tfgraph/transform.h"

namespace tfengine::tfgraph {
namespace {

using saved_model::FunctionLibrary;
using saved_model::NewFunction;
using saved_model::OpTable;

Node Arg(const std::string& name, DType type = DType::kFloat32) {
  Node n;
  n.name = name;
  n.op = "_Arg";
  n.output_types = {type};
  n.stateful = true;
  return n;
}

Node Op(const std::string& name, const std::string& op, std::vector<TensorId> inputs,
        std::vector<int> control = {}) {
  Node n;
  n.name = name;
  n.op = op;
  n.inputs = std::move(inputs);
  n.control_inputs = std::move(control);
  n.attrs["T"] = AttrValue::Type(DType::kFloat32);
  n.output_types = {DType::kFloat32};
  return n;
}

Node Call(const std::string& name, const std::string& function, std::vector<TensorId> inputs,
          std::vector<DType> in, std::vector<DType> out, std::vector<int> control = {}) {
  Node n = Op(name, "StatefulPartitionedCall", std::move(inputs), std::move(control));
  n.attrs = {{"Tin", AttrValue::TypeList(in)},
             {"Tout", AttrValue::TypeList(out)},
             {"f", AttrValue::Func(function)}};
  n.output_types = std::move(out);
  n.stateful = true;
  return n;
}

class InlineTest : public ::testing::Test {
 protected:
  void Add(const std::string& name, const Graph& graph, std::vector<std::string> args) {
    auto bytes = saved_model::SerializeFunction(NewFunction{name, std::move(args), {}, {}}, graph,
                                                ops_, library_, true);
    ASSERT_TRUE(bytes.ok()) << bytes.status().ToString();
    ASSERT_TRUE(library_.AddOwned(*bytes).ok());
  }
  Result<Graph> Build(const std::string& name, BuildOptions options = {}) {
    return BuildFunctionGraph(*library_.Find(name), library_, ops_, options);
  }
  static const Node* Find(const Graph& g, const std::string& name) {
    int i = g.Find(name);
    return i < 0 ? nullptr : &g.nodes[static_cast<size_t>(i)];
  }
  static std::vector<std::string> Control(const Graph& g, const std::string& name) {
    std::vector<std::string> names;
    for (int c : Find(g, name)->control_inputs)
      names.push_back(g.nodes[static_cast<size_t>(c)].name);
    std::sort(names.begin(), names.end());
    return names;
  }

  OpTable ops_;
  FunctionLibrary library_;
};

// write(handle, value): assigns; returns what it then reads.
Graph Writer() {
  Graph g;
  g.nodes = {Arg("handle", DType::kResource), Arg("value")};
  Node assign = Op("assign", "AssignVariableOp", {{0, 0}, {1, 0}});
  assign.attrs = {{"dtype", AttrValue::Type(DType::kFloat32)},
                  {"validate_shape", AttrValue::Bool(false)}};
  assign.output_types = {};
  assign.stateful = true;
  Node read = Op("read", "ReadVariableOp", {{0, 0}}, {2});
  read.attrs = {{"dtype", AttrValue::Type(DType::kFloat32)}};
  read.stateful = true;
  g.nodes.push_back(assign);
  g.nodes.push_back(read);
  g.args = {0, 1};
  g.returns = {{"out", {3, 0}}};
  g.control_returns = {{"assign", 2}, {"read", 3}};
  return g;
}

TEST_F(InlineTest, KeepsTheOrderThatControlEdgesAndCallsImply) {
  Add("write", Writer(), {"handle", "value"});
  // first = write(h, x); second = write(h, -x) after first; y = Identity(x) after second
  Graph g;
  g.nodes = {Arg("h", DType::kResource),
             Arg("x"),
             Call("first", "write", {{0, 0}, {1, 0}}, {DType::kResource, DType::kFloat32},
                  {DType::kFloat32}),
             Op("neg", "Neg", {{1, 0}}),
             Call("second", "write", {{0, 0}, {3, 0}}, {DType::kResource, DType::kFloat32},
                  {DType::kFloat32}, {2}),
             Op("y", "Identity", {{1, 0}}, {4})};
  g.args = {0, 1};
  g.returns = {{"y", {5, 0}}};
  g.control_returns = {{"second", 4}};
  Add("main", g, {"h", "x"});
  auto built = Build("main");
  ASSERT_TRUE(built.ok()) << built.status().ToString();
  ASSERT_NE(Find(*built, "first/assign"), nullptr);
  ASSERT_NE(Find(*built, "second/read"), nullptr);
  // Every node of the second body that starts by itself waits for all of the first.
  EXPECT_EQ(Control(*built, "second/assign"),
            (std::vector<std::string>{"first/assign", "first/read"}));
  auto read = Control(*built, "second/read");
  EXPECT_EQ(read, std::vector<std::string>{"second/assign"});
  EXPECT_EQ(Control(*built, "y"), (std::vector<std::string>{"first/assign", "first/read",
                                                            "second/assign", "second/read"}));
  std::vector<std::string> effects;
  for (const auto& r : built->control_returns)
    effects.push_back(built->nodes[static_cast<size_t>(r.node)].name);
  std::sort(effects.begin(), effects.end());
  EXPECT_EQ(effects, (std::vector<std::string>{"second/assign", "second/read"}));
}

TEST_F(InlineTest, LeavesCallsAloneWhenAsked) {
  Add("write", Writer(), {"handle", "value"});
  Graph g;
  g.nodes = {Arg("h", DType::kResource), Arg("x"),
             Call("call", "write", {{0, 0}, {1, 0}}, {DType::kResource, DType::kFloat32},
                  {DType::kFloat32})};
  g.args = {0, 1};
  g.returns = {{"y", {2, 0}}};
  Add("main", g, {"h", "x"});
  BuildOptions options;
  options.inline_calls = false;
  auto built = Build("main", options);
  ASSERT_TRUE(built.ok());
  EXPECT_EQ(built->nodes.size(), 3u);
  EXPECT_TRUE(Find(*built, "call")->stateful);
}

TEST_F(InlineTest, RecursionIsAnError) {
  Graph g;
  g.nodes = {Arg("x"), Call("again", "loop", {{0, 0}}, {DType::kFloat32}, {DType::kFloat32})};
  g.args = {0};
  g.returns = {{"y", {1, 0}}};
  Add("loop", g, {"x"});
  auto built = Build("loop");
  ASSERT_FALSE(built.ok());
  EXPECT_EQ(built.status().error_id(), static_cast<int>(ErrorId::kFunctionRecursive));
}

TEST_F(InlineTest, DoublingFunctionsHitTheNodeLimit) {
  Graph leaf;
  leaf.nodes = {Arg("x"), Op("y", "Neg", {{0, 0}})};
  leaf.args = {0};
  leaf.returns = {{"y", {1, 0}}};
  Add("f0", leaf, {"x"});
  for (int i = 1; i <= 40; ++i) {
    std::string inner = "f" + std::to_string(i - 1);
    Graph g;
    g.nodes = {Arg("x"), Call("a", inner, {{0, 0}}, {DType::kFloat32}, {DType::kFloat32}),
               Call("b", inner, {{1, 0}}, {DType::kFloat32}, {DType::kFloat32})};
    g.args = {0};
    g.returns = {{"y", {2, 0}}};
    Add("f" + std::to_string(i), g, {"x"});
  }
  BuildOptions options;
  options.max_nodes = 10000;
  auto built = Build("f40", options);
  ASSERT_FALSE(built.ok());
  EXPECT_EQ(built.status().error_id(), static_cast<int>(ErrorId::kGraphTooLarge));
  EXPECT_EQ(Build("f10")->nodes.size(), 1u + 1024u);
}

TEST_F(InlineTest, PortsOfListOutputsAreNamedThroughTheOpDef) {
  Graph g;
  Node split = Op("split", "Split", {{2, 0}, {0, 0}});
  split.attrs["num_split"] = AttrValue::Int(3);
  split.output_types = {DType::kFloat32, DType::kFloat32, DType::kFloat32};
  Node axis = Op("axis", "Const", {});
  Tensor zero(DType::kInt32, {});
  *zero.mutable_as<int32_t>() = 0;
  axis.attrs = {{"dtype", AttrValue::Type(DType::kInt32)}, {"value", AttrValue::TensorValue(zero)}};
  axis.output_types = {DType::kInt32};
  g.nodes = {Arg("x"), split, axis, Op("sum", "AddV2", {{1, 2}, {1, 0}})};
  g.args = {0};
  g.returns = {{"sum", {3, 0}}, {"middle", {1, 1}}};
  Add("f", g, {"x"});
  auto built = Build("f");
  ASSERT_TRUE(built.ok()) << built.status().ToString();
  const Node* sum = Find(*built, "sum");
  ASSERT_NE(sum, nullptr);
  EXPECT_EQ(sum->inputs[0].port, 2);
  EXPECT_EQ(sum->inputs[1].port, 0);
  EXPECT_EQ(built->returns[1].tensor.port, 1);
  EXPECT_EQ(Find(*built, "axis")->output_shapes.size(), 1u);
}

TEST_F(InlineTest, WrongInputTypesAreFound) {
  Graph g;
  g.nodes = {Arg("x", DType::kInt32), Op("y", "Neg", {{0, 0}})};
  g.args = {0};
  g.returns = {{"y", {1, 0}}};
  Add("f", g, {"x"});
  auto built = Build("f");
  ASSERT_FALSE(built.ok());
  EXPECT_NE(built.status().message().find("expected float32, got int32"), std::string::npos)
      << built.status().message();
}

TEST(Transform, SortKeepsOrderWhereItCanAndFindsCycles) {
  Graph g;
  g.nodes = {Op("b", "Neg", {{1, 0}}), Op("a", "Const", {}), Op("c", "Const", {})};
  g.returns = {{"b", {0, 0}}};
  ASSERT_TRUE(SortTopologically(g).ok());
  EXPECT_EQ(g.nodes[0].name, "a");
  EXPECT_EQ(g.nodes[1].name, "b");
  EXPECT_EQ(g.returns[0].tensor.node, 1);
  g.nodes[0].control_inputs = {1};
  EXPECT_FALSE(SortTopologically(g).ok());
}

TEST(Transform, PruneKeepsWhatReturnsArgumentsAndEffectsNeed) {
  Graph g;
  g.nodes = {Arg("x"),
             Op("used", "Neg", {{0, 0}}),
             Op("dead", "Neg", {{1, 0}}),
             Op("before", "NoOp", {}),
             Op("effect", "NoOp", {}, {3}),
             Arg("unused")};
  g.args = {0, 5};
  g.returns = {{"y", {1, 0}}};
  g.control_returns = {{"effect", 4}};
  EXPECT_EQ(Prune(g), 1);
  EXPECT_EQ(g.Find("dead"), -1);
  EXPECT_EQ(g.nodes[static_cast<size_t>(g.args[1])].name, "unused");
  EXPECT_EQ(g.nodes[static_cast<size_t>(g.control_returns[0].node)].name, "effect");
}

TEST(Transform, IdleControlEdgesGoAndRealOnesStay) {
  Graph g;
  Node read = Op("read", "ReadVariableOp", {});
  read.stateful = true;
  read.frozen = std::make_shared<const Tensor>(DType::kFloat32, std::vector<int64_t>{});
  Node assert_node = Op("assert", "Assert", {});
  assert_node.stateful = true;
  assert_node.output_types = {};
  g.nodes = {read, assert_node, Op("join", "NoOp", {}, {0, 1}), Op("y", "Identity", {{0, 0}}, {2})};
  g.returns = {{"y", {3, 0}}};
  g.control_returns = {{"read", 0}, {"assert", 1}};
  RemoveIdleControlEdges(g);
  EXPECT_EQ(g.nodes[3].control_inputs, std::vector<int>{1});
  ASSERT_EQ(g.control_returns.size(), 1u);
  EXPECT_EQ(g.control_returns[0].name, "assert");
}

}  // namespace
}  // namespace tfengine::tfgraph
