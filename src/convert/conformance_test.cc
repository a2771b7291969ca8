// SPDX-License-Identifier: Apache-2.0
// Compares converters, run by the reference backend, with TensorFlow. tests/ops/convert_cases.py writes the cases into
// the folder that the environment variable TFENGINE_CONVERT_CASES names; without it the test is skipped.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backends/ref/ref.h"
#include "base/mapped_file.h"
#include "convert/convert.h"
#include "partition/partition.h"
#include "saved_model/saved_model.h"
#include "tfgraph/build.h"
#include "tfgraph/freeze.h"

namespace tfengine::convert {
namespace {

using nlohmann::json;

// Relative to the largest expected element, and the room that sums of `terms` products need.
double Tolerance(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return 2e-3;
    case DType::kFloat32: return 2e-6;
    case DType::kFloat64: return 1e-12;
    default: return 0;
  }
}

double ElementOf(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kFloat32: return t.as<float>()[i];
    case DType::kFloat64: return t.as<double>()[i];
    case DType::kInt32: return t.as<int32_t>()[i];
    case DType::kInt64: return static_cast<double>(t.as<int64_t>()[i]);
    case DType::kUint8: return t.as<uint8_t>()[i];
    case DType::kBool: return t.as<uint8_t>()[i];
    case DType::kFloat16: {
      _Float16 half;
      std::memcpy(&half, t.as<uint16_t>() + i, 2);
      return static_cast<double>(half);
    }
    default: ADD_FAILURE() << "no comparison for " << DTypeName(t.dtype()); return 0;
  }
}

// Both sides round sums of up to `terms` products of numbers around `scale`; 0: they must be equal.
void ExpectClose(const Tensor& got, const Tensor& want, int64_t terms, const std::string& what) {
  ASSERT_EQ(DTypeName(got.dtype()), std::string(DTypeName(want.dtype()))) << what;
  ASSERT_EQ(got.shape(), want.shape()) << what;
  double scale = 0;
  for (int64_t i = 0; i < want.num_elements(); ++i) {
    double w = std::abs(ElementOf(want, i));
    if (std::isfinite(w)) scale = std::max(scale, w);
  }
  const double allowed = terms == 0 ? 0 : Tolerance(want.dtype()) * (scale + 1) * std::sqrt(static_cast<double>(terms));
  for (int64_t i = 0; i < want.num_elements(); ++i) {
    double g = ElementOf(got, i), w = ElementOf(want, i);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    ASSERT_LE(std::abs(g - w), allowed) << what << ", element " << i << ": got " << g << ", expected " << w;
  }
}

// The longest sum that any node of the network computes.
int64_t LongestSum(const Network& network) {
  // Codes of 16 bits are too close for a tolerance.
  auto exact = [](const Node& node) { return node.op == Op::kFakeQuant || node.op == Op::kBinary; };
  if (!network.nodes().empty() && network.nodes().back().op == Op::kFakeQuant &&
      std::all_of(network.nodes().begin(), network.nodes().end(), exact))
    return 0;
  int64_t longest = 1;
  auto elements = [&](ValueId v) {
    int64_t n = 1;
    for (Dim d : network.value(v).shape) n *= d.is_const() ? std::max<int64_t>(d.value, 1) : 4;
    return n;
  };
  for (const Node& node : network.nodes()) {
    if (node.op == Op::kConv2d || node.op == Op::kConv2dTranspose || node.op == Op::kMatMul) {
      longest = std::max(longest, elements(node.inputs[1]));
    } else if (node.op == Op::kReduce || node.op == Op::kCumulative || node.op == Op::kLayerNorm) {
      longest = std::max(longest, elements(node.inputs[0]));
    }
  }
  return longest;
}

