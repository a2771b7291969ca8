// SPDX-License-Identifier: Apache-2.0
// What the passes make of real models: node counts per op before and after, and time per pass.
//   pipeline_bench [--before|--after] SAVED_MODEL_DIR...   (prints the networks, too)
#include <cstdio>
#include <map>
#include <string>

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
    PrintCounts("before", network);
    if (dump == "before") std::fputs(PrintNetwork(network).c_str(), stdout);
    std::map<std::string, double> times;
    double total = 0;
    passes::PassOptions options;
    options.trace = [&](const passes::PassTrace& t) {
      times[t.name] += t.milliseconds;
      total += t.milliseconds;
    };
    TFE_RETURN_IF_ERROR(passes::RunPasses(network, options));
    PrintCounts("after", network);
    std::printf("  %.1f ms:", total);
    for (const auto& [pass, ms] : times) std::printf(" %s %.1f", pass.c_str(), ms);
    std::printf("\n");
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
    if (arg == "--before" || arg == "--after") {
      dump = arg.substr(2);
      continue;
    }
    tfengine::Status status = tfengine::Report(arg, dump);
    if (!status.ok()) std::fprintf(stderr, "%s: %s\n", argv[i], status.ToString().c_str());
  }
}
