// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "command.h"
#include "flags.h"
#include "progress.h"
#include "tfengine/convert.h"

namespace tfengine::cli {
namespace {

// One line per node, in the order of the graph.
void PrintNodes(const std::string& report) {
  auto json = nlohmann::json::parse(report);
  for (const auto& signature : json.at("signatures")) {
    fmt::print("\nnodes of signature {}\n", signature.at("name").get<std::string>());
    if (!signature.contains("nodes")) continue;
    for (const auto& node : signature.at("nodes")) {
      int engine = node.at("engine").get<int>();
      std::string where =
          engine >= 0 ? fmt::format("engine {}", engine) : node.at("reason").get<std::string>();
      std::string detail = node.at("detail").get<std::string>();
      fmt::print("  {:16} {:24} {}{}{}\n", where, node.at("op").get<std::string>(),
                 node.at("name").get<std::string>(), detail.empty() ? "" : "  -- ", detail);
    }
  }
}

class ExplainCommand : public Command {
 public:
  void DefineFlags(CLI::App& app) override {
    app.add_option("IN", input_, "SavedModel directory")->required();
    DefinePartitionFlags(app, &options_, &exclude_);
    app.add_flag("--json", json_, "Print JSON");
    app.add_flag("--nodes", nodes_, "List every node");
  }

  Status Run() override {
    ApplyExclude(exclude_, &options_);
    Result<ConvertReport> report = [&] {
      ProgressLine progress;
      options_.progress = progress.callback();
      return ExplainSavedModel(input_, options_);
    }();
    TFE_RETURN_IF_ERROR(report.status());
    fmt::print("{}\n", json_ ? report->json : report->text);
    if (nodes_ && !json_) PrintNodes(report->json);
    return OkStatus();
  }

 private:
  std::string input_;
  ConvertOptions options_;
  std::vector<std::string> exclude_;
  bool json_ = false, nodes_ = false;
};

}  // namespace

std::unique_ptr<Command> NewExplainCommand() { return std::make_unique<ExplainCommand>(); }

}  // namespace tfengine::cli
