// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/build.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <unordered_set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "tfgraph/flat_builder.h"
#include "tfgraph/inline.h"
#include "tfgraph/transform.h"

namespace tfengine::tfgraph {
namespace {

using saved_model::FunctionDef;
using saved_model::MetaGraph;
using saved_model::NodeDef;
using saved_model::SignatureDef;
using saved_model::TensorInfo;

struct MainTensor {
  std::string_view node;
  int port = 0;
};

// "node" or "node:1".
MainTensor ParseTensorName(std::string_view name) {
  MainTensor t{name, 0};
  size_t colon = name.rfind(':');
  if (colon == std::string_view::npos) return t;
  std::string_view digits = name.substr(colon + 1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), t.port);
  if (error == std::errc() && end == digits.data() + digits.size() && t.port >= 0)
    t.node = name.substr(0, colon);
  return t;
}

Result<Graph> Finish(Graph graph, const saved_model::FunctionLibrary& library,
                     const saved_model::OpTable& ops, const BuildOptions& options) {
  if (options.inline_calls) {
    TFE_ASSIGN_OR_RETURN(graph, InlineCalls(std::move(graph), library, ops, options.max_nodes));
  } else {
    TFE_RETURN_IF_ERROR(SortTopologically(graph));
    TFE_RETURN_IF_ERROR(Validate(graph));
  }
  Prune(graph);
  return graph;
}

// The call node whose outputs are the signature's outputs, if there is exactly one and it takes
// every input from a node that is fed; otherwise null.
const NodeDef* WrapperCall(const MetaGraph& meta, const SignatureDef& signature,
                           const FunctionDef** function) {
  const NodeDef* call = nullptr;
  for (const auto& [key, info] : signature.outputs) {
    const NodeDef* node = meta.FindNode(ParseTensorName(info.name).node);
    if (node == nullptr || (call != nullptr && node != call)) return nullptr;
    call = node;
  }
  if (call == nullptr || (call->op != "PartitionedCall" && call->op != "StatefulPartitionedCall"))
    return nullptr;
  auto name = AttrValue(std::string(call->attr("f"))).func();
  *function = name ? meta.functions.Find(*name) : nullptr;
  if (*function == nullptr || !(*function)->signature.attrs.empty()) return nullptr;
  std::set<std::pair<std::string_view, int>> taken;
  for (std::string_view input : call->inputs) {
    if (input.starts_with('^')) return nullptr;  // has to run something else first
    MainTensor t = ParseTensorName(input);
    taken.insert({t.node, t.port});
  }
  for (const auto& [key, info] : signature.inputs) {
    MainTensor t = ParseTensorName(info.name);
    if (!taken.contains({t.node, t.port})) return nullptr;
  }
  return call;
}

// Fills in what the main graph knows about an argument: the stated shape of an input, the value of
// a constant.
Status DescribeArg(const MetaGraph& meta, const SignatureDef& signature, const ArgBinding& binding,
                   Node* arg) {
  if (arg->output_types.size() != 1) return OkStatus();
  if (binding.kind == ArgBinding::Kind::kInput) {
    const TensorInfo& info = signature.inputs.at(binding.key);
    if (arg->output_shapes.empty() && info.shape.known_rank) arg->output_shapes = {info.shape};
    return OkStatus();
  }
  const NodeDef* node = meta.FindNode(binding.node);
  if (node == nullptr || node->op != "Const" || DTypeSize(arg->output_types[0]) == 0)
    return OkStatus();
  auto value = AttrValue(std::string(node->attr("value"))).tensor();
  if (!value.ok())
    return value.status().WithContext(fmt::format("node \"{}\" (Const)", node->name));
  if (value->dtype() != arg->output_types[0]) {
    return Error(ErrorId::kGraphInvalid, "node \"{}\" (Const): expected {}, got {}", node->name,
                 DTypeName(arg->output_types[0]), DTypeName(value->dtype()));
  }
  arg->output_shapes = {{true, value->shape()}};
  arg->frozen = std::make_shared<const Tensor>(*std::move(value));
  return OkStatus();
}

Result<SignatureGraph> FromWrapper(const MetaGraph& meta, const SignatureDef& signature,
                                   const NodeDef& call, const FunctionDef& function,
                                   const BuildOptions& options) {
  SignatureGraph result;
  result.kind = SignatureGraph::Kind::kFunction;
  result.function = function.name();
  result.call_node = call.name;
  TFE_ASSIGN_OR_RETURN(result.graph,
                       BuildFunctionGraph(function, meta.functions, meta.ops, options));
  if (result.graph.args.size() != call.inputs.size()) {
    return Error(ErrorId::kGraphInvalid,
                 "node \"{}\" ({}): {} inputs for function \"{}\" with {} arguments", call.name,
                 call.op, call.inputs.size(), function.name(), result.graph.args.size());
  }
  std::map<std::pair<std::string_view, int>, const std::string*> keys;
  for (const auto& [key, info] : signature.inputs) {
    MainTensor t = ParseTensorName(info.name);
    keys[{t.node, t.port}] = &key;
  }
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    MainTensor t = ParseTensorName(call.inputs[i]);
    const NodeDef* node = meta.FindNode(t.node);
    if (node == nullptr) {
      return Error(ErrorId::kGraphInvalid, "node \"{}\" ({}): input \"{}\" does not exist",
                   call.name, call.op, call.inputs[i]);
    }
    ArgBinding binding{ArgBinding::Kind::kCapture, "", std::string(node->name),
                       std::string(node->op)};
    if (auto it = keys.find({t.node, t.port}); it != keys.end()) {
      binding.kind = ArgBinding::Kind::kInput;
      binding.key = *it->second;
    }
    Node& arg = result.graph.nodes[static_cast<size_t>(result.graph.args[i])];
    TFE_RETURN_IF_ERROR(DescribeArg(meta, signature, binding, &arg));
    result.args.push_back(std::move(binding));
  }
  for (const auto& [key, info] : signature.outputs) {
    int port = ParseTensorName(info.name).port;
    if (port >= static_cast<int>(result.graph.returns.size())) {
      return Error(ErrorId::kGraphInvalid, "output \"{}\": node \"{}\" has no output {}", key,
                   call.name, port);
    }
    result.outputs[key] = port;
  }
  return result;
}

