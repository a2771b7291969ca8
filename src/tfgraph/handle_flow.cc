// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/handle_flow.h"

#include <algorithm>
#include <set>

#include "base/status_macros.h"
#include "tfgraph/flat_builder.h"
#include "tfgraph/transform.h"

namespace tfengine::tfgraph {
namespace {

using saved_model::ArgTypes;
using saved_model::OpDef;

constexpr std::string_view kReaders[] = {
    "ReadVariableOp",        "ResourceGather",     "ResourceGatherNd",
    "VariableShape",         "VarIsInitializedOp", "DisableCopyOnRead",
    "IsVariableInitialized", "Identity",           "IdentityN"};

// Ops whose function arguments are their inputs from `first` on.
struct Caller {
  std::string_view op;
  size_t first;
};
constexpr Caller kCallers[] = {{"PartitionedCall", 0}, {"StatefulPartitionedCall", 0},
                               {"TRTEngineOp", 0},     {"While", 0},
                               {"StatelessWhile", 0},  {"If", 1},
                               {"StatelessIf", 1},     {"Case", 1},
                               {"StatelessCase", 1}};

std::vector<std::string> CalledFunctions(const Node& node,
                                         const saved_model::FunctionLibrary& library) {
  std::vector<std::string> names;
  if (library.Find(node.op) != nullptr) names.push_back(node.op);
  for (const auto& [key, value] : node.attrs) {
    if (auto name = value.func()) names.push_back(*name);
    if (auto list = value.func_list()) names.insert(names.end(), list->begin(), list->end());
  }
  std::erase_if(names, [&](const std::string& name) { return library.Find(name) == nullptr; });
  return names;
}

// Which inputs are TensorFlow 1 references that the op takes as such.
std::vector<bool> RefInputs(const Node& node, const OpDef* op) {
  std::vector<bool> refs;
  for (size_t i = 0; op != nullptr && i < op->inputs.size(); ++i) {
    auto types = ArgTypes(*op, op->inputs[i], node.attrs);
    if (types.ok()) refs.insert(refs.end(), types->size(), op->inputs[i].is_ref);
  }
  refs.resize(node.inputs.size(), false);
  return refs;
}

}  // namespace

Result<std::vector<bool>> HandleFlowAnalysis::WrittenInputs(const Node& node,
                                                            const std::vector<bool>& is_handle) {
  std::vector<bool> written(node.inputs.size(), false);
  auto functions = CalledFunctions(node, library_);
  if (functions.empty()) {
    if (std::find(std::begin(kReaders), std::end(kReaders), node.op) != std::end(kReaders))
      return written;
    return is_handle;
  }
  const Caller* caller = nullptr;
  for (const Caller& c : kCallers)
    if (c.op == node.op) caller = &c;
  const size_t first = caller != nullptr ? caller->first : 0;
  const bool known = caller != nullptr || library_.Find(node.op) != nullptr;
  for (const std::string& name : functions) {
    TFE_ASSIGN_OR_RETURN(std::vector<bool> args, WrittenArgs(name));
    if (known) {
      for (size_t i = 0; i < args.size() && first + i < written.size(); ++i)
        if (args[i]) written[first + i] = true;
    } else if (std::find(args.begin(), args.end(), true) != args.end()) {
      return is_handle;  // which input is which argument is not known
    }
  }
  for (size_t i = 0; i < written.size(); ++i) written[i] = written[i] && is_handle[i];
  return written;
}

Result<std::vector<bool>> HandleFlowAnalysis::WrittenArgs(const std::string& function) {
  auto [it, inserted] = written_args_.try_emplace(function);
  const saved_model::FunctionDef* def = library_.Find(function);
  if (!inserted) {
    if (it->second) return *it->second;
    return std::vector<bool>(def->signature.inputs.size(), true);  // recursive: assume the worst
  }
  if (written_args_.size() > 10000 || !def->signature.attrs.empty()) {
    it->second = std::vector<bool>(def->signature.inputs.size(), true);
    return *it->second;
  }
  TFE_ASSIGN_OR_RETURN(Graph graph, FlatBuilder(library_, ops_).Function(*def, {}));
  TFE_RETURN_IF_ERROR(SortTopologically(graph));
  std::vector<std::pair<TensorId, int>> seeds;
  for (size_t i = 0; i < graph.args.size(); ++i) {
    if (graph.type_of({graph.args[i], 0}) == DType::kResource)
      seeds.push_back({{graph.args[i], 0}, static_cast<int>(i)});
  }
  TFE_ASSIGN_OR_RETURN(HandleFlow flow, Run(graph, seeds));
  std::vector<bool> written(graph.args.size(), false);
  for (const auto& [arg, node] : flow.written) written[static_cast<size_t>(arg)] = true;
  written_args_[function] = written;
  return written;
}

Result<HandleFlow> HandleFlowAnalysis::Run(const Graph& graph,
                                           const std::vector<std::pair<TensorId, int>>& seeds) {
  HandleFlow flow;
  // Per node, per port: all variables it may be a handle of.
  std::vector<std::vector<std::set<int>>> may(graph.nodes.size());
  flow.exact.resize(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    may[i].resize(graph.nodes[i].output_types.size());
    flow.exact[i].resize(graph.nodes[i].output_types.size(), -1);
  }
  for (const auto& [tensor, variable] : seeds) {
    may[static_cast<size_t>(tensor.node)][static_cast<size_t>(tensor.port)].insert(variable);
    flow.exact[static_cast<size_t>(tensor.node)][static_cast<size_t>(tensor.port)] = variable;
  }
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (node.inputs.empty()) continue;
    const OpDef* op = ops_.Find(node.op);
    const std::vector<bool> refs = RefInputs(node, op);
    std::vector<bool> is_handle(node.inputs.size(), false);
    std::set<int> all;
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      TensorId t = node.inputs[k];
      const auto& from = may[static_cast<size_t>(t.node)][static_cast<size_t>(t.port)];
      // A reference that the op takes by value is only read.
      is_handle[k] = !from.empty() && (graph.type_of(t) == DType::kResource || refs[k]);
      if (is_handle[k]) all.insert(from.begin(), from.end());
    }
    if (all.empty()) continue;
    TFE_ASSIGN_OR_RETURN(std::vector<bool> written, WrittenInputs(node, is_handle));
    for (size_t k = 0; k < written.size(); ++k) {
      if (!written[k]) continue;
      TensorId t = node.inputs[k];
      for (int v : may[static_cast<size_t>(t.node)][static_cast<size_t>(t.port)])
        flow.written.try_emplace(v, node.name);
    }
    const bool identity = node.op == "Identity" || node.op == "IdentityN";
    size_t port = 0;
    for (size_t a = 0; op != nullptr && a < op->outputs.size(); ++a) {
      auto types = ArgTypes(*op, op->outputs[a], node.attrs);
      for (size_t n = 0; types.ok() && n < types->size() && port < may[i].size(); ++n, ++port) {
        if ((*types)[n] != DType::kResource && (*types)[n] != DType::kVariant &&
            !op->outputs[a].is_ref)
          continue;
        if (identity && port < node.inputs.size()) {
          TensorId t = node.inputs[port];
          may[i][port] = may[static_cast<size_t>(t.node)][static_cast<size_t>(t.port)];
          flow.exact[i][port] = flow.Exact(t);
        } else {
          may[i][port].insert(all.begin(), all.end());
        }
      }
    }
  }
  return flow;
}

}  // namespace tfengine::tfgraph
