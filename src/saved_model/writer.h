// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "saved_model/saved_model.h"
#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::saved_model {

// Signature and attributes of a function that is made from a graph.
struct NewFunction {
  std::string name;
  std::vector<std::string> arg_names;     // one per graph.args; empty: "arg_<i>"
  std::vector<std::string> return_names;  // one per graph.returns; empty: "output_<i>"
  std::map<std::string, tfgraph::AttrValue> attrs;
};

// An engine whose file TensorFlow loads when the model is loaded.
struct EngineResource {
  std::string name;            // resource name: the engine node's
  std::string asset_source;    // engine file to copy; empty: write an empty file
  std::string asset_filename;  // under assets/, e.g. "trt-serialized-engine.TRTEngineOp_000_000"
  int64_t max_cached_engines = 1;
};

// The variables of an engine's native segment that one of them stands for.
struct VariableList {
  std::string engine;
  std::vector<int> objects;  // of the object graph
  int key = 0;               // which of them
};

// Rewrites one MetaGraph of a SavedModel. What is not edited (other MetaGraphs, functions,
// signatures, objects, variables, assets, unknown fields) is copied byte for byte. Edits are
// collected; nothing is written before Write(). Not thread-safe. `model` must outlive it.
class Rewriter {
 public:
  Rewriter(const SavedModel& model, const MetaGraph& meta);
  ~Rewriter();
  Rewriter(Rewriter&&) noexcept;

  // An op that neither the model's op list nor BuiltinOps() knows; one that the model lists is left
  // alone. Needed before functions or nodes that use it. Builtin ops join the model's list by
  // themselves. Error: kProtoCorrupt.
  Status AddOpDef(std::string_view serialized_op_def);
  // Gives function `name` the body `graph`. Signature, attrs and argument attrs stay; graph.args
  // and graph.returns must match them in number and types. Errors: kGraphInvalid.
  Status ReplaceFunctionBody(const std::string& name, const tfgraph::Graph& graph);
  // Adds a function. Errors: kGraphInvalid, also if the name is taken.
  Status AddFunction(const NewFunction& function, const tfgraph::Graph& graph);
  // Gives main-graph nodes of the same names new definitions and appends the others (TensorFlow 1
  // models, whose signatures have no function). Arguments, and nodes that `graph` does not hold,
  // stay as they are. The outputs of `signature` follow graph.returns, found by name, where those
  // have moved (a call that was inlined). Errors: kGraphInvalid, kUnknownSignature.
  Status MergeMainGraph(const std::string& signature, const tfgraph::Graph& graph);
  // Adds the asset, the objects and functions that create, initialise and destroy the engine's
  // resource when Python loads the model, and the nodes that do it in the main graph's init op for
  // C++ and TensorFlow 1 loaders.
  Status AddEngineResource(const EngineResource& engine);

  // Which object each argument of `function` is bound to when Python loads the model, -1 for none.
  // Empty if the model has no objects, or they do not know the function.
  std::vector<int> BoundObjects(const std::string& function) const;
  // Adds the object that tells what the key of a list stands for when Python loads the model. A list
  // of the same engine is taken to be the same. Errors: kGraphInvalid.
  Status AddVariableList(const VariableList& list);
  // Gives Python's loader another function for a signature's `function`, which stays for all other
  // callers. The arguments of `graph` are those in `kept`, in rising order and with all that are not
  // bound. Errors: kGraphInvalid.
  Status AddLightFunction(const std::string& function, const tfgraph::Graph& graph,
                          const std::vector<int>& kept);

  // The names of all functions the rewritten model will have.
  bool HasFunction(const std::string& name) const;
  // The serialized SavedModel.
  Result<std::string> Serialize() const;
  // Writes the directory: saved_model.pb, and a copy of everything else the original has, plus the
  // new assets. `fingerprint.pb` is dropped. Writes beside and renames. Errors: kOutputExists,
  // kOutputUnwritable.
  Status Write(const std::string& dir) const;

 private:
  struct Impl;
  struct ResourceFunction;
  Status AddResourceFunctions(const std::string& resource,
                              std::vector<ResourceFunction>* functions);

  std::unique_ptr<Impl> impl_;
};

// The wire form of a flat graph as a FunctionDef; `ops` must know every op of the graph, `library`
// every function it calls by name. Attributes equal to their defaults are dropped if
// `strip_defaults`.
Result<std::string> SerializeFunction(const NewFunction& function, const tfgraph::Graph& graph,
                                      const OpTable& ops, const FunctionLibrary& library,
                                      bool strip_defaults);

}  // namespace tfengine::saved_model
