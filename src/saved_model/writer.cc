// SPDX-License-Identifier: Apache-2.0
#include "saved_model/writer.h"

#include <algorithm>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/model_dir.h"
#include "saved_model/serialize_graph.h"
#include "saved_model/wire.h"
#include "saved_model/writer_impl.h"
#include "tfgraph/transform.h"

namespace tfengine::saved_model {

using protozero::pbf_writer;
using tfgraph::Graph;
using tfgraph::Node;

namespace {

constexpr std::string_view kInitSignature = "__saved_model_init_op";
constexpr std::string_view kInitCollection = "saved_model_main_op";

std::string NodeWithInput(std::string_view node, const std::string& input) {
  std::string bytes(node);
  pbf_writer(bytes).add_string(3, input);
  return bytes;
}

// A serialized SavedObject, with another function if it is one of those that `replaced` has.
std::string WithOtherFunction(std::string_view object,
                              const std::map<std::string, std::string, std::less<>>& replaced) {
  std::string bytes;
  pbf_writer w(bytes);
  WireReader r(object);
  while (r.Next()) {
    if (r.field() != 8) {
      bytes.append(r.raw());
      continue;
    }
    std::string function;
    WireReader f(r.Bytes());
    while (f.Next()) {
      auto it = f.field() == 1 ? replaced.find(f.Bytes()) : replaced.end();
      if (it != replaced.end()) {
        pbf_writer(function).add_string(1, it->second);
      } else {
        function.append(f.raw());
      }
    }
    w.add_message(8, function);
  }
  return bytes;
}

}  // namespace

Rewriter::Rewriter(const SavedModel& model, const MetaGraph& meta)
    : impl_(std::make_unique<Impl>(model, meta)) {}
Rewriter::~Rewriter() = default;
Rewriter::Rewriter(Rewriter&&) noexcept = default;

bool Rewriter::HasFunction(const std::string& name) const {
  return impl_->library.Find(name) != nullptr;
}

Status Rewriter::AddOpDef(std::string_view serialized_op_def) {
  TFE_ASSIGN_OR_RETURN(OpDef op, OpDef::Parse(serialized_op_def));
  TFE_RETURN_IF_ERROR(impl_->ops.Add(serialized_op_def));
  impl_->UseOp(op.name);
  return OkStatus();
}

Status Rewriter::ReplaceFunctionBody(const std::string& name, const Graph& graph) {
  const FunctionDef* original = impl_->meta.functions.Find(name);
  auto invalid = [&](std::string_view why) {
    return Error(ErrorId::kGraphInvalid, "function \"{}\": {}", name, why);
  };
  if (original == nullptr) return invalid("the model has no such function");
  std::vector<std::string> args, returns;
  std::vector<DType> types;
  for (const ArgDef& arg : original->signature.inputs) {
    TFE_ASSIGN_OR_RETURN(auto list, ArgTypes(original->signature, arg, {}));
    const bool is_list = !arg.number_attr.empty() || !arg.type_list_attr.empty();
    for (size_t i = 0; i < list.size(); ++i)
      args.push_back(is_list ? fmt::format("{}:{}", arg.name, i) : arg.name);
    types.insert(types.end(), list.begin(), list.end());
  }
  if (args.size() != graph.args.size()) {
    return invalid(
        fmt::format("expected {} arguments, the graph has {}", args.size(), graph.args.size()));
  }
  for (size_t i = 0; i < args.size(); ++i)
    if (graph.type_of({graph.args[i], 0}) != types[i])
      return invalid("argument \"" + args[i] + "\" has another type");
  for (const ArgDef& output : original->signature.outputs) {
    TFE_ASSIGN_OR_RETURN(auto list, ArgTypes(original->signature, output, {}));
    const size_t i = returns.size();
    if (list.size() != 1 || i >= graph.returns.size() ||
        graph.type_of(graph.returns[i].tensor) != list[0]) {
      return invalid("output \"" + output.name + "\" is missing or has another type");
    }
    returns.push_back(output.name);
  }
  if (returns.size() != graph.returns.size())
    return invalid("the graph has more returns than the function");
  auto body = GraphSerializer(graph, impl_->ops, impl_->library, impl_->meta.stripped_default_attrs)
                  .FunctionBody(args, returns);
  if (!body.ok()) return body.status().WithContext("function \"" + name + "\"");
  for (const Node& node : graph.nodes) impl_->UseOp(node.op);
  std::string bytes;
  pbf_writer w(bytes);
  WireReader r(original->serialized);
  while (r.Next()) {
    if (r.field() == 3 || r.field() == 4 || r.field() == 6) continue;
    if (r.field() != 1) {
      bytes.append(r.raw());
      continue;
    }
    std::string signature;
    WireReader s(r.Bytes());
    while (s.Next())
      if (s.field() != 20) signature.append(s.raw());
    pbf_writer sw(signature);
    for (const std::string& output : body->control_outputs) sw.add_string(20, output);
    w.add_message(1, signature);
  }
  bytes.append(body->fields);
  impl_->replaced_functions[name] = std::move(bytes);
  return OkStatus();
}

Status Rewriter::AddFunction(const NewFunction& function, const Graph& graph) {
  if (HasFunction(function.name)) {
    return Error(ErrorId::kGraphInvalid, "function \"{}\": the model has a function of that name",
                 function.name);
  }
  TFE_ASSIGN_OR_RETURN(std::string bytes,
                       SerializeFunction(function, graph, impl_->ops, impl_->library,
                                         impl_->meta.stripped_default_attrs));
  for (const Node& node : graph.nodes) impl_->UseOp(node.op);
  return impl_->AddFunctionBytes(function.name, std::move(bytes));
}

Status Rewriter::MergeMainGraph(const std::string& signature, const Graph& graph) {
  TFE_RETURN_IF_ERROR(tfgraph::Validate(graph));
  TFE_ASSIGN_OR_RETURN(const SignatureDef* def, impl_->meta.FindSignature(signature));
  GraphSerializer serializer(graph, impl_->ops, impl_->library, impl_->meta.stripped_default_attrs);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (std::find(graph.args.begin(), graph.args.end(), static_cast<int>(i)) != graph.args.end())
      continue;
    TFE_ASSIGN_OR_RETURN(std::string bytes, serializer.NodeBytes(static_cast<int>(i), nullptr));
    impl_->UseOp(node.op);
    if (const NodeDef* original = impl_->meta.FindNode(node.name)) {
      impl_->replaced_nodes[std::string(original->name)] = std::move(bytes);
    } else if (!impl_->HasNode(node.name)) {
      impl_->AddNode(node.name, std::move(bytes));
    }
  }
  for (const auto& r : graph.returns) {
    auto it = def->outputs.find(r.name);
    if (it == def->outputs.end()) {
      return Error(ErrorId::kGraphInvalid, "signature \"{}\" has no output \"{}\"", signature,
                   r.name);
    }
    std::string tensor =
        fmt::format("{}:{}", graph.nodes[static_cast<size_t>(r.tensor.node)].name, r.tensor.port);
    std::string before =
        it->second.name.find(':') == std::string::npos ? it->second.name + ":0" : it->second.name;
    if (tensor != before) impl_->moved_outputs[signature][r.name] = tensor;
  }
  return OkStatus();
}

