// SPDX-License-Identifier: Apache-2.0
#include "api/whole.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

namespace tfengine {
namespace {

using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::TensorId;
using Source = Manifest::Source;

constexpr std::string_view kAliases[] = {"Identity", "IdentityN", "StopGradient", "PreventGradient",
                                         "Snapshot"};

bool IsAlias(const Node& node) {
  return std::find(std::begin(kAliases), std::end(kAliases), node.op) != std::end(kAliases);
}

class Finder {
 public:
  Finder(const SignaturePlan& plan, const Graph& graph,
         const std::vector<std::string>& node_names)
      : plan_(plan), graph_(graph) {
    for (size_t i = 0; i < graph.args.size(); ++i) arg_of_[graph.args[i]] = static_cast<int>(i);
    for (size_t s = 0; s < node_names.size(); ++s)
      segment_of_[node_names[s]] = static_cast<int>(s);
    int number = 0;
    for (const auto& [key, info] : plan.def->inputs) input_number_[key] = number++;
  }

  WholeResult Find() {
    std::map<std::string, int> native;
    for (size_t v = 0; v < graph_.nodes.size(); ++v)
      if (!IsRunnable(static_cast<int>(v))) ++native[graph_.nodes[v].op];
    if (!native.empty()) return NotWhole(native);
    for (size_t v = 0; v < graph_.nodes.size(); ++v) {
      const Node& node = graph_.nodes[v];
      auto segment = segment_of_.find(node.name);
      if (segment == segment_of_.end()) continue;
      Manifest::Call call{segment->second, {}};
      const Graph& body = plan_.segments[segment->second].body;
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (graph_.type_of(node.inputs[i]) == DType::kResource) continue;
        bool unread = body.nodes[body.args[i]].frozen != nullptr;
        call.inputs.push_back(unread ? Source{Source::Kind::kUnread, 0, 0, ""}
                                     : Resolve(node.inputs[i]));
      }
      call_of_[static_cast<int>(v)] = static_cast<int>(result_.calls.size());
      result_.calls.push_back(std::move(call));
    }
    for (const auto& [key, index] : plan_.source.outputs)
      result_.results.push_back(Resolve(graph_.returns[index].tensor));
    if (!problem_.empty()) return {false, problem_, {}, {}, {}};
    result_.whole = true;
    return std::move(result_);
  }

 private:
  static WholeResult NotWhole(const std::map<std::string, int>& native) {
    std::vector<std::pair<std::string, int>> ops(native.begin(), native.end());
    std::stable_sort(ops.begin(), ops.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    constexpr size_t kShown = 5;
    int total = 0;
    std::string list;
    for (size_t i = 0; i < ops.size(); ++i) {
      total += ops[i].second;
      if (i < kShown) list += fmt::format("{}{} {}", i ? ", " : "", ops[i].second, ops[i].first);
    }
    if (ops.size() > kShown) list += ", ...";
    return {
        false, fmt::format("{} native node{}: {}", total, total == 1 ? "" : "s", list), {}, {}, {}};
  }

  bool IsRunnable(int v) const {
    const Node& node = graph_.nodes[v];
    return arg_of_.count(v) || segment_of_.count(node.name) || IsAlias(node) ||
           node.op == "Const" || node.op == "NoOp" || node.op == "VarHandleOp" ||
           node.frozen != nullptr;
  }

  Source Resolve(TensorId id) {
    const Node& node = graph_.nodes[id.node];
    if (auto call = call_of_.find(id.node); call != call_of_.end())
      return {Source::Kind::kCall, call->second, id.port, ""};
    auto arg = arg_of_.find(id.node);
    if (arg != arg_of_.end() &&
        plan_.source.args[arg->second].kind == tfgraph::ArgBinding::Kind::kInput)
      return {Source::Kind::kInput, input_number_.at(plan_.source.args[arg->second].key), 0, ""};
    if (node.frozen != nullptr) return Constant(*node.frozen);
    if (IsAlias(node) && id.port < static_cast<int>(node.inputs.size()))
      return Resolve(node.inputs[id.port]);
    if (node.op == "Const" && node.attr("value") != nullptr)
      if (Result<Tensor> value = node.attr("value")->tensor(); value.ok()) return Constant(*value);
    problem_ = fmt::format("\"{}\" ({}) has no value without TensorFlow", node.name, node.op);
    return {};
  }

  Source Constant(const Tensor& tensor) {
    std::string file = fmt::format("{}.constant_{}.npy", plan_.name, result_.constants.size());
    std::replace(file.begin(), file.end(), '/', '_');
    result_.constants.emplace_back(file, tensor);
    return {Source::Kind::kConstant, 0, 0, file};
  }

  const SignaturePlan& plan_;
  const Graph& graph_;
  std::map<int, int> arg_of_;   // node → argument
  std::map<int, int> call_of_;  // node → call
  std::map<std::string, int> segment_of_;
  std::map<std::string, int> input_number_;
  std::string problem_;
  WholeResult result_;
};

}  // namespace

WholeResult FindWhole(const SignaturePlan& plan, const Graph& rewritten,
                      const std::vector<std::string>& node_names) {
  return Finder(plan, rewritten, node_names).Find();
}

}  // namespace tfengine
