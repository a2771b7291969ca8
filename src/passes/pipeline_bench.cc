// SPDX-License-Identifier: Apache-2.0
// What the passes make of real models: node counts per op before and after, and time per pass.
//   pipeline_bench [--before|--after|--check] SAVED_MODEL_DIR...
// --before, --after print the network, too; --check runs both on the reference backend (slow) and compares the outputs.
#include <cmath>
#include <cstdio>
#include <map>
#include <random>
#include <string>

#include "backends/ref/ref.h"
#include "base/status_macros.h"
#include "convert/convert.h"
#include "passes/pipeline.h"
#include "saved_model/saved_model.h"
#include "tfgraph/build.h"
#include "tfgraph/freeze.h"

namespace tfengine {
namespace {

void PrintCounts(const char* when, const Network& network) {
  std::map<std::string, int> counts;
  for (const Node& node : network.nodes()) {
    bool elementwise = node.op == Op::kUnary || node.op == Op::kBinary;
    std::string name = elementwise ? node.attrs.Str("kind") : OpName(node.op);
    if (node.attrs.Str("act", "none") != "none") name += "+" + node.attrs.Str("act");
    ++counts[name];
  }
  std::printf("  %s: %zu nodes:", when, network.nodes().size());
  for (const auto& [name, count] : counts) std::printf(" %s %d", name.c_str(), count);
  std::printf("\n");
}

// Random inputs; the batch is 1, other symbols are 64. Integers are 0 or 1: ids and masks.
Result<std::vector<Tensor>> RandomInputs(const Network& network) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<int64_t> symbols;
  for (int i = 0; i < network.dims().num_symbols(); ++i)
    symbols.push_back(network.dims().symbol_name(i) == "batch" ? 1 : 64);
  std::vector<Tensor> inputs;
  for (ValueId id : network.inputs()) {
    std::vector<int64_t> shape;
    for (const Dim& d : network.value(id).shape) {
      TFE_ASSIGN_OR_RETURN(int64_t size, network.dims().Eval(d, symbols));
      shape.push_back(size);
    }
    Tensor t(network.value(id).dtype, shape);
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      if (t.dtype() == DType::kFloat32) t.mutable_as<float>()[i] = normal(random);
      if (t.dtype() == DType::kInt32) t.mutable_as<int32_t>()[i] = static_cast<int32_t>(random() % 2);
      if (t.dtype() == DType::kInt64) t.mutable_as<int64_t>()[i] = static_cast<int64_t>(random() % 2);
    }
    inputs.push_back(std::move(t));
  }
  return inputs;
}

Status Check(const Network& before, const Network& after) {
  TFE_ASSIGN_OR_RETURN(std::vector<Tensor> inputs, RandomInputs(before));
  TFE_ASSIGN_OR_RETURN(std::vector<Tensor> want, ref::Execute(before, inputs));
  TFE_ASSIGN_OR_RETURN(std::vector<Tensor> got, ref::Execute(after, inputs));
  for (size_t i = 0; i < want.size(); ++i) {
    double largest = 0, difference = 0;
    int64_t not_finite = 0;
    for (int64_t j = 0; want[i].dtype() == DType::kFloat32 && j < want[i].num_elements(); ++j) {
      double x = want[i].as<float>()[j], y = got[i].as<float>()[j];
      largest = std::max(largest, std::abs(x));
      difference = std::max(difference, std::abs(x - y));
      not_finite += !std::isfinite(x) || !std::isfinite(y);
    }
    std::printf("  output %zu: largest %.3g, largest difference %.3g, %ld not finite\n", i, largest, difference,
                static_cast<long>(not_finite));
  }
  return OkStatus();
}

Status Report(const std::string& dir, const std::string& dump) {
  TFE_ASSIGN_OR_RETURN(saved_model::SavedModel model, saved_model::SavedModel::Open(dir));
  TFE_ASSIGN_OR_RETURN(const saved_model::MetaGraph* meta, model.Find());
  for (const std::string& name : meta->SignatureNames()) {
    TFE_ASSIGN_OR_RETURN(tfgraph::SignatureGraph signature, tfgraph::BuildSignatureGraph(*meta, name));
    TFE_RETURN_IF_ERROR(tfgraph::FreezeVariables(model, *meta, &signature).status());
    TFE_ASSIGN_OR_RETURN(convert::Conversion conversion, convert::Analyze(signature.graph));
    Network network = std::move(conversion.network);
    network.Compact();
    std::printf("%s, signature %s\n", dir.c_str(), name.c_str());
    const Network before = network;
    PrintCounts("before", network);
    if (dump == "before") std::fputs(PrintNetwork(network).c_str(), stdout);
    std::map<std::string, double> times;
    double total = 0;
    passes::PassOptions options;
    options.trace = [&](const passes::PassTrace& t) {
      times[t.name] += t.milliseconds;
      total += t.milliseconds;
      if (!t.status.ok()) std::fprintf(stderr, "pass %s: %s\n", t.name, t.status.ToString().c_str());
    };
    TFE_RETURN_IF_ERROR(passes::RunPasses(network, options));
    PrintCounts("after", network);
    std::printf("  %.1f ms:", total);
    for (const auto& [pass, ms] : times) std::printf(" %s %.1f", pass.c_str(), ms);
    std::printf("\n");
    if (dump == "check") TFE_RETURN_IF_ERROR(Check(before, network));
    if (dump == "after") std::fputs(PrintNetwork(network).c_str(), stdout);
  }
  return OkStatus();
}

}  // namespace
}  // namespace tfengine

int main(int argc, char** argv) {
  std::string dump;
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    if (arg == "--before" || arg == "--after" || arg == "--check") {
      dump = arg.substr(2);
      continue;
    }
    tfengine::Status status = tfengine::Report(arg, dump);
    if (!status.ok()) std::fprintf(stderr, "%s: %s\n", argv[i], status.ToString().c_str());
  }
}