// The main-graph nodes that `targets` need, in the order of the file. The inputs of fed nodes are
// not followed.
Result<std::vector<const NodeDef*>> Ancestors(
    const MetaGraph& meta, const std::vector<std::string_view>& targets,
    const std::unordered_map<std::string_view, bool>& fed) {
  std::unordered_set<std::string_view> seen;
  std::vector<std::string_view> stack;
  auto visit = [&](std::string_view name) {
    if (seen.insert(name).second) stack.push_back(name);
  };
  for (std::string_view target : targets) visit(target);
  std::vector<const NodeDef*> nodes;
  while (!stack.empty()) {
    std::string_view name = stack.back();
    stack.pop_back();
    const NodeDef* node = meta.FindNode(name);
    if (node == nullptr)
      return Error(ErrorId::kGraphInvalid, "node \"{}\": the main graph has no such node", name);
    nodes.push_back(node);
    if (fed.contains(node->name)) continue;
    for (std::string_view input : node->inputs)
      visit(input.starts_with('^') ? input.substr(1) : ParseTensorName(input).node);
  }
  // All point into one vector, so this is the order of the file.
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

Result<SignatureGraph> FromMainGraph(const MetaGraph& meta, const SignatureDef& signature,
                                     const BuildOptions& options) {
  SignatureGraph result;
  result.kind = SignatureGraph::Kind::kGraphDef;
  std::unordered_map<std::string_view, bool> fed;
  std::vector<std::string_view> targets;
  for (const auto& [key, info] : signature.inputs) {
    MainTensor t = ParseTensorName(info.name);
    const NodeDef* node = meta.FindNode(t.node);
    if (node == nullptr || t.port != 0 || fed.contains(node->name)) {
      return Error(ErrorId::kGraphInvalid,
                   "input \"{}\": expected output 0 of a node of its own, got \"{}\"", key,
                   info.name);
    }
    fed.emplace(node->name, true);
    targets.push_back(node->name);
  }
  for (const auto& [key, info] : signature.outputs)
    targets.push_back(ParseTensorName(info.name).node);
  TFE_ASSIGN_OR_RETURN(std::vector<const NodeDef*> nodes, Ancestors(meta, targets, fed));
  TFE_ASSIGN_OR_RETURN(result.graph, FlatBuilder(meta.functions, meta.ops).Nodes(nodes, fed));
  std::unordered_map<std::string_view, int> index;
  for (size_t i = 0; i < result.graph.nodes.size(); ++i)
    index[nodes[i]->name] = static_cast<int>(i);
  for (const auto& [key, info] : signature.inputs) {
    MainTensor t = ParseTensorName(info.name);
    int i = index.at(t.node);
    Node& node = result.graph.nodes[static_cast<size_t>(i)];
    ArgBinding binding{ArgBinding::Kind::kInput, key, node.name, node.op};
    if (node.output_types.size() != 1) {
      return Error(ErrorId::kGraphInvalid,
                   "input \"{}\": expected a node with one output, got \"{}\" ({})", key, node.name,
                   node.op);
    }
    TFE_RETURN_IF_ERROR(DescribeArg(meta, signature, binding, &node));
    result.graph.args.push_back(i);
    result.args.push_back(std::move(binding));
  }
  for (const auto& [key, info] : signature.outputs) {
    MainTensor t = ParseTensorName(info.name);
    int i = index.at(t.node);
    if (t.port >=
        static_cast<int>(result.graph.nodes[static_cast<size_t>(i)].output_types.size())) {
      return Error(ErrorId::kGraphInvalid, "output \"{}\": \"{}\" does not exist", key, info.name);
    }
    result.outputs[key] = static_cast<int>(result.graph.returns.size());
    result.graph.returns.push_back({key, {i, t.port}});
  }
  TFE_ASSIGN_OR_RETURN(result.graph,
                       Finish(std::move(result.graph), meta.functions, meta.ops, options));
  return result;
}

}  // namespace

