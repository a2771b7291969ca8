// SPDX-License-Identifier: Apache-2.0
#include "saved_model/serialize_graph.h"

#include <algorithm>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>
#include <unordered_set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/wire.h"
#include "saved_model/writer.h"
#include "tfgraph/transform.h"

namespace tfengine::saved_model {

using protozero::pbf_writer;
using tfgraph::AttrValue;
using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::TensorId;

void AddMapEntry(pbf_writer* parent, uint32_t field, std::string_view key, std::string_view value,
                 bool text) {
  pbf_writer entry(*parent, field);
  entry.add_string(1, key.data(), key.size());
  if (text) {
    entry.add_string(2, value.data(), value.size());
  } else {
    entry.add_message(2, value.data(), value.size());
  }
}

GraphSerializer::GraphSerializer(const Graph& graph, const OpTable& ops,
                                 const FunctionLibrary& library, bool strip_defaults)
    : graph_(graph),
      ops_(ops),
      library_(library),
      strip_defaults_(strip_defaults),
      is_arg_(graph.nodes.size(), false) {
  for (int a : graph.args) is_arg_[static_cast<size_t>(a)] = true;
  for (const Node& node : graph.nodes) names_.insert(node.name);
}

const OpDef* GraphSerializer::FindOp(const Node& node) const {
  if (const OpDef* op = ops_.Find(node.op)) return op;
  const FunctionDef* function = library_.Find(node.op);
  return function != nullptr ? &function->signature : nullptr;
}

Result<std::string> GraphSerializer::FunctionTensor(
    TensorId t, const std::vector<std::string>& arg_tensors) const {
  if (is_arg_[static_cast<size_t>(t.node)]) {
    auto it = std::find(graph_.args.begin(), graph_.args.end(), t.node);
    return arg_tensors[static_cast<size_t>(it - graph_.args.begin())];
  }
  const Node& node = graph_.nodes[static_cast<size_t>(t.node)];
  const OpDef* op = FindOp(node);
  int port = t.port;
  for (size_t i = 0; op != nullptr && i < op->outputs.size(); ++i) {
    TFE_ASSIGN_OR_RETURN(auto types, ArgTypes(*op, op->outputs[i], node.attrs));
    if (port < static_cast<int>(types.size()))
      return fmt::format("{}:{}:{}", node.name, op->outputs[i].name, port);
    port -= static_cast<int>(types.size());
  }
  return Error(ErrorId::kGraphInvalid, "node \"{}\" ({}): {} output {}", node.name, node.op,
               op == nullptr ? "no OpDef for this op, so no name for" : "the op has no", t.port);
}

// Colocation with a node that the graph does not have would not load.
std::optional<AttrValue> GraphSerializer::Colocation(const AttrValue& value) const {
  auto list = value.string_list();
  if (!list) return value;
  std::erase_if(*list, [&](const std::string& s) {
    return s.starts_with("loc:@") && !names_.contains(s.substr(5));
  });
  if (list->empty()) return std::nullopt;
  return AttrValue::StringList(*list);
}

Result<std::string> GraphSerializer::NodeBytes(int index,
                                               const std::vector<std::string>* arg_tensors) const {
  const Node& node = graph_.nodes[static_cast<size_t>(index)];
  std::string bytes;
  pbf_writer w(bytes);
  w.add_string(1, node.name);
  w.add_string(2, node.op);
  for (TensorId t : node.inputs) {
    if (arg_tensors != nullptr) {
      TFE_ASSIGN_OR_RETURN(std::string name, FunctionTensor(t, *arg_tensors));
      w.add_string(3, name);
    } else {
      const std::string& name = graph_.nodes[static_cast<size_t>(t.node)].name;
      w.add_string(3, t.port == 0 ? name : fmt::format("{}:{}", name, t.port));
    }
  }
  for (int c : node.control_inputs) {
    // An argument of a function is there before any node runs.
    if (arg_tensors != nullptr && is_arg_[static_cast<size_t>(c)]) continue;
    w.add_string(3, "^" + graph_.nodes[static_cast<size_t>(c)].name);
  }
  if (!node.device.empty()) w.add_string(4, node.device);
  const OpDef* op = FindOp(node);
  for (const auto& [key, value] : node.attrs) {
    if (strip_defaults_ && op != nullptr &&
        std::any_of(op->attrs.begin(), op->attrs.end(),
                    [&, k = &key, v = &value](const AttrDef& a) {
                      return a.has_default && a.name == *k && a.default_value == *v;
                    })) {
      continue;
    }
    if (key == "_class") {
      if (auto kept = Colocation(value)) AddMapEntry(&w, 5, key, kept->serialized(), false);
      continue;
    }
    AddMapEntry(&w, 5, key, value.serialized(), false);
  }
  bytes.append(node.other_fields);
  return bytes;
}

Result<GraphSerializer::Body> GraphSerializer::FunctionBody(
    const std::vector<std::string>& arg_tensors,
    const std::vector<std::string>& return_names) const {
  TFE_RETURN_IF_ERROR(tfgraph::Validate(graph_));
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (is_arg_[i]) continue;
    for (const std::string& arg : arg_tensors) {
      if (arg.substr(0, arg.find(':')) == graph_.nodes[i].name)
        return Error(ErrorId::kGraphInvalid,
                     "node \"{}\": an argument of the function has the same name", arg);
    }
  }
  Body body;
  pbf_writer w(body.fields);
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (is_arg_[i]) continue;
    TFE_ASSIGN_OR_RETURN(std::string node, NodeBytes(static_cast<int>(i), &arg_tensors));
    w.add_message(3, node);
    body.stateful |= graph_.nodes[i].stateful;
  }
  for (size_t i = 0; i < graph_.returns.size(); ++i) {
    TFE_ASSIGN_OR_RETURN(std::string tensor, FunctionTensor(graph_.returns[i].tensor, arg_tensors));
    AddMapEntry(&w, 4, return_names[i], tensor, true);
  }
  for (const auto& r : graph_.control_returns) {
    if (is_arg_[static_cast<size_t>(r.node)]) continue;
    AddMapEntry(&w, 6, r.name, graph_.nodes[static_cast<size_t>(r.node)].name, true);
    body.control_outputs.push_back(r.name);
  }
  return body;
}