void Rewriter::Impl::WriteMetaInfo(std::string_view original, pbf_writer* parent) const {
  std::string list, rest;
  WireReader r(original);
  while (r.Next()) {
    if (r.field() == 2) {
      list.append(r.Bytes());
    } else {
      rest.append(r.raw());
    }
  }
  pbf_writer w(list);
  for (const std::string& op : used_ops) w.add_message(1, ops.Find(op)->serialized);
  pbf_writer(rest).add_message(2, list);
  parent->add_message(1, rest);
}

void Rewriter::Impl::WriteGraphDef(std::string_view original, pbf_writer* parent) const {
  const std::vector<std::string> init_ops = meta.InitOps();
  std::string bytes, library_bytes;
  pbf_writer w(bytes);
  WireReader r(original);
  while (r.Next()) {
    if (r.field() == 2) {
      WireReader functions(r.Bytes());
      pbf_writer lw(library_bytes);
      while (functions.Next()) {
        std::string_view name;
        if (functions.field() == 1) {
          WireReader f(functions.Bytes());
          while (f.Next()) {
            if (f.field() != 1) continue;
            WireReader s(f.Bytes());
            while (s.Next())
              if (s.field() == 1) name = s.Bytes();
          }
        }
        auto it = replaced_functions.find(name);
        if (functions.field() == 1 && it != replaced_functions.end()) {
          lw.add_message(1, it->second);
        } else {
          library_bytes.append(functions.raw());
        }
      }
      continue;
    }
    if (r.field() != 1) {
      bytes.append(r.raw());
      continue;
    }
    std::string_view name;
    WireReader node(r.Bytes());
    while (node.Next())
      if (node.field() == 1) name = node.Bytes();
    auto it = replaced_nodes.find(name);
    std::string node_bytes(it != replaced_nodes.end() ? std::string_view(it->second) : r.Bytes());
    if (!init_ops.empty() && name == init_ops.front()) {
      for (const std::string& call : init_dependencies)
        node_bytes = NodeWithInput(node_bytes, "^" + call);
    }
    w.add_message(1, node_bytes);
  }
  for (const auto& [name, node] : new_nodes) w.add_message(1, node);
  pbf_writer lw(library_bytes);
  for (const auto& [name, function] : new_functions) lw.add_message(1, function);
  if (!library_bytes.empty()) w.add_message(2, library_bytes);
  parent->add_message(2, bytes);
}

