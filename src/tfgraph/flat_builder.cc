// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/flat_builder.h"

#include <charconv>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/wire.h"

namespace tfengine::tfgraph {
namespace {

using saved_model::ArgDef;
using saved_model::ArgTypes;
using saved_model::FunctionDef;
using saved_model::NodeDef;
using saved_model::OpDef;
using saved_model::WireReader;

constexpr int kMaxPorts = 1 << 20;

bool ParseNumber(std::string_view s, int* value) {
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), *value);
  return error == std::errc() && end == s.data() + s.size() && *value >= 0;
}

// Copies the attributes of a definition, with the placeholders of a polymorphic function replaced.
Status CopyAttrs(const saved_model::NamedBytes& from, const AttrMap& instantiation, AttrMap* to) {
  for (const auto& [key, bytes] : from) {
    AttrValue value{std::string(bytes)};
    if (!instantiation.empty()) {
      if (auto name = value.placeholder()) {
        auto it = instantiation.find(*name);
        if (it == instantiation.end()) {
          return Error(ErrorId::kGraphInvalid,
                       "attr \"{}\" stands for \"{}\", which the call does not give", key, *name);
        }
        value = it->second;
      }
    }
    to->insert_or_assign(std::string(key), std::move(value));
  }
  return OkStatus();
}

// NodeDef fields other than name, op, input, device and attr.
std::string OtherFields(const NodeDef& def) {
  std::string bytes;
  WireReader r(def.serialized);
  while (r.Next())
    if (r.field() > 5) bytes.append(r.raw());
  return bytes;
}

void SetShapes(Node* node) {
  if (const AttrValue* a = node->attr("_output_shapes")) {
    if (auto shapes = a->shape_list()) node->output_shapes = *std::move(shapes);
    if (node->output_shapes.size() > node->output_types.size())
      node->output_shapes.resize(node->output_types.size());
  }
  if (node->output_types.size() != 1) return;
  if (node->op == "Const") {
    const AttrValue* a = node->attr("value");
    if (auto dims = a ? a->tensor_shape() : std::nullopt)
      node->output_shapes = {{true, *std::move(dims)}};
  } else if (node->output_shapes.empty() && node->op.starts_with("Placeholder")) {
    const AttrValue* a = node->attr("shape");
    if (auto shape = a ? a->shape() : std::nullopt) node->output_shapes = {*std::move(shape)};
  }
}

}  // namespace

const OpDef* FlatBuilder::FindOp(std::string_view name) const {
  if (const OpDef* op = ops_.Find(name)) return op;
  const FunctionDef* function = library_.Find(name);
  return function != nullptr ? &function->signature : nullptr;
}

Status FlatBuilder::CheckInputs(const Node& node) const {
  const OpDef* op = FindOp(node.op);
  size_t at = 0;
  for (const ArgDef& arg : op->inputs) {
    TFE_ASSIGN_OR_RETURN(std::vector<DType> types, ArgTypes(*op, arg, node.attrs));
    for (DType type : types) {
      if (at >= node.inputs.size()) {
        return Error(ErrorId::kGraphInvalid,
                     "node \"{}\" ({}): expected an input \"{}\", got only {} inputs", node.name,
                     node.op, arg.name, node.inputs.size());
      }
      DType got = graph_.type_of(node.inputs[at++]);
      if (got != type) {
        return Error(ErrorId::kGraphInvalid, "node \"{}\" ({}), input \"{}\": expected {}, got {}",
                     node.name, node.op, arg.name, DTypeName(type), DTypeName(got));
      }
    }
  }
  if (at == node.inputs.size()) return OkStatus();
  return Error(ErrorId::kGraphInvalid, "node \"{}\" ({}): expected {} inputs, got {}", node.name,
               node.op, at, node.inputs.size());
}