class Conformance : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* dir = std::getenv("TFENGINE_CONVERT_CASES");
    if (!dir) GTEST_SKIP() << "TFENGINE_CONVERT_CASES is not set";
    const std::string root = dir;
    auto model = saved_model::SavedModel::Open(root + "/model");
    ASSERT_TRUE(model.ok()) << model.status().ToString();
    model_.emplace(std::move(model).value());
    auto meta = model_->Find();
    ASSERT_TRUE(meta.ok()) << meta.status().ToString();
    meta_ = *meta;
    auto blob = MappedFile::Open(root + "/cases.bin");
    ASSERT_TRUE(blob.ok()) << blob.status().ToString();
    blob_ = *blob;
    std::ifstream(root + "/cases.json") >> cases_;
    ASSERT_GT(cases_.size(), 0u);
  }

  Tensor TensorOf(const json& entry) const {
    return Tensor(DTypeFromName(entry["dtype"]), entry["shape"].get<std::vector<int64_t>>(),
                  blob_->bytes().data() + entry["offset"].get<int64_t>(), blob_);
  }

  // Runs the network of a signature, whose inputs are those of the graph's arguments that are tensors.
  void RunCase(const Network& network, const tfgraph::SignatureGraph& signature, const json& runs,
               const std::string& name) {
    Status valid = Verify(network);
    ASSERT_TRUE(valid.ok()) << name << ": " << valid.ToString();
    for (const json& run : runs) {
      std::vector<Tensor> inputs;
      for (size_t i = 0; i < signature.args.size(); ++i) {
        const tfgraph::Node& arg = signature.graph.nodes[signature.graph.args[i]];
        if (arg.output_types[0] == DType::kResource) continue;
        inputs.push_back(signature.args[i].kind == tfgraph::ArgBinding::Kind::kInput
                             ? TensorOf(run["inputs"][signature.args[i].key])
                             : *arg.frozen);
      }
      Result<std::vector<Tensor>> outputs = ref::Execute(network, inputs);
      ASSERT_TRUE(outputs.ok()) << name << ": " << outputs.status().ToString() << "\n" << PrintNetwork(network);
      for (const auto& [key, index] : signature.outputs) {
        ExpectClose((*outputs)[index], TensorOf(run["outputs"][key]), LongestSum(network), name + ", output " + key);
      }
    }
  }

  std::optional<saved_model::SavedModel> model_;
  const saved_model::MetaGraph* meta_ = nullptr;
  std::shared_ptr<const MappedFile> blob_;
  json cases_;
};

TEST_F(Conformance, EveryCaseGivesTensorFlowsNumbers) {
  for (const auto& [name, entry] : cases_.items()) {
    SCOPED_TRACE(name);
    auto signature = tfgraph::BuildSignatureGraph(*meta_, name);
    ASSERT_TRUE(signature.ok()) << signature.status().ToString();
    auto frozen = tfgraph::FreezeVariables(*model_, *meta_, &*signature);
    ASSERT_TRUE(frozen.ok()) << frozen.status().ToString();
    Result<Conversion> conversion = Analyze(signature->graph);
    ASSERT_TRUE(conversion.ok()) << conversion.status().ToString();
    std::string rejected;
    std::set<std::string> reasons;
    for (size_t v = 0; v < signature->graph.nodes.size(); ++v) {
      const Verdict& verdict = conversion->nodes[v].verdict;
      if (verdict.ok() || verdict.reason == Reason::kGraphBoundary) continue;
      reasons.insert(ReasonName(verdict.reason));
      rejected += signature->graph.nodes[v].op + ": " + ReasonName(verdict.reason) + ": " + verdict.detail + "\n";
    }
    if (!entry["expect"].is_null()) {
      EXPECT_TRUE(reasons.count(entry["expect"].get<std::string>())) << "expected " << entry["expect"] << ", got\n"
                                                                     << rejected;
      continue;
    }
    EXPECT_EQ(rejected, "");
    if (!rejected.empty()) continue;
    Result<Network> network = LowerSegment(signature->graph);
    EXPECT_TRUE(network.ok()) << network.status().ToString();
    if (network.ok()) RunCase(*network, *signature, entry["runs"], name);
  }
}

// The partition's segment function must be as convertible as the whole graph was.
TEST_F(Conformance, ExtractedSegmentsLower) {
  for (const auto& [name, entry] : cases_.items()) {
    SCOPED_TRACE(name);
    auto signature = tfgraph::BuildSignatureGraph(*meta_, name);
    ASSERT_TRUE(signature.ok());
    ASSERT_TRUE(tfgraph::FreezeVariables(*model_, *meta_, &*signature).ok());
    Result<Conversion> conversion = Analyze(signature->graph);
    ASSERT_TRUE(conversion.ok());
    partition::Partition parts =
        partition::PartitionGraph(signature->graph, *conversion, {.minimum_segment_size = 1});
    for (const partition::Segment& segment : partition::ExtractSegments(signature->graph, *conversion, parts)) {
      Result<Network> network = LowerSegment(segment.body);
      EXPECT_TRUE(network.ok()) << network.status().ToString();
      if (network.ok()) {
        EXPECT_TRUE(Verify(*network).ok());
      }
    }
  }
}

}  // namespace
}  // namespace tfengine::convert