void Rewriter::Impl::WriteObjectGraph(std::string_view original, pbf_writer* parent) const {
  std::string bytes;
  pbf_writer w(bytes);
  int id = 0;
  WireReader r(original);
  while (r.Next()) {
    if (r.field() != 1) {
      bytes.append(r.raw());
      continue;
    }
    std::string node = WithOtherFunction(r.Bytes(), light_functions);
    if (id == 0 && objects.new_resources)
      AddChildObject(&node, objects.resources, kEngineResourcesChild);
    if (id == objects.resources) node.append(objects.resource_children);
    w.add_message(1, node);
    ++id;
  }
  for (const std::string& node : objects.nodes) {
    if (id++ != objects.resources) {
      w.add_message(1, node);
      continue;
    }
    std::string dictionary = objects.resource_children;
    {
      pbf_writer nw(dictionary);
      pbf_writer user(nw, 4);
      user.add_string(1, "trackable_dict_wrapper");
      pbf_writer version(user, 2);
      version.add_int32(1, 1);
      version.add_int32(2, 1);
    }
    w.add_message(1, dictionary);
  }
  bytes.append(objects.concrete_functions);
  parent->add_message(7, bytes);
}

// A SignatureDef with the outputs that have moved.
std::string Rewriter::Impl::SignatureBytes(const std::string& key,
                                           std::string_view original) const {
  auto moved = moved_outputs.find(key);
  if (moved == moved_outputs.end()) return std::string(original);
  std::string bytes;
  pbf_writer w(bytes);
  WireReader r(original);
  while (r.Next()) {
    MapEntry entry;
    if (r.field() != 2 || !ParseMapEntry(r.Bytes(), &entry) ||
        !moved->second.contains(std::string(entry.key))) {
      bytes.append(r.raw());
      continue;
    }
    std::string info;
    WireReader fields(entry.value);
    while (fields.Next())
      if (fields.field() != 1) info.append(fields.raw());
    pbf_writer(info).add_string(1, moved->second.at(std::string(entry.key)));
    AddMapEntry(&w, 2, entry.key, info, false);
  }
  return bytes;
}

