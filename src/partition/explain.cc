// SPDX-License-Identifier: Apache-2.0
#include "partition/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

namespace tfengine::partition {
namespace {

constexpr std::string_view kNoCompute[] = {
    "Const",    "Identity",       "IdentityN",    "NoOp",       "Placeholder", "PlaceholderWithDefault",
    "Snapshot", "PreventGradient", "ReadVariableOp", "StopGradient", "VarHandleOp", "Variable",
    "VariableV2", "_Arg",          "_Retval"};

bool Computes(const std::string& op) {
  return std::find(std::begin(kNoCompute), std::end(kNoCompute), op) == std::end(kNoCompute);
}

// "12.3 M"
std::string Scaled(double v) {
  for (const char* unit : {"", " k", " M", " G", " T"}) {
    if (v < 1000) return v < 10 && *unit ? fmt::format("{:.1f}{}", v, unit) : fmt::format("{:.0f}{}", v, unit);
    v /= 1000;
  }
  return fmt::format("{:.0f} P", v);
}

std::vector<Explanation::OpCount> Counted(const std::map<std::string, int>& counts) {
  std::vector<Explanation::OpCount> list;
  for (const auto& [op, count] : counts) list.push_back({op, count});
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  return list;
}

std::string JoinedCounts(const std::vector<Explanation::OpCount>& ops, size_t most) {
  std::string text;
  for (size_t i = 0; i < ops.size() && i < most; ++i) {
    if (i) text += ", ";
    text += fmt::format("{} {}", ops[i].count, ops[i].op);
  }
  if (ops.size() > most) text += fmt::format(", {} other op types", ops.size() - most);
  return text;
}

}  // namespace

Explanation Explain(const tfgraph::Graph& graph, const Partition& partition, const std::string& title) {
  Explanation e;
  e.title = title;
  for (const SegmentNodes& segment : partition.segments) {
    std::map<std::string, int> counts;
    for (int v : segment.nodes) ++counts[graph.nodes[v].op];
    e.segments.push_back({static_cast<int>(segment.nodes.size()), static_cast<int>(segment.absorbed.size()),
                          segment.macs, Counted(counts)});
  }
  std::map<std::pair<Reason, std::string>, Explanation::NativeGroup> groups;
  for (size_t v = 0; v < graph.nodes.size(); ++v) {
    const tfgraph::Node& node = graph.nodes[v];
    const Verdict& verdict = partition.verdicts[v];
    e.nodes.push_back({node.name, node.op, verdict.reason, verdict.detail, partition.segment_of[v]});
    if (!Computes(node.op) || verdict.reason == Reason::kUnused || verdict.reason == Reason::kGraphBoundary) continue;
    ++e.compute_nodes;
    if (verdict.ok()) {
      ++e.converted_nodes;
      continue;
    }
    Explanation::NativeGroup& group = groups[{verdict.reason, node.op}];
    if (group.nodes.empty()) group = {verdict.reason, node.op, {}, verdict.detail};
    group.nodes.push_back(static_cast<int>(v));
  }
  for (auto& [key, group] : groups) e.natives.push_back(std::move(group));
  std::stable_sort(e.natives.begin(), e.natives.end(),
                   [](const auto& a, const auto& b) { return a.nodes.size() > b.nodes.size(); });
  return e;
}

std::string ToText(const Explanation& e, int max_names) {
  std::string text;
  if (!e.title.empty()) text += e.title + "\n";
  text += fmt::format("{} of {} compute nodes in {} engine{} ({:.1f} %)\n", e.converted_nodes, e.compute_nodes,
                      e.segments.size(), e.segments.size() == 1 ? "" : "s", 100 * e.share());
  for (size_t s = 0; s < e.segments.size(); ++s) {
    const Explanation::SegmentSummary& segment = e.segments[s];
    text += fmt::format("segment {:<4}{:>6} nodes   engine   {} multiply-adds: {}\n", s, segment.nodes,
                        Scaled(segment.macs), JoinedCounts(segment.ops, 6));
  }
  if (e.natives.empty()) return text;
  text += fmt::format("native      {:>6} nodes   why\n", e.compute_nodes - e.converted_nodes);
  for (const Explanation::NativeGroup& group : e.natives) {
    text += fmt::format("  {:>4} {:<28} {}{}{}\n", group.nodes.size(), group.op, ReasonName(group.reason),
                        group.detail.empty() ? "" : ": ", group.detail);
    for (size_t i = 0; i < group.nodes.size() && static_cast<int>(i) < max_names; ++i) {
      text += fmt::format("         {}\n", e.nodes[group.nodes[i]].name);
    }
    if (static_cast<int>(group.nodes.size()) > max_names && max_names > 0) {
      text += fmt::format("         and {} more\n", static_cast<int>(group.nodes.size()) - max_names);
    }
  }
  return text;
}

std::string ToJson(const Explanation& e) {
  using nlohmann::json;
  json root;
  root["title"] = e.title;
  root["compute_nodes"] = e.compute_nodes;
  root["converted_nodes"] = e.converted_nodes;
  root["share"] = e.share();
  root["segments"] = json::array();
  for (const Explanation::SegmentSummary& segment : e.segments) {
    json ops = json::object();
    for (const Explanation::OpCount& op : segment.ops) ops[op.op] = op.count;
    root["segments"].push_back(
        {{"nodes", segment.nodes}, {"absorbed", segment.absorbed}, {"macs", segment.macs}, {"ops", std::move(ops)}});
  }
  root["natives"] = json::array();
  for (const Explanation::NativeGroup& group : e.natives) {
    json names = json::array();
    for (int v : group.nodes) names.push_back(e.nodes[v].name);
    root["natives"].push_back({{"reason", ReasonName(group.reason)},
                               {"op", group.op},
                               {"detail", group.detail},
                               {"nodes", std::move(names)}});
  }
  root["nodes"] = json::array();
  for (const Explanation::NodeLine& node : e.nodes) {
    json line{{"name", node.name}, {"op", node.op}, {"reason", ReasonName(node.reason)}};
    if (!node.detail.empty()) line["detail"] = node.detail;
    if (node.segment >= 0) line["segment"] = node.segment;
    root["nodes"].push_back(std::move(line));
  }
  // Names come from files and need not be UTF-8.
  return root.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace tfengine::partition
