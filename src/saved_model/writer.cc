// SPDX-License-Identifier: Apache-2.0
#include "saved_model/writer.h"

#include <algorithm>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>
#include <set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/builtin_ops.h"
#include "saved_model/model_dir.h"
#include "saved_model/serialize_graph.h"
#include "saved_model/structured_value.h"
#include "saved_model/wire.h"
#include "tfgraph/transform.h"

namespace tfengine::saved_model {

using protozero::pbf_writer;
using tfgraph::AttrValue;
using tfgraph::Graph;
using tfgraph::Node;

namespace {

constexpr std::string_view kInitSignature = "__saved_model_init_op";
constexpr std::string_view kInitCollection = "saved_model_main_op";
constexpr std::string_view kResourcesChild = "trt_engine_resources";

std::string NodeWithInput(std::string_view node, const std::string& input) {
  std::string bytes(node);
  pbf_writer(bytes).add_string(3, input);
  return bytes;
}

std::string Attr(const AttrValue& value) { return value.serialized(); }

// The value of a Const node that is one string.
AttrValue StringScalar(const std::string& text) {
  constexpr int kAttrTensor = 8, kTensorDType = 1, kTensorShape = 2, kTensorString = 8;
  std::string bytes;
  {
    pbf_writer attr(bytes);
    pbf_writer tensor(attr, kAttrTensor);
    tensor.add_enum(kTensorDType, static_cast<int>(DType::kString));
    tensor.add_message(kTensorShape, std::string());
    tensor.add_bytes(kTensorString, text);
  }
  return AttrValue(bytes);
}

// Letters, digits and underscores, for use in a function name.
std::string Sanitized(std::string_view name) {
  std::string s(name);
  std::replace_if(s.begin(), s.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return s;
}

}  // namespace

struct Rewriter::Impl {
  // Objects appended to the SavedObjectGraph.
  struct Objects {
    int count = 0;                 // nodes in the original
    int resources = -1;            // the trt_engine_resources dictionary; in the original or new
    bool new_resources = false;
    std::string resource_children; // of that dictionary
    std::vector<std::string> nodes;
    std::string concrete_functions;
  };

  Impl(const SavedModel& m, const MetaGraph& g) : model(m), meta(g), ops(g.ops), library(g.functions) {
    WireReader r(meta.object_graph);
    while (r.Next()) {
      if (r.field() != 1) continue;
      if (objects.count++ == 0) FindResources(r.Bytes());
    }
  }

  void FindResources(std::string_view root) {
    WireReader r(root);
    while (r.Next()) {
      if (r.field() != 1) continue;
      int id = 0;
      std::string_view name;
      WireReader child(r.Bytes());
      while (child.Next()) {
        if (child.field() == 1) id = child.Int32();
        if (child.field() == 2) name = child.Bytes();
      }
      if (name == kResourcesChild) objects.resources = id;
    }
  }

  bool HasNode(const std::string& name) const {
    return meta.FindNode(name) != nullptr ||
           std::any_of(new_nodes.begin(), new_nodes.end(), [&](const auto& n) { return n.first == name; });
  }
  std::string UniqueNode(std::string name) const {
    for (std::string candidate = name;; candidate = fmt::format("{}_{}", name, HasNode(candidate) ? ++suffix : 0))
      if (!HasNode(candidate)) return candidate;
  }
  void AddNode(const std::string& name, std::string bytes) { new_nodes.emplace_back(name, std::move(bytes)); }

  // Notes that the model's op list must have this op.
  void UseOp(const std::string& op) {
    if (!meta.ops.ops().contains(op) && ops.Find(op) != nullptr) used_ops.insert(op);
  }

  Status AddFunctionBytes(const std::string& name, std::string bytes) {
    TFE_RETURN_IF_ERROR(library.AddOwned(bytes));
    new_functions.emplace_back(name, std::move(bytes));
    return OkStatus();
  }

  std::string SerializeMetaGraph() const;
  void WriteMetaInfo(std::string_view original, pbf_writer* parent) const;
  void WriteGraphDef(std::string_view original, pbf_writer* parent) const;
  void WriteObjectGraph(std::string_view original, pbf_writer* parent) const;
  std::string SignatureBytes(const std::string& key, std::string_view original) const;