Status FlatBuilder::AddNode(const NodeDef& def, const AttrMap& instantiation, Symbol* symbol) {
  Node node;
  node.name = def.name;
  node.op = def.op;
  node.device = def.device;
  node.other_fields = OtherFields(def);
  auto where = [&] { return fmt::format("node \"{}\" ({})", def.name, def.op); };
  if (Status s = CopyAttrs(def.attrs, instantiation, &node.attrs); !s.ok())
    return s.WithContext(where());
  const OpDef* op = FindOp(def.op);
  if (op == nullptr) {
    return Error(ErrorId::kGraphInvalid,
                 "{}: the model's op list and function library have no such op", where());
  }
  for (const auto& attr : op->attrs)
    if (attr.has_default) node.attrs.try_emplace(attr.name, attr.default_value);
  node.stateful = op->is_stateful;
  symbol->node = static_cast<int>(graph_.nodes.size());
  for (const ArgDef& output : op->outputs) {
    auto types = ArgTypes(*op, output, node.attrs);
    if (!types.ok()) return types.status().WithContext(where());
    symbol->outputs.push_back(
        {output.name,
         {static_cast<int>(node.output_types.size()), static_cast<int>(types->size())}});
    node.output_types.insert(node.output_types.end(), types->begin(), types->end());
    if (node.output_types.size() > kMaxPorts)
      return Error(ErrorId::kGraphTooLarge, "{}: too many outputs", where());
  }
  SetShapes(&node);
  graph_.nodes.push_back(std::move(node));
  return OkStatus();
}

Status FlatBuilder::AddArg(const FunctionDef& function, size_t index, const AttrMap& instantiation,
                           Symbol* symbol) {
  const ArgDef& arg = function.signature.inputs[index];
  TFE_ASSIGN_OR_RETURN(std::vector<DType> types, ArgTypes(function.signature, arg, instantiation));
  const bool list = !arg.number_attr.empty() || !arg.type_list_attr.empty();
  for (size_t i = 0; i < types.size(); ++i) {
    Node node;
    node.name = list ? fmt::format("{}_{}", arg.name, i) : arg.name;
    node.op = "_Arg";
    if (auto it = function.arg_attrs.find(static_cast<uint32_t>(index));
        it != function.arg_attrs.end()) {
      TFE_RETURN_IF_ERROR(CopyAttrs(it->second, instantiation, &node.attrs));
    }
    node.attrs["T"] = AttrValue::Type(types[i]);
    node.attrs["index"] = AttrValue::Int(static_cast<int64_t>(graph_.args.size()));
    node.output_types = {types[i]};
    node.stateful = true;
    SetShapes(&node);
    symbol->arg_nodes.push_back(static_cast<int>(graph_.nodes.size()));
    graph_.args.push_back(static_cast<int>(graph_.nodes.size()));
    graph_.nodes.push_back(std::move(node));
  }
  return OkStatus();
}

// "arg", "arg:1" (list argument), "node:out_arg", "node:out_arg:1". Without a number, a list means
// all of it.
Status FlatBuilder::ResolveFunctionInput(std::string_view input, std::vector<TensorId>* to) const {
  auto invalid = [&](std::string_view why) {
    return Error(ErrorId::kGraphInvalid, "tensor \"{}\": {}", input, why);
  };
  size_t colon = input.find(':');
  std::string_view name = input.substr(0, colon);
  std::string_view rest =
      colon == std::string_view::npos ? std::string_view() : input.substr(colon + 1);
  auto it = symbols_.find(name);
  if (it == symbols_.end()) return invalid("the function has no node or argument of that name");
  const Symbol& symbol = it->second;
  int number = -1;
  if (symbol.node < 0) {
    const int count = static_cast<int>(symbol.arg_nodes.size());
    if (!rest.empty() && (!ParseNumber(rest, &number) || number >= count))
      return invalid("no such element");
    for (int i = 0; i < count; ++i)
      if (number < 0 || i == number) to->push_back({symbol.arg_nodes[static_cast<size_t>(i)], 0});
    return OkStatus();
  }
  colon = rest.find(':');
  std::string_view output = rest.substr(0, colon);
  for (const auto& [out_name, ports] : symbol.outputs) {
    if (out_name != output) continue;
    if (colon != std::string_view::npos &&
        (!ParseNumber(rest.substr(colon + 1), &number) || number >= ports.second)) {
      return invalid("no such element");
    }
    for (int i = 0; i < ports.second; ++i)
      if (number < 0 || i == number) to->push_back({symbol.node, ports.first + i});
    return OkStatus();
  }
  return invalid("the op has no such output");
}

