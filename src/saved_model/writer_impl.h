// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <protozero/pbf_writer.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "saved_model/structured_value.h"
#include "saved_model/wire.h"
#include "saved_model/writer.h"

namespace tfengine::saved_model {

inline constexpr std::string_view kEngineResourcesChild = "trt_engine_resources";

// Appends an edge to object `id` to a serialized SavedObject.
void AddChildObject(std::string* object, int id, std::string_view name);

// A function that TensorFlow's loader calls for a resource object.
struct Rewriter::ResourceFunction {
  const char* kind;      // "creator", "initializer", "destroyer": part of its name
  const char* attribute;  // of the object: "_create_resource", ...
  tfgraph::Graph graph;
  FunctionResult result = FunctionResult::kInt32;
  std::vector<std::string> arg_names = {};
  std::vector<int> bound_inputs = {};  // objects, one per argument
  std::string name = {};               // set when it is added to the library
};

// The edits a Rewriter has collected.
struct Rewriter::Impl {
  // Objects appended to the SavedObjectGraph.
  struct Objects {
    int count = 0;       // nodes in the original
    int resources = -1;  // the trt_engine_resources dictionary; in the original or new
    bool new_resources = false;
    std::string resource_children;  // of that dictionary
    std::vector<std::string> nodes;
    std::string concrete_functions;

    int Next() const { return count + static_cast<int>(nodes.size()); }
  };

  Impl(const SavedModel& m, const MetaGraph& g)
      : model(m), meta(g), ops(g.ops), library(g.functions) {
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
      if (name == kEngineResourcesChild) objects.resources = id;
    }
  }

  bool HasNode(const std::string& name) const {
    return meta.FindNode(name) != nullptr ||
           std::any_of(new_nodes.begin(), new_nodes.end(),
                       [&](const auto& n) { return n.first == name; });
  }
  std::string UniqueNode(std::string name) const {
    for (std::string candidate = name;;
         candidate = fmt::format("{}_{}", name, HasNode(candidate) ? ++suffix : 0))
      if (!HasNode(candidate)) return candidate;
  }
  void AddNode(const std::string& name, std::string bytes) {
    new_nodes.emplace_back(name, std::move(bytes));
  }

  // Notes that the model's op list must have this op.
  void UseOp(const std::string& op) {
    if (!meta.ops.ops().contains(op) && ops.Find(op) != nullptr) used_ops.insert(op);
  }

  Status AddFunctionBytes(const std::string& name, std::string bytes) {
    TFE_RETURN_IF_ERROR(library.AddOwned(bytes));
    new_functions.emplace_back(name, std::move(bytes));
    return OkStatus();
  }

  // Makes sure that there is a dictionary of engine resources.
  void MakeDictionary() {
    if (objects.resources >= 0) return;
    objects.resources = objects.Next();
    objects.new_resources = true;
    objects.nodes.emplace_back();  // written at the end, when its children are known
  }
  // Adds an object of kind resource to the dictionary of engine resources, with its functions and
  // the children in `children`.
  void AddResourceObject(const std::string& name, const char* device, std::string children,
                         const std::vector<ResourceFunction>& functions);

  std::string SerializeMetaGraph() const;
  void WriteMetaInfo(std::string_view original, protozero::pbf_writer* parent) const;
  void WriteGraphDef(std::string_view original, protozero::pbf_writer* parent) const;
  void WriteObjectGraph(std::string_view original, protozero::pbf_writer* parent) const;
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
  std::vector<std::string> init_dependencies;               // nodes the init op must wait for
  std::vector<std::pair<std::string, std::string>> assets;  // tensor that is fed, file name
  std::map<std::string, std::string> asset_files;           // file name -> source ("" = empty file)
  Objects objects;
  std::set<std::string> variable_lists;  // engines
  // Function → the one that takes its place in bare_concrete_function objects.
  std::map<std::string, std::string, std::less<>> light_functions;
  mutable int suffix = 0;
};

}  // namespace tfengine::saved_model