  const SavedModel& model;
  const MetaGraph& meta;
  OpTable ops;              // the model's and those added
  FunctionLibrary library;  // the model's (original bodies) and those added
  std::set<std::string> used_ops;
  std::map<std::string, std::string, std::less<>> replaced_functions;
  std::vector<std::pair<std::string, std::string>> new_functions;
  std::map<std::string, std::string, std::less<>> replaced_nodes;
  std::vector<std::pair<std::string, std::string>> new_nodes;
  // Signature -> output key -> tensor name.
  std::map<std::string, std::map<std::string, std::string>> moved_outputs;
  std::vector<std::string> init_dependencies;  // nodes the init op must wait for
  std::vector<std::pair<std::string, std::string>> assets;  // tensor that is fed, file name
  std::map<std::string, std::string> asset_files;           // file name -> source ("" = empty file)
  Objects objects;
  mutable int suffix = 0;
};

Rewriter::Rewriter(const SavedModel& model, const MetaGraph& meta) : impl_(std::make_unique<Impl>(model, meta)) {}
Rewriter::~Rewriter() = default;
Rewriter::Rewriter(Rewriter&&) noexcept = default;

bool Rewriter::HasFunction(const std::string& name) const { return impl_->library.Find(name) != nullptr; }

Status Rewriter::AddOpDef(std::string_view serialized_op_def) {
  TFE_ASSIGN_OR_RETURN(OpDef op, OpDef::Parse(serialized_op_def));
  TFE_RETURN_IF_ERROR(impl_->ops.Add(serialized_op_def));
  impl_->UseOp(op.name);
  return OkStatus();
}

Status Rewriter::ReplaceFunctionBody(const std::string& name, const Graph& graph) {
  const FunctionDef* original = impl_->meta.functions.Find(name);
  auto invalid = [&](std::string_view why) { return Error(ErrorId::kGraphInvalid, "function \"{}\": {}", name, why); };
  if (original == nullptr) return invalid("the model has no such function");
  std::vector<std::string> args, returns;
  std::vector<DType> types;
  for (const ArgDef& arg : original->signature.inputs) {
    TFE_ASSIGN_OR_RETURN(auto list, ArgTypes(original->signature, arg, {}));
    const bool is_list = !arg.number_attr.empty() || !arg.type_list_attr.empty();
    for (size_t i = 0; i < list.size(); ++i) args.push_back(is_list ? fmt::format("{}:{}", arg.name, i) : arg.name);
    types.insert(types.end(), list.begin(), list.end());
  }
  if (args.size() != graph.args.size()) {
    return invalid(fmt::format("expected {} arguments, the graph has {}", args.size(), graph.args.size()));
  }
  for (size_t i = 0; i < args.size(); ++i)
    if (graph.type_of({graph.args[i], 0}) != types[i]) return invalid("argument \"" + args[i] + "\" has another type");
  for (const ArgDef& output : original->signature.outputs) {
    TFE_ASSIGN_OR_RETURN(auto list, ArgTypes(original->signature, output, {}));
    const size_t i = returns.size();
    if (list.size() != 1 || i >= graph.returns.size() || graph.type_of(graph.returns[i].tensor) != list[0]) {
      return invalid("output \"" + output.name + "\" is missing or has another type");
    }
    returns.push_back(output.name);
  }
  if (returns.size() != graph.returns.size()) return invalid("the graph has more returns than the function");
  auto body = GraphSerializer(graph, impl_->ops, impl_->library, impl_->meta.stripped_default_attrs).FunctionBody(args, returns);
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
    return Error(ErrorId::kGraphInvalid, "function \"{}\": the model has a function of that name", function.name);
  }
  TFE_ASSIGN_OR_RETURN(std::string bytes, SerializeFunction(function, graph, impl_->ops, impl_->library,
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
    if (std::find(graph.args.begin(), graph.args.end(), static_cast<int>(i)) != graph.args.end()) continue;
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
      return Error(ErrorId::kGraphInvalid, "signature \"{}\" has no output \"{}\"", signature, r.name);
    }
    std::string tensor = fmt::format("{}:{}", graph.nodes[static_cast<size_t>(r.tensor.node)].name, r.tensor.port);
    std::string before = it->second.name.find(':') == std::string::npos ? it->second.name + ":0" : it->second.name;
    if (tensor != before) impl_->moved_outputs[signature][r.name] = tensor;
  }
  return OkStatus();
}

Status Rewriter::AddEngineResource(const EngineResource& engine) {
  Impl& impl = *impl_;
  if (engine.asset_filename.empty() || engine.asset_filename.find('/') != std::string::npos ||
      engine.asset_filename == "." || engine.asset_filename == "..") {
    return Error(ErrorId::kGraphInvalid, "engine \"{}\": expected a plain file name, got \"{}\"", engine.name, engine.asset_filename);
  }
  for (const AssetFileDef& asset : impl.meta.assets) {
    if (asset.filename == engine.asset_filename)
      return Error(ErrorId::kGraphInvalid, "engine \"{}\": the model has an asset \"{}\"", engine.name, asset.filename);
  }
  if (!impl.asset_files.emplace(engine.asset_filename, engine.asset_source).second) {
    return Error(ErrorId::kGraphInvalid, "engine \"{}\": two assets are named \"{}\"", engine.name, engine.asset_filename);
  }

  // The three functions. All start from a handle of the resource.
  auto make = [](bool with_file) {
    Graph g;
    if (with_file) {
      g.nodes.push_back({.name = "filename", .op = "_Arg", .output_types = {DType::kString}});
      g.args = {0};
    }
    return g;
  };
  auto add = [](Graph* g, Node node) {
    g->nodes.push_back(std::move(node));
    return static_cast<int>(g->nodes.size()) - 1;
  };
  auto add_handle = [&](Graph* g) {
    return add(g, {.name = "CreateTRTResourceHandle", .op = "CreateTRTResourceHandle",
                   .attrs = {{"resource_name", AttrValue::String(engine.name)}},
                   .output_types = {DType::kResource}, .stateful = true});
  };
  // Effects run before the constant that the function returns.
  auto add_result = [&](Graph* g, int effect) {
    Tensor one(DType::kInt32, {});
    *one.mutable_as<int32_t>() = 1;
    int c = add(g, {.name = "Const", .op = "Const", .control_inputs = {effect},
                    .attrs = {{"dtype", AttrValue::Type(DType::kInt32)}, {"value", AttrValue::TensorValue(one)}},
                    .output_types = {DType::kInt32}});
    g->returns = {{"output", {c, 0}}};
    g->control_returns = {{g->nodes[static_cast<size_t>(effect)].name, effect}};
  };
  Graph creator = make(false);
  int handle = add_handle(&creator);
  creator.returns = {{"output", {handle, 0}}};
  creator.control_returns = {{"CreateTRTResourceHandle", handle}};
  Graph initializer = make(true);
  handle = add_handle(&initializer);
  add_result(&initializer, add(&initializer, {.name = "InitializeTRTResource", .op = "InitializeTRTResource",
                                              .inputs = {{handle, 0}, {0, 0}},
                                              .attrs = {{"max_cached_engines_count", AttrValue::Int(engine.max_cached_engines)}},
                                              .stateful = true}));
  Graph destroyer = make(false);
  handle = add_handle(&destroyer);
  add_result(&destroyer, add(&destroyer, {.name = "DestroyResourceOp", .op = "DestroyResourceOp", .inputs = {{handle, 0}},
                                          .attrs = {{"ignore_lookup_error", AttrValue::Bool(true)}}, .stateful = true}));
  struct Row {
    const char* kind;
    const char* child;
    const Graph& graph;
    FunctionResult result;
    std::string name;
  } rows[] = {{"creator", "_create_resource", creator, FunctionResult::kResource, ""},
              {"initializer", "_initialize", initializer, FunctionResult::kInt32, ""},
              {"destroyer", "_destroy_resource", destroyer, FunctionResult::kInt32, ""}};
  for (Row& row : rows) {
    NewFunction function;
    // TensorFlow's loader strips the prefix and the number.
    for (int n = 0; function.name.empty() || HasFunction(function.name); ++n)
      function.name = fmt::format("__inference__{}_{}_{}", row.kind, Sanitized(engine.name), n);
    if (!row.graph.args.empty()) function.arg_names = {"filename"};
    function.return_names = {"output"};
    TFE_RETURN_IF_ERROR(AddFunction(function, row.graph));
    row.name = function.name;
  }

  // Main graph: the asset's path replaces a constant, the init op calls the initialiser with it. Not a placeholder:
  // when TensorFlow 2 loads TensorFlow 1 models, it accepts none but the signatures' inputs.
  std::string asset_path = impl.UniqueNode(engine.name + "/asset_path");
  std::string bytes;
  {
    pbf_writer w(bytes);
    w.add_string(1, asset_path);
    w.add_string(2, "Const");
    AddMapEntry(&w, 5, "dtype", Attr(AttrValue::Type(DType::kString)), false);
    AddMapEntry(&w, 5, "value", Attr(StringScalar(engine.asset_filename)), false);
  }
  impl.AddNode(asset_path, std::move(bytes));
  std::string call = impl.UniqueNode(engine.name + "/initialize");
  bytes.clear();
  {
    pbf_writer w(bytes);
    w.add_string(1, call);
    w.add_string(2, "StatefulPartitionedCall");
    w.add_string(3, asset_path);
    AddMapEntry(&w, 5, "Tin", Attr(AttrValue::TypeList({DType::kString})), false);
    AddMapEntry(&w, 5, "Tout", Attr(AttrValue::TypeList({DType::kInt32})), false);
    AddMapEntry(&w, 5, "f", Attr(AttrValue::Func(rows[1].name)), false);
  }
  impl.AddNode(call, std::move(bytes));
  for (const char* op : {"Const", "StatefulPartitionedCall", "NoOp"}) impl.UseOp(op);
  impl.init_dependencies.push_back(call);
  const int asset_index = static_cast<int>(impl.meta.assets.size() + impl.assets.size());
  impl.assets.emplace_back(asset_path, engine.asset_filename);
  if (impl.meta.object_graph.empty()) return OkStatus();

  // Objects: asset, three functions, the resource with these as children.
  Impl::Objects& objects = impl.objects;
  auto next = [&] { return objects.count + static_cast<int>(objects.nodes.size()); };
  auto add_child = [](std::string* to, int id, std::string_view name) {
    pbf_writer w(*to);
    pbf_writer child(w, 1);
    child.add_int32(1, id);
    child.add_string(2, name.data(), name.size());
  };
  if (objects.resources < 0) {
    objects.resources = next();
    objects.new_resources = true;
    objects.nodes.emplace_back();  // written at the end, when its children are known
  }
  std::string resource;
  const int asset_id = next();
  add_child(&resource, asset_id, "_serialized_trt_resource_filename");
  {
    pbf_writer w(objects.nodes.emplace_back());
    pbf_writer asset(w, 5);
    asset.add_int32(1, asset_index);
  }
  for (const Row& row : rows) {
    add_child(&resource, next(), row.child);
    std::string& node = objects.nodes.emplace_back();
    pbf_writer(node).add_message(6, SavedFunctionBytes(row.name));
    pbf_writer w(objects.concrete_functions);
    AddMapEntry(&w, 2, row.name, SavedConcreteFunctionBytes(row.result, row.graph.args.empty() ? -1 : asset_id), false);
  }
  {
    pbf_writer w(resource);
    pbf_writer r(w, 10);
    r.add_string(1, "CPU");
  }
  add_child(&objects.resource_children, next(), engine.name);
  objects.nodes.push_back(std::move(resource));
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
      for (const std::string& call : init_dependencies) node_bytes = NodeWithInput(node_bytes, "^" + call);
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
    std::string node(r.Bytes());
    if (id == 0 && objects.new_resources) {
      pbf_writer nw(node);
      pbf_writer child(nw, 1);
      child.add_int32(1, objects.resources);
      child.add_string(2, kResourcesChild.data(), kResourcesChild.size());
    }
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
std::string Rewriter::Impl::SignatureBytes(const std::string& key, std::string_view original) const {
  auto moved = moved_outputs.find(key);
  if (moved == moved_outputs.end()) return std::string(original);
  std::string bytes;
  pbf_writer w(bytes);
  WireReader r(original);
  while (r.Next()) {
    MapEntry entry;
    if (r.field() != 2 || !ParseMapEntry(r.Bytes(), &entry) || !moved->second.contains(std::string(entry.key))) {
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
    AddMapEntry(&w, 5, kInitSignature, signature, false);
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
    return Error(ErrorId::kGraphTooLarge, "saved_model.pb: {} bytes, but a SavedModel can have no more than {}", bytes.size(), INT32_MAX);
  }
  return bytes;
}

Status Rewriter::Write(const std::string& dir) const {
  TFE_ASSIGN_OR_RETURN(std::string bytes, Serialize());
  return WriteModelDir(impl_->model.dir(), dir, bytes, impl_->asset_files);
}

}  // namespace tfengine::saved_model
