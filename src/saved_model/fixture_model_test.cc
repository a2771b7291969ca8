// SPDX-License-Identifier: Apache-2.0
// Tests on SavedModels that TensorFlow wrote (tests/make_fixtures.py). The suites are named
// Fixture* so that they run only where those can be made.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/errors.h"
#include "saved_model/saved_model.h"
#include "saved_model/writer.h"
#include "tfgraph/build.h"
#include "tfgraph/freeze.h"
#include "tfgraph/transform.h"

namespace tfengine::saved_model {
namespace {

namespace fs = std::filesystem;
using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::SignatureGraph;
using tfgraph::TensorId;

std::string Fixtures() {
  const char* dir = std::getenv("TFENGINE_FIXTURES");
  if (dir == nullptr || !fs::exists(std::string(dir) + "/done")) {
    ADD_FAILURE() << "TFENGINE_FIXTURES must name what tests/make_fixtures.py wrote; run ctest "
                     "with TFENGINE_PYTHON set";
    std::exit(1);
  }
  return dir;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string TempDir(const std::string& name) {
  std::string dir = ::testing::TempDir() + "/fixture_test_" + name;
  fs::remove_all(dir);
  return dir;
}

// Main-graph name of the variable that a frozen node reads.
std::string VariableOf(const SignatureGraph& s, int i) {
  while (true) {
    const Node& node = s.graph.nodes[static_cast<size_t>(i)];
    for (size_t a = 0; a < s.graph.args.size(); ++a)
      if (s.graph.args[a] == i) return s.args[a].node;
    if (node.inputs.empty()) return node.name;
    i = node.inputs[0].node;
  }
}

void ExpectBytes(const nlohmann::json& row, const Tensor& value) {
  EXPECT_EQ(DTypeName(value.dtype()), row["dtype"].get<std::string>()) << row;
  EXPECT_EQ(value.shape(), row["shape"].get<std::vector<int64_t>>()) << row;
  std::string expected = ReadFile(Fixtures() + "/" + row["file"].get<std::string>());
  ASSERT_EQ(value.num_bytes(), expected.size()) << row;
  EXPECT_EQ(std::memcmp(value.data(), expected.data(), expected.size()), 0) << row;
}

struct ModelCase {
  const char* name;
  int frozen;  // reads over all signatures of the first MetaGraph
  int kept;
};

class FixtureModel : public ::testing::TestWithParam<ModelCase> {};

TEST_P(FixtureModel, FreezesTheValuesThatTensorFlowReads) {
  const std::string dir = Fixtures() + "/" + GetParam().name;
  auto expected = nlohmann::json::parse(ReadFile(dir + ".expected.json"));
  std::map<std::string, nlohmann::json> rows;
  for (const auto& row : expected["variables"]) rows[row["name"]] = row;
  auto model = SavedModel::Open(dir);
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  auto meta = model->Find(expected["tags"].get<std::vector<std::string>>());
  ASSERT_TRUE(meta.ok()) << meta.status().ToString();
  int frozen = 0, kept = 0, compared = 0;
  for (const std::string& name : (*meta)->SignatureNames()) {
    auto built = tfgraph::BuildSignatureGraph(**meta, name);
    ASSERT_TRUE(built.ok()) << built.status().ToString();
    ASSERT_TRUE(tfgraph::Validate(built->graph).ok());
    const SignatureDef& def = (*meta)->signatures.at(name);
    for (const auto& [key, info] : def.outputs) {
      ASSERT_TRUE(built->outputs.contains(key));
      EXPECT_EQ(built->graph.type_of(
                    built->graph.returns[static_cast<size_t>(built->outputs[key])].tensor),
                info.dtype);
    }
    size_t inputs = 0;
    for (size_t i = 0; i < built->args.size(); ++i) {
      if (built->args[i].kind != tfgraph::ArgBinding::Kind::kInput) continue;
      ++inputs;
      EXPECT_EQ(built->graph.type_of({built->graph.args[i], 0}),
                def.inputs.at(built->args[i].key).dtype);
    }
    EXPECT_EQ(inputs, def.inputs.size());
    auto report = tfgraph::FreezeVariables(*model, **meta, &*built);
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    frozen += report->frozen_reads;
    kept += static_cast<int>(report->kept.size());
    for (size_t i = 0; i < built->graph.nodes.size(); ++i) {
      const Node& node = built->graph.nodes[i];
      if (!node.frozen || node.op == "_Arg") continue;
      auto it = rows.find(VariableOf(*built, static_cast<int>(i)));
      // Keras 3: the node a session restores may be the other copy of the variable.
      if (it == rows.end()) continue;
      ExpectBytes(it->second, *node.frozen);
      ++compared;
    }
    tfgraph::RemoveIdleControlEdges(built->graph);
    tfgraph::Prune(built->graph);
    ASSERT_TRUE(tfgraph::Validate(built->graph).ok());
  }
  EXPECT_EQ(frozen, GetParam().frozen);
  EXPECT_EQ(kept, GetParam().kept);
  const std::string_view name = GetParam().name;
  if (name != "keras3_saved" && name != "no_saver") {
    EXPECT_EQ(compared, frozen);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, FixtureModel,
    ::testing::Values(ModelCase{"keras3_export", 16, 0}, ModelCase{"keras3_saved", 8, 0},
                      ModelCase{"keras2", 8, 0}, ModelCase{"module_loop", 2, 2},
                      ModelCase{"table", 2, 0}, ModelCase{"dtypes", 17, 0},
                      ModelCase{"no_saver", 8, 0}, ModelCase{"tf1_ref", 4, 1},
                      ModelCase{"tf1_resource", 2, 1}, ModelCase{"tf1_partitioned", 6, 1}),
    [](const auto& info) { return info.param.name; });

TEST(FixtureBundle, ReadsSeveralShards) {
  auto bundle = TensorBundle::Open(Fixtures() + "/sharded");
  ASSERT_TRUE(bundle.ok()) << bundle.status().ToString();
  for (const auto& row :
       nlohmann::json::parse(ReadFile(Fixtures() + "/sharded.expected.json"))["variables"]) {
    auto value = (*bundle)->Read(row["name"]);
    ASSERT_TRUE(value.ok()) << value.status().ToString();
    ExpectBytes(row, **value);
  }
}

TEST(FixtureBundle, AssemblesPartitionedTensors) {
  auto bundle = TensorBundle::Open(Fixtures() + "/tf1_partitioned/variables/variables");
  ASSERT_TRUE(bundle.ok());
  ASSERT_NE((*bundle)->Find("m/w"), nullptr);
  EXPECT_EQ((*bundle)->Find("m/w")->slices.size(), 3u);
  auto whole = (*bundle)->Read("m/w");
  ASSERT_TRUE(whole.ok()) << whole.status().ToString();
  EXPECT_EQ((*whole)->shape(), (std::vector<int64_t>{4, 6}));
  // A slice that is not one of those stored is cut out of the whole.
  auto part = (*bundle)->ReadSlice("m/w", {{1, 3}, {2, 4}});
  ASSERT_TRUE(part.ok());
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 4; ++c)
      EXPECT_EQ((*part)->as<float>()[r * 4 + c], (*whole)->as<float>()[(r + 1) * 6 + c + 2]);
  EXPECT_FALSE((*bundle)->ReadSlice("m/w", {{3, 3}, {0, -1}}).ok());
}

TEST(FixtureBundle, ReadsTheObjectGraphString) {
  auto bundle = TensorBundle::Open(Fixtures() + "/table/variables/variables");
  ASSERT_TRUE(bundle.ok());
  auto strings = (*bundle)->ReadStrings("_CHECKPOINTABLE_OBJECT_GRAPH");
  ASSERT_TRUE(strings.ok()) << strings.status().ToString();
  ASSERT_EQ(strings->size(), 1u);
  EXPECT_NE((*strings)[0].find("embedding/.ATTRIBUTES/VARIABLE_VALUE"), std::string::npos);
  EXPECT_EQ((*bundle)->Read("_CHECKPOINTABLE_OBJECT_GRAPH").status().error_id(),
            static_cast<int>(ErrorId::kUnsupportedDType));
  EXPECT_EQ((*bundle)->Read("nothing").status().error_id(),
            static_cast<int>(ErrorId::kVariableMissing));
}

TEST(FixtureSavedModel, UnknownNamesListWhatThereIs) {
  auto model = SavedModel::Open(Fixtures() + "/tf1_ref");
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->meta_graphs().size(), 2u);
  auto tags = model->Find({"train"});
  EXPECT_EQ(tags.status().error_id(), static_cast<int>(ErrorId::kUnknownTag));
  EXPECT_NE(tags.status().message().find("{serve}, {gpu, serve}"), std::string::npos)
      << tags.status().message();
  EXPECT_TRUE(model->Find({"serve", "gpu"}).ok());
  auto signature = (*model->Find({"serve"}))->FindSignature("x");
  EXPECT_NE(signature.status().message().find("present: serving_default"), std::string::npos);
}

TEST(FixtureSavedModel, CapturedConstantsAreValuesOfTheirArguments) {
  auto model = SavedModel::Open(Fixtures() + "/module_loop");
  ASSERT_TRUE(model.ok());
  auto built = tfgraph::BuildSignatureGraph(model->meta_graphs()[0], "once");
  ASSERT_TRUE(built.ok());
  EXPECT_EQ(built->kind, SignatureGraph::Kind::kFunction);
  bool found = false;
  for (size_t i = 0; i < built->args.size(); ++i) {
    if (built->args[i].op != "Const") continue;
    const Node& arg = built->graph.nodes[static_cast<size_t>(built->graph.args[i])];
    ASSERT_NE(arg.frozen, nullptr);
    EXPECT_EQ(arg.frozen->as<float>()[2], 2.f);
    found = true;
  }
  EXPECT_TRUE(found);
}

// Rewrites every signature with its own flat graph; the result must read back to the same graph.
void RewriteAndCompare(const std::string& name, bool engines) {
  auto model = SavedModel::Open(Fixtures() + "/" + name);
  ASSERT_TRUE(model.ok());
  const MetaGraph& meta = model->meta_graphs()[0];
  Rewriter rewriter(*model, meta);
  std::map<std::string, SignatureGraph> graphs;
  for (const std::string& signature : meta.SignatureNames()) {
    auto built = tfgraph::BuildSignatureGraph(meta, signature);
    ASSERT_TRUE(built.ok());
    Status status = built->kind == SignatureGraph::Kind::kFunction
                        ? rewriter.ReplaceFunctionBody(built->function, built->graph)
                        : rewriter.MergeMainGraph(signature, built->graph);
    ASSERT_TRUE(status.ok()) << status.ToString();
    graphs.emplace(signature, *std::move(built));
  }
  if (engines) {
    for (const char* engine : {"TRTEngineOp_000_000", "TRTEngineOp_000_001"}) {
      Status status = rewriter.AddEngineResource(
          {engine, "", std::string("trt-serialized-engine.") + engine, 3});
      ASSERT_TRUE(status.ok()) << status.ToString();
    }
  }
  const std::string dir = TempDir("rewrite_" + name);
  ASSERT_TRUE(rewriter.Write(dir).ok());
  EXPECT_EQ(rewriter.Write(dir).error_id(), static_cast<int>(ErrorId::kOutputExists));
  EXPECT_FALSE(fs::exists(dir + "/fingerprint.pb"));
  auto again = SavedModel::Open(dir);
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  ASSERT_EQ(again->meta_graphs().size(), model->meta_graphs().size());
  const MetaGraph& rewritten = again->meta_graphs()[0];
  EXPECT_EQ(rewritten.SignatureNames(), meta.SignatureNames());
  for (const auto& [signature, before] : graphs) {
    auto after = tfgraph::BuildSignatureGraph(rewritten, signature);
    ASSERT_TRUE(after.ok()) << after.status().ToString();
    ASSERT_EQ(after->graph.nodes.size(), before.graph.nodes.size());
    for (size_t i = 0; i < before.graph.nodes.size(); ++i) {
      const Node& a = before.graph.nodes[i];
      const Node& b = after->graph.nodes[i];
      EXPECT_EQ(a.name, b.name);
      EXPECT_EQ(a.op, b.op);
      EXPECT_EQ(a.inputs, b.inputs) << a.name;
      EXPECT_EQ(a.control_inputs, b.control_inputs) << a.name;
      EXPECT_EQ(a.attrs, b.attrs) << a.name;
      EXPECT_EQ(a.output_types, b.output_types) << a.name;
    }
    EXPECT_EQ(after->outputs, before.outputs);
    EXPECT_EQ(after->graph.control_returns.size(), before.graph.control_returns.size());
  }
  // Functions that were not edited are the same bytes.
  for (const auto& [function, def] : meta.functions.functions()) {
    bool edited = false;
    for (const auto& [signature, g] : graphs) edited |= g.function == function;
    ASSERT_NE(rewritten.functions.Find(function), nullptr);
    if (!edited) {
      EXPECT_EQ(rewritten.functions.Find(function)->serialized, def.serialized);
    }
  }
  if (!engines) return;
  EXPECT_EQ(rewritten.assets.size(), meta.assets.size() + 2);
  EXPECT_TRUE(fs::exists(dir + "/assets/trt-serialized-engine.TRTEngineOp_000_001"));
  ASSERT_FALSE(rewritten.InitOps().empty());
  auto init = tfgraph::BuildTargets(rewritten, rewritten.InitOps());
  ASSERT_TRUE(init.ok()) << init.status().ToString();
  int initialised = 0;
  for (const Node& node : init->nodes) initialised += node.op == "InitializeTRTResource";
  EXPECT_EQ(initialised, 2);
}

TEST(FixtureRewriter, WritesBackWhatItRead) {
  for (const char* name :
       {"keras3_export", "keras2", "module_loop", "table", "tf1_ref", "tf1_resource"}) {
    SCOPED_TRACE(name);
    RewriteAndCompare(name, false);
  }
}

TEST(FixtureRewriter, AddsEngineResources) {
  for (const char* name : {"keras3_export", "table", "tf1_ref"}) {
    SCOPED_TRACE(name);
    RewriteAndCompare(name, true);
  }
}

TEST(FixtureRewriter, RefusesWhatDoesNotFit) {
  auto model = SavedModel::Open(Fixtures() + "/keras2");
  ASSERT_TRUE(model.ok());
  const MetaGraph& meta = model->meta_graphs()[0];
  auto built = tfgraph::BuildSignatureGraph(meta, "serving_default");
  ASSERT_TRUE(built.ok());
  Rewriter rewriter(*model, meta);
  EXPECT_FALSE(rewriter.ReplaceFunctionBody("no such function", built->graph).ok());
  EXPECT_FALSE(rewriter.AddFunction({built->function, {}, {}, {}}, built->graph).ok());
  EXPECT_FALSE(rewriter.AddEngineResource({"e", "", "../evil", 1}).ok());
  built->graph.returns.clear();
  EXPECT_FALSE(rewriter.ReplaceFunctionBody(built->function, built->graph).ok());
}

// Runs everything a reader does; must return, with whatever result.
void Exercise(const std::string& dir) {
  auto model = SavedModel::Open(dir);
  if (!model.ok()) return;
  for (const MetaGraph& meta : model->meta_graphs()) {
    for (const std::string& signature : meta.SignatureNames()) {
      auto built = tfgraph::BuildSignatureGraph(meta, signature, {.max_nodes = 20000});
      if (!built.ok()) continue;
      ASSERT_TRUE(tfgraph::Validate(built->graph).ok());
      auto report = tfgraph::FreezeVariables(*model, meta, &*built);
      if (!report.ok()) continue;
      tfgraph::RemoveIdleControlEdges(built->graph);
      tfgraph::Prune(built->graph);
      for (const Node& node : built->graph.nodes)
        if (node.op == "Const" && node.attr("value")) (void)node.attr("value")->tensor();
    }
  }
}

struct Damage {
  const char* model;
  const char* file;
};
class FixtureDamage : public ::testing::TestWithParam<Damage> {};

TEST_P(FixtureDamage, NeverCrashes) {
  const std::string dir = TempDir("damage");
  fs::copy(Fixtures() + "/" + GetParam().model, dir, fs::copy_options::recursive);
  const std::string path = dir + "/" + GetParam().file;
  const std::string good = ReadFile(path);
  ASSERT_FALSE(good.empty());
  fs::permissions(path, fs::perms::owner_all);
  for (size_t n = 0; n < good.size(); n += 1 + good.size() / 150) {
    WriteFile(path, std::string_view(good).substr(0, n));
    Exercise(dir);
  }
  const unsigned seed = 20240611;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 400; ++i) {
    std::string bad = good;
    for (int flips = 1 + i % 3; flips > 0; --flips)
      bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
    WriteFile(path, bad);
    Exercise(dir);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, FixtureDamage,
    ::testing::Values(Damage{"module_loop", "saved_model.pb"},
                      Damage{"tf1_partitioned", "saved_model.pb"},
                      Damage{"tf1_partitioned", "variables/variables.index"},
                      Damage{"dtypes", "variables/variables.index"},
                      Damage{"no_saver", "variables/variables.data-00000-of-00001"}),
    [](const auto& info) { return std::string(info.param.model) + std::to_string(info.index); });

TEST(FixtureBundle, EveryFlippedBitOfAShardIsNoticed) {
  const std::string dir = TempDir("flip");
  fs::copy(Fixtures() + "/dtypes", dir, fs::copy_options::recursive);
  const std::string path = dir + "/variables/variables.data-00000-of-00001";
  const std::string good = ReadFile(path);
  auto intact = TensorBundle::Open(dir + "/variables/variables");
  ASSERT_TRUE(intact.ok());
  for (const std::string& key : (*intact)->Keys()) {
    const auto* entry = (*intact)->Find(key);
    if (entry->size == 0 || DTypeSize(entry->dtype) == 0) continue;
    std::string bad = good;
    bad[static_cast<size_t>(entry->offset + entry->size / 2)] ^= 0x10;
    fs::remove(path);
    WriteFile(path, bad);
    auto bundle = TensorBundle::Open(dir + "/variables/variables");
    ASSERT_TRUE(bundle.ok());
    auto value = (*bundle)->Read(key);
    EXPECT_EQ(value.status().error_id(), static_cast<int>(ErrorId::kCheckpointCorrupt)) << key;
    EXPECT_NE(value.status().message().find(key), std::string::npos);
  }
}

}  // namespace
}  // namespace tfengine::saved_model
