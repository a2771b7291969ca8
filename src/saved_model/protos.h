// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tfengine/status.h"
#include "tfengine/types.h"
#include "tfgraph/graph.h"

// The protocol buffer messages of a SavedModel, parsed as far as a reader needs and no further.
// Everything that is a string_view points into the bytes it was parsed from (usually the mapped
// saved_model.pb) and lives as long as those.
namespace tfengine::saved_model {

// Serialized messages keyed by name, in file order.
using NamedBytes = std::vector<std::pair<std::string_view, std::string_view>>;

// One input or output of an op or function.
struct ArgDef {
  std::string name;
  DType type = DType::kInvalid;  // fixed type, or kInvalid if one of the attrs below gives it
  std::string type_attr;         // attr that holds the type
  std::string number_attr;       // attr that holds the number of tensors of that type
  std::string type_list_attr;    // attr that holds one type per tensor
  bool is_ref = false;           // TensorFlow 1 reference (written by the op if an input)
};

struct AttrDef {
  std::string name;
  std::string type;  // "int", "list(shape)", "func", ...
  bool has_default = false;
  tfgraph::AttrValue default_value;
};

struct OpDef {
  std::string name;
  std::vector<ArgDef> inputs;
  std::vector<ArgDef> outputs;
  std::vector<std::string> control_outputs;  // of functions
  std::vector<AttrDef> attrs;
  bool is_stateful = false;
  std::string serialized;

  // Error: kProtoCorrupt.
  static Result<OpDef> Parse(std::string_view serialized);
};

struct NodeDef {
  std::string_view name;
  std::string_view op;
  std::string_view device;
  std::vector<std::string_view>
      inputs;        // "node", "node:1", "^node"; in functions "arg", "node:out_arg:0"
  NamedBytes attrs;  // serialized AttrValues
  std::string_view serialized;

  // Serialized AttrValue, or an empty view.
  std::string_view attr(std::string_view key) const;
  static Result<NodeDef> Parse(std::string_view serialized);
};

// A library function. Its nodes stay serialized until NodeDef::Parse.
struct FunctionDef {
  OpDef signature;
  std::vector<std::string_view> nodes;                             // serialized NodeDefs
  std::vector<std::pair<std::string_view, std::string_view>> ret;  // output arg name -> tensor name
  std::vector<std::pair<std::string_view, std::string_view>>
      control_ret;  // control output name -> node name
  NamedBytes attrs;
  std::map<uint32_t, NamedBytes> arg_attrs;  // argument index -> its attrs
  std::string_view serialized;

  const std::string& name() const { return signature.name; }
  static Result<FunctionDef> Parse(std::string_view serialized);
};

// OpDefs by name: those of MetaInfoDef.stripped_op_list, plus what the caller adds.
class OpTable {
 public:
  // Error: kProtoCorrupt. A name that is already there is kept as it is.
  Status Add(std::string_view serialized_op_def);
  // Among those added, then among BuiltinOps(); nullptr if in neither.
  const OpDef* Find(std::string_view name) const;
  const std::map<std::string, OpDef, std::less<>>& ops() const { return ops_; }

 private:
  std::map<std::string, OpDef, std::less<>> ops_;
};

// Functions by name. Holds views into bytes that must outlive it, or bytes of its own (AddOwned).
class FunctionLibrary {
 public:
  // Error: kProtoCorrupt, also for a second function of the same name.
  Status Add(std::string_view serialized_function_def);
  Status AddOwned(std::string serialized_function_def);
  const FunctionDef* Find(std::string_view name) const;
  size_t size() const { return functions_.size(); }
  const std::map<std::string, FunctionDef, std::less<>>& functions() const { return functions_; }

 private:
  std::map<std::string, FunctionDef, std::less<>> functions_;
  std::vector<std::shared_ptr<const std::string>> owned_;
};

// A TensorShapeProto; nullopt if it is malformed.
std::optional<tfgraph::PartialShape> ParseTensorShape(std::string_view bytes);

// The types of the tensors of `arg` (one per tensor), from the attrs of a node; defaults of `op`
// count where an attr is absent. Error: kGraphInvalid.
Result<std::vector<DType>> ArgTypes(const OpDef& op, const ArgDef& arg,
                                    const std::map<std::string, tfgraph::AttrValue>& attrs);

}  // namespace tfengine::saved_model
