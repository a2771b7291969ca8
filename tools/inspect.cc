// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "api/manifest.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "command.h"
#include "quant/assign.h"
#include "tfengine/engine.h"

namespace tfengine::cli {
namespace {

using Json = nlohmann::ordered_json;

void PrintSpecs(const char* title, const std::vector<TensorSpec>& specs) {
  for (const TensorSpec& spec : specs)
    fmt::print("    {} {}: {}\n", title, spec.name, SpecToString(spec));
}

// How many layers use each tactic.
std::map<std::string, int> CountTactics(const Json& description) {
  std::map<std::string, int> counts;
  if (description.contains("layers"))
    for (const Json& layer : description.at("layers")) ++counts[layer.value("tactic", "")];
  return counts;
}

// How many layers have each precision, and each layer's with the reason; nothing for FP32 engines.
void PrintPrecisions(const Json& description) {
  if (description.value("precision", "FP32") == "FP32" || !description.contains("layers")) return;
  std::map<std::string, int> counts;
  size_t width = 0;
  auto kind = [](const Json& layer) -> std::string {
    const std::string precision = layer.value("precision", "");
    if (precision.empty()) return "converting types";
    return layer.value("why", "") == quant::kMovesElements ? quant::kMovesElements : precision;
  };
  for (const Json& layer : description.at("layers")) {
    ++counts[kind(layer)];
    width = std::max(width, std::min<size_t>(layer.value("name", "").size(), 70));
  }
  std::string text;
  for (const auto& [name, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
  fmt::print("    layers: {}\n", text);
  for (const Json& layer : description.at("layers")) {
    const std::string precision = layer.value("precision", "");
    if (precision.empty()) continue;
    const std::string line = fmt::format(
        "      {:{}}  {:14} {:4}  result {:4}  {}", Printable(layer.value("name", "")), width,
        layer.value("op", ""), kind(layer) == quant::kMovesElements ? "-" : precision, layer.value("stored", ""),
        layer.value("why", ""));
    fmt::print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  }
}

class InspectCommand : public Command {
 public:
  void DefineFlags(CLI::App& app) override {
    app.add_option("MODEL", model_, "Converted SavedModel directory")->required();
    app.add_flag("--json", json_, "Print JSON");
    app.add_flag("--network", network_, "Print the network of every engine");
  }

  Status Run() override {
    TFE_ASSIGN_OR_RETURN(Manifest manifest, Manifest::Load(model_));
    std::vector<Json> descriptions;
    for (const Manifest::Engine& entry : manifest.engines) {
      TFE_ASSIGN_OR_RETURN(auto engine, Engine::Load(FileOf(entry)));
      descriptions.push_back(Json::parse(engine->DescribeJson()));
      if (!network_) descriptions.back().erase("network");
    }
    json_ ? PrintJson(manifest, descriptions) : PrintText(manifest, descriptions);
    return OkStatus();
  }

 private:
  std::string FileOf(const Manifest::Engine& engine) const {
    return (std::filesystem::path(model_) / engine.file).string();
  }

  uintmax_t SizeOf(const Manifest::Engine& engine) const {
    std::error_code ignored;
    uintmax_t size = std::filesystem::file_size(FileOf(engine), ignored);
    return ignored ? 0 : size;
  }

  void PrintJson(const Manifest& manifest, const std::vector<Json>& descriptions) const {
    Json json = Json::parse(manifest.ToJson());
    for (size_t i = 0; i < descriptions.size(); ++i) {
      json["engines"][i]["bytes"] = SizeOf(manifest.engines[i]);
      json["engines"][i]["engine"] = descriptions[i];
    }
    fmt::print("{}\n", json.dump(1));
  }

  void PrintText(const Manifest& manifest, const std::vector<Json>& descriptions) const {
    fmt::print("{}\nconverted by tfengine {} for {}, {}\n", model_, manifest.tfengine_version,
               manifest.device, manifest.precision);
    for (const Manifest::Signature& signature : manifest.signatures) {
      fmt::print("\nsignature {}: {}\n", signature.info.name,
                 signature.info.whole ? "runs without TensorFlow"
                                      : "needs TensorFlow: " + signature.info.reason);
      PrintSpecs("in ", signature.info.inputs);
      PrintSpecs("out", signature.info.outputs);
      for (int engine : signature.engines)
        fmt::print("    engine {}\n", manifest.engines[engine].name);
    }
    for (size_t i = 0; i < manifest.engines.size(); ++i) {
      const Manifest::Engine& entry = manifest.engines[i];
      fmt::print("\nengine {}\n    {}, {:.1f} MB, from {} TensorFlow nodes\n", entry.name,
                 entry.file, SizeOf(entry) / 1e6, entry.nodes);
      for (const auto& [tactic, count] : CountTactics(descriptions[i]))
        fmt::print("    {:5} x {}\n", count, tactic);
      PrintPrecisions(descriptions[i]);
      if (network_) fmt::print("{}\n", descriptions[i].value("network", ""));
    }
  }

  std::string model_;
  bool json_ = false, network_ = false;
};

}  // namespace

std::unique_ptr<Command> NewInspectCommand() { return std::make_unique<InspectCommand>(); }

}  // namespace tfengine::cli
