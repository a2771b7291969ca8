// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "saved_model/saved_model.h"
#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {

// What an argument of a signature's graph stands for.
struct ArgBinding {
  enum class Kind {
    kInput,    // a signature input
    kCapture,  // a main-graph node: variable handle, table, constant
  };
  Kind kind = Kind::kInput;
  std::string key;   // signature input key (kInput)
  std::string node;  // main-graph node: the placeholder, or the captured node
  std::string op;    // of that node: "Placeholder", "VarHandleOp", "HashTableV2", "Const", ...
};

struct SignatureGraph {
  enum class Kind {
    kFunction,  // TensorFlow 2: the body of the function that the signature calls
    kGraphDef,  // TensorFlow 1: the pruned main graph
  };
  Kind kind = Kind::kFunction;
  Graph graph;                         // functions inlined, sorted, pruned
  std::string function;                // kFunction: the signature wrapper's name
  std::string call_node;               // kFunction: the main-graph node that calls it
  std::vector<ArgBinding> args;        // one per graph.args
  std::map<std::string, int> outputs;  // signature output key -> index into graph.returns
};

struct BuildOptions {
  // More nodes than this after inlining is kGraphTooLarge.
  int64_t max_nodes = 1000000;
  // Inline (Stateful)PartitionedCall and direct calls. Functions called by While, If, Case and
  // other ops never are.
  bool inline_calls = true;
};

// The flat graph of one signature. Nodes carry every attribute of their OpDef (defaults filled in),
// output types, and the shapes the model states. Arguments: op "_Arg" (attrs T, index) in
// functions, the fed placeholders in GraphDefs. An argument that captures a numeric main-graph
// Const has it as `frozen`. Inlined nodes are named "<call node>/<body node>"; the order that
// control edges, control returns and calls imply is kept. Errors: kUnknownSignature, kGraphInvalid,
// kFunctionRecursive, kGraphTooLarge, kProtoCorrupt.
Result<SignatureGraph> BuildSignatureGraph(const saved_model::MetaGraph& meta,
                                           const std::string& signature,
                                           const BuildOptions& options = {});

// The flat graph of one function, e.g. the native segment function that TensorFlow hands to an
// engine op. `ops` must know the ops it uses, `library` the functions it calls.
Result<Graph> BuildFunctionGraph(const saved_model::FunctionDef& function,
                                 const saved_model::FunctionLibrary& library,
                                 const saved_model::OpTable& ops, const BuildOptions& options = {});
Result<Graph> BuildFunctionGraph(std::string_view serialized_function_def,
                                 const saved_model::FunctionLibrary& library,
                                 const saved_model::OpTable& ops, const BuildOptions& options = {});

// What the main graph runs for `targets` (names of nodes), with calls inlined: an init op, a
// restore op. The targets are control returns. A target that is itself a call is replaced by its
// effects.
Result<Graph> BuildTargets(const saved_model::MetaGraph& meta,
                           const std::vector<std::string>& targets,
                           const BuildOptions& options = {});

// The flat form of a whole main graph, nothing pruned or inlined, no arguments and no returns.
Result<Graph> BuildMainGraph(const saved_model::MetaGraph& meta);

}  // namespace tfengine::tfgraph
