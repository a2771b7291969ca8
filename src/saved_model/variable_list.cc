// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/serialize_graph.h"
#include "saved_model/structured_value.h"
#include "saved_model/writer_impl.h"

namespace tfengine::saved_model {

using protozero::pbf_writer;
using tfgraph::AttrValue;
using tfgraph::Graph;

namespace {

// The first entry of the map<string, message> field `field` with this key, or nothing.
std::optional<std::string_view> FindEntry(std::string_view message, uint32_t field,
                                          std::string_view key) {
  WireReader r(message);
  while (r.Next()) {
    MapEntry entry;
    if (r.field() == field && ParseMapEntry(r.Bytes(), &entry) && entry.key == key)
      return entry.value;
  }
  return std::nullopt;
}

// The map<uint32, message> entry with another key.
std::string WithIndex(std::string_view entry, uint32_t index) {
  std::string bytes;
  pbf_writer(bytes).add_uint32(1, index);
  WireReader r(entry);
  while (r.Next())
    if (r.field() != 1) bytes.append(r.raw());
  return bytes;
}

uint32_t IndexOf(std::string_view entry) {
  WireReader r(entry);
  while (r.Next())
    if (r.field() == 1) return static_cast<uint32_t>(r.Uint());
  return 0;
}

}  // namespace

std::vector<int> Rewriter::BoundObjects(const std::string& function) const {
  const FunctionDef* def = impl_->meta.functions.Find(function);
  auto concrete = FindEntry(impl_->meta.object_graph, 2, function);
  if (def == nullptr || !concrete) return {};
  std::vector<int> bound;
  WireReader r(*concrete);
  while (r.Next())
    if (r.field() == 2) r.Varints([&](uint64_t v) { bound.push_back(static_cast<int>(v)); });
  const size_t count = def->signature.inputs.size();
  if (bound.size() > count) return {};
  std::vector<int> objects(count - bound.size(), -1);
  objects.insert(objects.end(), bound.begin(), bound.end());
  return objects;
}

Status Rewriter::AddVariableList(const VariableList& list) {
  Impl& impl = *impl_;
  if (impl.variable_lists.contains(list.engine)) return OkStatus();
  const std::string name = list.engine + "_variables";
  auto add = [](Graph* g, tfgraph::Node node) {
    g->nodes.push_back(std::move(node));
    return static_cast<int>(g->nodes.size()) - 1;
  };
  // A resource is what TensorFlow initialises. Nothing is kept under its name.
  Graph creator;
  const int handle = add(&creator, {.name = "CreateTRTResourceHandle",
                                    .op = "CreateTRTResourceHandle",
                                    .attrs = {{"resource_name", AttrValue::String(name)}},
                                    .output_types = {DType::kResource},
                                    .stateful = true});
  creator.returns = {{"output", {handle, 0}}};
  creator.control_returns = {{"CreateTRTResourceHandle", handle}};

  Graph initializer;
  std::vector<std::string> names;
  tfgraph::Node bind{.name = "TfengineBindVariables", .op = "TfengineBindVariables"};
  bind.attrs["engine"] = AttrValue::String(list.engine);
  bind.attrs["key"] = AttrValue::Int(list.key);
  bind.attrs["N"] = AttrValue::Int(static_cast<int64_t>(list.objects.size()));
  bind.stateful = true;
  for (size_t i = 0; i < list.objects.size(); ++i) {
    names.push_back(fmt::format("variable_{}", i));
    initializer.args.push_back(
        add(&initializer, {.name = names[i], .op = "_Arg", .output_types = {DType::kResource}}));
    bind.inputs.push_back({initializer.args.back(), 0});
  }
  const int bound = add(&initializer, std::move(bind));
  Tensor one(DType::kInt32, {});
  *one.mutable_as<int32_t>() = 1;
  const int result = add(&initializer, {.name = "Const",
                                        .op = "Const",
                                        .control_inputs = {bound},
                                        .attrs = {{"dtype", AttrValue::Type(DType::kInt32)},
                                                  {"value", AttrValue::TensorValue(one)}},
                                        .output_types = {DType::kInt32}});
  initializer.returns = {{"output", {result, 0}}};
  initializer.control_returns = {{"TfengineBindVariables", bound}};

  std::vector<ResourceFunction> functions = {
      {"creator", "_create_resource", creator, FunctionResult::kResource},
      {"initializer", "_initialize", initializer, FunctionResult::kInt32, names, list.objects}};
  TFE_RETURN_IF_ERROR(AddResourceFunctions(name, &functions));
  impl.AddResourceObject(name, "CPU", "", functions);
  impl.variable_lists.insert(list.engine);
  return OkStatus();
}

Status Rewriter::AddLightFunction(const std::string& function, const Graph& graph,
                                  const std::vector<int>& kept) {
  Impl& impl = *impl_;
  const FunctionDef* original = impl.meta.functions.Find(function);
  auto invalid = [&](std::string_view why) {
    return Error(ErrorId::kGraphInvalid, "function \"{}\": {}", function, why);
  };
  const std::vector<int> bound = BoundObjects(function);
  if (bound.empty()) return invalid("no argument of it is bound to an object");
  if (graph.args.size() != kept.size())
    return invalid("the lighter function has another number of arguments");

  std::string name = function + "_light";
  while (HasFunction(name)) name += "_";
  std::vector<std::string> args, returns;
  std::map<uint32_t, uint32_t> new_index;
  for (int arg : kept) {
    new_index[static_cast<uint32_t>(arg)] = static_cast<uint32_t>(args.size());
    args.push_back(original->signature.inputs[static_cast<size_t>(arg)].name);
  }
  for (const ArgDef& output : original->signature.outputs) returns.push_back(output.name);
  if (returns.size() != graph.returns.size()) return invalid("it has another number of returns");
  auto body = GraphSerializer(graph, impl.ops, impl.library, impl.meta.stripped_default_attrs)
                  .FunctionBody(args, returns);
  if (!body.ok()) return body.status().WithContext("function \"" + name + "\"");
  for (const tfgraph::Node& node : graph.nodes) impl.UseOp(node.op);

  std::string bytes;
  pbf_writer w(bytes);
  WireReader r(original->serialized);
  while (r.Next()) {
    MapEntry entry;
    if (r.field() == 1) {
      std::string signature;
      pbf_writer sw(signature);
      sw.add_string(1, name);
      uint32_t index = 0;
      WireReader s(r.Bytes());
      while (s.Next())
        if (s.field() == 2 ? new_index.contains(index++) : s.field() != 1 && s.field() != 20)
          signature.append(s.raw());
      for (const std::string& output : body->control_outputs) sw.add_string(20, output);
      w.add_message(1, signature);
    } else if (r.field() == 7) {  // attributes of arguments
      auto it = new_index.find(IndexOf(r.Bytes()));
      if (it != new_index.end()) w.add_message(7, WithIndex(r.Bytes(), it->second));
    } else if (r.field() == 5 && ParseMapEntry(r.Bytes(), &entry) && entry.key != "_input_shapes") {
      bytes.append(r.raw());
    }
  }
  bytes.append(body->fields);
  TFE_RETURN_IF_ERROR(impl.AddFunctionBytes(name, std::move(bytes)));

  std::vector<int> objects;
  for (int arg : kept)
    if (bound[static_cast<size_t>(arg)] >= 0) objects.push_back(bound[static_cast<size_t>(arg)]);
  std::string concrete;
  pbf_writer cw(concrete);
  cw.add_packed_int32(2, objects.begin(), objects.end());
  WireReader c(*FindEntry(impl.meta.object_graph, 2, function));
  while (c.Next())
    if (c.field() != 2) concrete.append(c.raw());
  pbf_writer ow(impl.objects.concrete_functions);
  AddMapEntry(&ow, 2, name, concrete, false);
  impl.light_functions[function] = name;
  return OkStatus();
}

}  // namespace tfengine::saved_model