Result<Graph> FlatBuilder::Function(const FunctionDef& function, const AttrMap& instantiation) {
  graph_ = Graph();
  symbols_.clear();
  auto in_function = [&](const Status& s) {
    return s.WithContext("function \"" + function.name() + "\"");
  };
  auto duplicate = [&](std::string_view name) {
    return in_function(
        Error(ErrorId::kGraphInvalid, "expected unique names, got \"{}\" twice", name));
  };
  const OpDef& signature = function.signature;
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    auto [it, inserted] = symbols_.try_emplace(signature.inputs[i].name);
    if (!inserted) return duplicate(signature.inputs[i].name);
    if (Status s = AddArg(function, i, instantiation, &it->second); !s.ok()) return in_function(s);
  }
  const size_t first = graph_.nodes.size();
  std::vector<NodeDef> defs;
  defs.reserve(function.nodes.size());
  for (std::string_view bytes : function.nodes) {
    TFE_ASSIGN_OR_RETURN(NodeDef def, NodeDef::Parse(bytes));
    auto [it, inserted] = symbols_.try_emplace(def.name);
    if (!inserted) return duplicate(def.name);
    if (Status s = AddNode(def, instantiation, &it->second); !s.ok()) return in_function(s);
    defs.push_back(std::move(def));
  }
  for (size_t i = 0; i < defs.size(); ++i) {
    Node& node = graph_.nodes[first + i];
    for (std::string_view input : defs[i].inputs) {
      if (!input.starts_with('^')) {
        if (Status s = ResolveFunctionInput(input, &node.inputs); !s.ok())
          return in_function(s.WithContext("node \"" + node.name + "\""));
        continue;
      }
      auto it = symbols_.find(input.substr(1));
      if (it == symbols_.end()) {
        return in_function(Error(ErrorId::kGraphInvalid,
                                 "node \"{}\": control input \"{}\" does not exist", node.name,
                                 input));
      }
      if (it->second.node >= 0) node.control_inputs.push_back(it->second.node);
    }
    if (Status s = CheckInputs(node); !s.ok()) return in_function(s);
  }
  std::map<std::string_view, std::string_view> ret(function.ret.begin(), function.ret.end());
  for (const ArgDef& output : signature.outputs) {
    auto it = ret.find(output.name);
    std::vector<TensorId> tensors;
    Status s = it == ret.end() ? Error(ErrorId::kGraphInvalid, "no value is returned")
                               : ResolveFunctionInput(it->second, &tensors);
    if (!s.ok()) return in_function(s.WithContext("output \"" + output.name + "\""));
    const bool list = !output.number_attr.empty() || !output.type_list_attr.empty();
    for (size_t i = 0; i < tensors.size(); ++i)
      graph_.returns.push_back(
          {list ? fmt::format("{}_{}", output.name, i) : output.name, tensors[i]});
  }
  for (const auto& [name, node] : function.control_ret) {
    auto it = symbols_.find(node);
    if (it == symbols_.end() || it->second.node < 0) {
      return in_function(
          Error(ErrorId::kGraphInvalid, "control output \"{}\": no node \"{}\"", name, node));
    }
    graph_.control_returns.push_back({std::string(name), it->second.node});
  }
  if (function.control_ret.empty()) {
    for (size_t i = first; i < graph_.nodes.size(); ++i)
      if (graph_.nodes[i].stateful)
        graph_.control_returns.push_back({graph_.nodes[i].name, static_cast<int>(i)});
  }
  return std::move(graph_);
}

Result<Graph> FlatBuilder::Nodes(const std::vector<const NodeDef*>& nodes,
                                 const std::unordered_map<std::string_view, bool>& cut) {
  graph_ = Graph();
  symbols_.clear();
  for (const NodeDef* def : nodes) TFE_RETURN_IF_ERROR(AddNode(*def, {}, &symbols_[def->name]));
  for (size_t i = 0; i < nodes.size(); ++i) {
    Node& node = graph_.nodes[i];
    if (cut.contains(node.name)) continue;
    for (std::string_view input : nodes[i]->inputs) {
      const bool control = input.starts_with('^');
      std::string_view name = input.substr(control ? 1 : 0);
      int port = 0;
      if (size_t colon = name.rfind(':'); !control && colon != std::string_view::npos) {
        if (!ParseNumber(name.substr(colon + 1), &port)) port = -1;
        name = name.substr(0, colon);
      }
      auto it = symbols_.find(name);
      if (it == symbols_.end() || port < 0 ||
          (!control &&
           port >= static_cast<int>(
                       graph_.nodes[static_cast<size_t>(it->second.node)].output_types.size()))) {
        return Error(ErrorId::kGraphInvalid, "node \"{}\": input \"{}\" does not exist", node.name,
                     input);
      }
      if (control) {
        node.control_inputs.push_back(it->second.node);
      } else {
        node.inputs.push_back({it->second.node, port});
      }
    }
    TFE_RETURN_IF_ERROR(CheckInputs(node));
  }
  return std::move(graph_);
}

}  // namespace tfengine::tfgraph