std::string Rewriter::Impl::SerializeMetaGraph() const {
  std::string bytes;
  pbf_writer w(bytes);
  bool has_info = false, has_graph = false;
  WireReader r(meta.serialized);
  while (r.Next()) {
    MapEntry entry;
    if (r.field() == 1) {
      WriteMetaInfo(r.Bytes(), &w);
      has_info = true;
    } else if (r.field() == 2) {
      WriteGraphDef(r.Bytes(), &w);
      has_graph = true;
    } else if (r.field() == 7) {
      WriteObjectGraph(r.Bytes(), &w);
    } else if (r.field() == 5 && ParseMapEntry(r.Bytes(), &entry)) {
      AddMapEntry(&w, 5, entry.key, SignatureBytes(std::string(entry.key), entry.value), false);
    } else {
      bytes.append(r.raw());
    }
  }
  if (!has_info) WriteMetaInfo("", &w);
  if (!has_graph) WriteGraphDef("", &w);
  for (const auto& [tensor, filename] : assets) {
    pbf_writer asset(w, 6);
    {
      pbf_writer info(asset, 1);
      info.add_string(1, tensor + ":0");
      info.add_int32(2, static_cast<int>(DType::kString));
      info.add_message(3, "", 0);
    }
    asset.add_string(2, filename);
  }
  return bytes;
}

Result<std::string> Rewriter::Serialize() const {
  Impl& impl = *impl_;
  // A model without an init op gets one.
  std::string init;
  if (!impl.init_dependencies.empty() && impl.meta.InitOps().empty()) {
    init = impl.UniqueNode("tfengine_init");
    std::string bytes;
    pbf_writer w(bytes);
    w.add_string(1, init);
    w.add_string(2, "NoOp");
    for (const std::string& call : impl.init_dependencies) w.add_string(3, "^" + call);
    impl.AddNode(init, std::move(bytes));
  }
  std::string meta = impl.SerializeMetaGraph();
  if (!init.empty()) {
    impl.new_nodes.pop_back();  // Serialize leaves the collected edits as they were
    pbf_writer w(meta);
    std::string signature, collection;
    {
      pbf_writer sw(signature);
      pbf_writer output(sw, 2);
      output.add_string(1, kInitSignature.data(), kInitSignature.size());
      pbf_writer info(output, 2);
      info.add_string(1, init);
      pbf_writer shape(info, 3);
      shape.add_bool(3, true);
    }
    {
      pbf_writer cw(collection);
      pbf_writer list(cw, 1);
      list.add_string(1, init);
    }
    // TensorFlow 2 would show the signature of a model without an object graph to its users.
    if (!impl.meta.object_graph.empty()) AddMapEntry(&w, 5, kInitSignature, signature, false);
    AddMapEntry(&w, 4, kInitCollection, collection, false);
  }
  std::string bytes;
  pbf_writer w(bytes);
  WireReader r(impl.model.serialized());
  while (r.Next()) {
    if (r.field() == 2 && r.Bytes().data() == impl.meta.serialized.data()) {
      w.add_message(2, meta);
    } else {
      bytes.append(r.raw());
    }
  }
  // protobuf refuses larger messages, so TensorFlow could not read it.
  if (bytes.size() > size_t{INT32_MAX}) {
    return Error(ErrorId::kGraphTooLarge,
                 "saved_model.pb: {} bytes, but a SavedModel can have no more than {}",
                 bytes.size(), INT32_MAX);
  }
  return bytes;
}

Status Rewriter::Write(const std::string& dir) const {
  TFE_ASSIGN_OR_RETURN(std::string bytes, Serialize());
  return WriteModelDir(impl_->model.dir(), dir, bytes, impl_->asset_files);
}

}  // namespace tfengine::saved_model