Result<std::string> SerializeFunction(const NewFunction& function, const Graph& graph,
                                      const OpTable& ops, const FunctionLibrary& library,
                                      bool strip_defaults) {
  std::vector<std::string> args = function.arg_names, returns = function.return_names;
  if (args.empty())
    for (size_t i = 0; i < graph.args.size(); ++i) args.push_back(fmt::format("arg_{}", i));
  if (returns.empty())
    for (size_t i = 0; i < graph.returns.size(); ++i)
      returns.push_back(fmt::format("output_{}", i));
  if (args.size() != graph.args.size() || returns.size() != graph.returns.size()) {
    return Error(ErrorId::kGraphInvalid,
                 "function \"{}\": {} argument and {} return names for {} and {}", function.name,
                 args.size(), returns.size(), graph.args.size(), graph.returns.size());
  }
  for (const auto* names : {&args, &returns}) {
    if (std::unordered_set<std::string>(names->begin(), names->end()).size() != names->size())
      return Error(ErrorId::kGraphInvalid,
                   "function \"{}\": expected unique argument and return names", function.name);
  }
  auto body = GraphSerializer(graph, ops, library, strip_defaults).FunctionBody(args, returns);
  if (!body.ok()) return body.status().WithContext("function \"" + function.name + "\"");
  std::string bytes;
  pbf_writer w(bytes);
  {
    pbf_writer signature(w, 1);
    signature.add_string(1, function.name);
    auto add = [&](uint32_t field, const std::string& name, DType type) {
      pbf_writer arg(signature, field);
      arg.add_string(1, name);
      arg.add_int32(3, static_cast<int>(type));
    };
    for (size_t i = 0; i < args.size(); ++i) add(2, args[i], graph.type_of({graph.args[i], 0}));
    for (size_t i = 0; i < returns.size(); ++i)
      add(3, returns[i], graph.type_of(graph.returns[i].tensor));
    if (body->stateful) signature.add_bool(17, true);
    for (const std::string& name : body->control_outputs) signature.add_string(20, name);
  }
  for (const auto& [key, value] : function.attrs)
    AddMapEntry(&w, 5, key, value.serialized(), false);
  bytes.append(body->fields);
  return bytes;
}

}  // namespace tfengine::saved_model
