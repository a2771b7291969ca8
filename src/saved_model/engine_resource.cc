// SPDX-License-Identifier: Apache-2.0
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/serialize_graph.h"
#include "saved_model/writer.h"
#include "saved_model/writer_impl.h"

namespace tfengine::saved_model {

using protozero::pbf_writer;
using tfgraph::AttrValue;
using tfgraph::Graph;
using tfgraph::Node;

namespace {

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

}  // namespace

Status Rewriter::AddEngineResource(const EngineResource& engine) {
  Impl& impl = *impl_;
  if (engine.asset_filename.empty() || engine.asset_filename.find('/') != std::string::npos ||
      engine.asset_filename == "." || engine.asset_filename == "..") {
    return Error(ErrorId::kGraphInvalid, "engine \"{}\": expected a plain file name, got \"{}\"",
                 engine.name, engine.asset_filename);
  }
  for (const AssetFileDef& asset : impl.meta.assets) {
    if (asset.filename == engine.asset_filename)
      return Error(ErrorId::kGraphInvalid, "engine \"{}\": the model has an asset \"{}\"",
                   engine.name, asset.filename);
  }
  if (!impl.asset_files.emplace(engine.asset_filename, engine.asset_source).second) {
    return Error(ErrorId::kGraphInvalid, "engine \"{}\": two assets are named \"{}\"", engine.name,
                 engine.asset_filename);
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
    return add(g, {.name = "CreateTRTResourceHandle",
                   .op = "CreateTRTResourceHandle",
                   .attrs = {{"resource_name", AttrValue::String(engine.name)}},
                   .output_types = {DType::kResource},
                   .stateful = true});
  };
  // Effects run before the constant that the function returns.
  auto add_result = [&](Graph* g, int effect) {
    Tensor one(DType::kInt32, {});
    *one.mutable_as<int32_t>() = 1;
    int c = add(g, {.name = "Const",
                    .op = "Const",
                    .control_inputs = {effect},
                    .attrs = {{"dtype", AttrValue::Type(DType::kInt32)},
                              {"value", AttrValue::TensorValue(one)}},
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
  add_result(
      &initializer,
      add(&initializer,
          {.name = "InitializeTRTResource",
           .op = "InitializeTRTResource",
           .inputs = {{handle, 0}, {0, 0}},
           .attrs = {{"max_cached_engines_count", AttrValue::Int(engine.max_cached_engines)}},
           .stateful = true}));
  Graph destroyer = make(false);
  handle = add_handle(&destroyer);
  add_result(&destroyer, add(&destroyer, {.name = "DestroyResourceOp",
                                          .op = "DestroyResourceOp",
                                          .inputs = {{handle, 0}},
                                          .attrs = {{"ignore_lookup_error", AttrValue::Bool(true)}},
                                          .stateful = true}));
  std::vector<ResourceFunction> functions = {
      {"creator", "_create_resource", creator, FunctionResult::kResource},
      {"initializer", "_initialize", initializer, FunctionResult::kInt32, {"filename"}},
      {"destroyer", "_destroy_resource", destroyer}};
  TFE_RETURN_IF_ERROR(AddResourceFunctions(engine.name, &functions));

  // Main graph: the asset's path replaces a constant, the init op calls the initialiser with it. Not
  // a placeholder: when TensorFlow 2 loads TensorFlow 1 models, it accepts none but the signatures'
  // inputs.
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
    AddMapEntry(&w, 5, "f", Attr(AttrValue::Func(functions[1].name)), false);
  }
  impl.AddNode(call, std::move(bytes));
  for (const char* op : {"Const", "StatefulPartitionedCall", "NoOp"}) impl.UseOp(op);
  impl.init_dependencies.push_back(call);
  const int asset_index = static_cast<int>(impl.meta.assets.size() + impl.assets.size());
  impl.assets.emplace_back(asset_path, engine.asset_filename);
  if (impl.meta.object_graph.empty()) return OkStatus();

  // Objects: the dictionary, asset, three functions, the resource with these as children.
  impl.MakeDictionary();
  const int asset_id = impl.objects.Next();
  {
    pbf_writer w(impl.objects.nodes.emplace_back());
    pbf_writer asset(w, 5);
    asset.add_int32(1, asset_index);
  }
  functions[1].bound_inputs = {asset_id};
  std::string children;
  AddChildObject(&children, asset_id, "_serialized_trt_resource_filename");
  impl.AddResourceObject(engine.name, "CPU", std::move(children), functions);
  return OkStatus();
}

}  // namespace tfengine::saved_model