Result<Graph> BuildFunctionGraph(const FunctionDef& function,
                                 const saved_model::FunctionLibrary& library,
                                 const saved_model::OpTable& ops, const BuildOptions& options) {
  TFE_ASSIGN_OR_RETURN(Graph graph, FlatBuilder(library, ops).Function(function, {}));
  return Finish(std::move(graph), library, ops, options);
}

Result<Graph> BuildFunctionGraph(std::string_view serialized_function_def,
                                 const saved_model::FunctionLibrary& library,
                                 const saved_model::OpTable& ops, const BuildOptions& options) {
  TFE_ASSIGN_OR_RETURN(FunctionDef function, FunctionDef::Parse(serialized_function_def));
  return BuildFunctionGraph(function, library, ops, options);
}

Result<Graph> BuildMainGraph(const MetaGraph& meta) {
  std::vector<const NodeDef*> nodes;
  for (const NodeDef& node : meta.nodes) nodes.push_back(&node);
  TFE_ASSIGN_OR_RETURN(Graph graph, FlatBuilder(meta.functions, meta.ops).Nodes(nodes, {}));
  TFE_RETURN_IF_ERROR(SortTopologically(graph));
  return graph;
}

Result<Graph> BuildTargets(const MetaGraph& meta, const std::vector<std::string>& targets,
                           const BuildOptions& options) {
  std::vector<std::string_view> names(targets.begin(), targets.end());
  TFE_ASSIGN_OR_RETURN(std::vector<const NodeDef*> nodes, Ancestors(meta, names, {}));
  TFE_ASSIGN_OR_RETURN(Graph graph, FlatBuilder(meta.functions, meta.ops).Nodes(nodes, {}));
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (std::find(targets.begin(), targets.end(), nodes[i]->name) != targets.end())
      graph.control_returns.push_back({graph.nodes[i].name, static_cast<int>(i)});
  }
  return Finish(std::move(graph), meta.functions, meta.ops, options);
}

Result<SignatureGraph> BuildSignatureGraph(const MetaGraph& meta, const std::string& signature,
                                           const BuildOptions& options) {
  TFE_ASSIGN_OR_RETURN(const SignatureDef* def, meta.FindSignature(signature));
  const FunctionDef* function = nullptr;
  const NodeDef* call = WrapperCall(meta, *def, &function);
  auto result = call != nullptr ? FromWrapper(meta, *def, *call, *function, options)
                                : FromMainGraph(meta, *def, options);
  if (!result.ok()) return result.status().WithContext("signature \"" + signature + "\"");
  return result;
}

}  // namespace tfengine::tfgraph
