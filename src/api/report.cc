// SPDX-License-Identifier: Apache-2.0
#include "api/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/errors.h"
#include "partition/explain.h"

namespace tfengine {
namespace {

using Json = nlohmann::ordered_json;

using Builds = std::map<std::string, const BuildReport*>;

const BuildReport* Find(const Builds& builds, const std::string& engine) {
  auto it = builds.find(engine);
  return it == builds.end() ? nullptr : it->second;
}

// "layers: 41 int8, 3 16-bit, 5 fp32, 9 move elements", then what the guard found.
std::string BuildText(const BuildReport& build) {
  std::map<quant::Precision, int> count;
  int moving = 0;
  for (const auto& layer : build.layers)
    ++(layer.why == std::string_view(quant::kMovesElements) ? moving : count[layer.precision]);
  std::string text;
  const int fp8 = count[quant::Precision::kFp8], int8 = count[quant::Precision::kInt8];
  if (fp8 + int8 + count[quant::Precision::kHalf] > 0)
    text += fmt::format("    layers: {} {}, {} 16-bit, {} fp32, {} move elements\n", fp8 + int8,
                        fp8 > 0 ? "fp8" : "int8", count[quant::Precision::kHalf],
                        count[quant::Precision::kF32], moving);
  if (build.accuracy) {
    for (const ValueAccuracy& a : build.accuracy->outputs) {
      text += fmt::format("    output {}: error {:.3g} %, signal to noise {:.1f} dB", a.name,
                          100 * a.relative_rms, a.snr_db);
      text += a.rows > 0 ? fmt::format(", top-1 as in fp32 in {:.2f} % of {} rows\n",
                                       100 * a.top1_agreement, a.rows)
                         : "\n";
    }
  }
  for (const std::string& notice : build.notices) text += fmt::format("    notice: {}\n", notice);
  return text;
}

Json AccuracyJson(const ValueAccuracy& a) {
  return {{"name", a.name},
          {"snr_db", a.snr_db},
          {"cosine", a.cosine},
          {"relative_rms", a.relative_rms},
          {"top1_agreement", a.top1_agreement},
          {"rows", a.rows}};
}

Json BuildJson(const BuildReport& build) {
  Json json = {{"layers", Json::array()}, {"notices", build.notices}};
  for (const auto& layer : build.layers)
    json["layers"].push_back({{"name", layer.name},
                              {"precision", quant::PrecisionName(layer.precision)},
                              {"why", layer.why}});
  if (!build.accuracy) return json;
  Json& accuracy = json["accuracy"] = {{"runs", build.accuracy->runs},
                                       {"raised", build.accuracy->raised},
                                       {"within_budget", build.accuracy->within_budget},
                                       {"outputs", Json::array()},
                                       {"values", Json::array()}};
  for (const auto& a : build.accuracy->outputs) accuracy["outputs"].push_back(AccuracyJson(a));
  for (const auto& a : build.accuracy->values) accuracy["values"].push_back(AccuracyJson(a));
  return json;
}

std::string SignatureText(const ReportEntry& entry, const Builds& builds) {
  if (!entry.same_as.empty())
    return fmt::format("signature {}\nthe same as {}\n", entry.name, entry.same_as);
  std::string text = partition::ToText(entry.plan->explanation);
  for (const std::string& name : entry.engine_names) {
    text += fmt::format("  {}\n", name);
    if (const BuildReport* build = Find(builds, name)) text += BuildText(*build);
  }
  if (!entry.kept.empty()) text += fmt::format("left as it is: {}\n", entry.kept);
  text += entry.whole ? "runs without TensorFlow\n"
                      : fmt::format("needs TensorFlow: {}\n", entry.reason);
  return text;
}

Json SignatureJson(const ReportEntry& entry, const Builds& builds) {
  const partition::Explanation& explanation = entry.plan->explanation;
  Json json = {{"name", entry.name}, {"whole", entry.whole}};
  if (!entry.same_as.empty()) json["same_as"] = entry.same_as;
  if (!entry.whole) json["reason"] = entry.reason;
  if (!entry.kept.empty()) json["kept"] = entry.kept;
  json["compute_nodes"] = explanation.compute_nodes;
  json["converted_nodes"] = explanation.converted_nodes;
  json["engines"] = Json::array();
  for (size_t s = 0; s < explanation.segments.size(); ++s) {
    const auto& segment = explanation.segments[s];
    Json ops = Json::object();
    for (const auto& op : segment.ops) ops[op.op] = op.count;
    std::string name = s < entry.engine_names.size() ? entry.engine_names[s] : "";
    json["engines"].push_back({{"name", name},
                               {"nodes", segment.nodes},
                               {"absorbed", segment.absorbed},
                               {"macs", segment.macs},
                               {"ops", std::move(ops)}});
    if (const BuildReport* build = Find(builds, name))
      json["engines"].back()["build"] = BuildJson(*build);
  }
  json["native"] = Json::array();
  for (const auto& group : explanation.natives)
    json["native"].push_back({{"op", group.op},
                              {"reason", ReasonName(group.reason)},
                              {"count", group.nodes.size()},
                              {"detail", group.detail}});
  json["nodes"] = Json::array();
  for (const auto& node : explanation.nodes)
    json["nodes"].push_back({{"name", node.name},
                             {"op", node.op},
                             {"reason", ReasonName(node.reason)},
                             {"detail", node.detail},
                             {"engine", node.segment}});
  return json;
}

}  // namespace

ConvertReport MakeReport(const std::string& model_dir, const ConvertOptions& options,
                         const std::vector<ReportEntry>& entries, const Builds& builds) {
  ConvertReport report;
  Json json = {{"model", model_dir},
               {"device", options.device},
               {"precision", options.precision},
               {"minimum_segment_size", options.minimum_segment_size}};
  int compute = 0, converted = 0;
  std::set<std::string> engines;
  Json signatures = Json::array();
  for (const ReportEntry& entry : entries) {
    report.text += (report.text.empty() ? "" : "\n") + SignatureText(entry, builds);
    signatures.push_back(SignatureJson(entry, builds));
    if (!entry.same_as.empty()) continue;
    compute += entry.plan->explanation.compute_nodes;
    converted += entry.plan->explanation.converted_nodes;
    if (entry.kept.empty()) engines.insert(entry.engine_names.begin(), entry.engine_names.end());
  }
  report.text = Printable(report.text, /*keep_lines=*/true);
  report.engines = static_cast<int>(engines.size());
  report.converted_share = compute > 0 ? static_cast<double>(converted) / compute : 0;
  json["engines"] = report.engines;
  json["compute_nodes"] = compute;
  json["converted_nodes"] = converted;
  json["converted_share"] = report.converted_share;
  json["signatures"] = std::move(signatures);
  report.json = json.dump(1, ' ', false, Json::error_handler_t::replace);
  return report;
}

}  // namespace tfengine
