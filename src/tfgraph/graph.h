// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tfengine/status.h"
#include "tfengine/types.h"

// The TensorFlow-level graph: what a SavedModel's functions and GraphDefs hold, without TensorFlow.
namespace tfengine::tfgraph {

// A shape as GraphDef spells it: unknown rank, or a list of sizes with -1 for unknown.
struct PartialShape {
  bool known_rank = false;
  std::vector<int64_t> dims;
};

// One attribute. Holds the serialized AttrValue message, so that what is not understood is still written back
// unchanged; accessors decode on demand and return nullopt if the attribute is of another kind.
class AttrValue {
 public:
  AttrValue() = default;
  explicit AttrValue(std::string serialized)
      : serialized_(std::make_shared<const std::string>(std::move(serialized))) {}
  static AttrValue Int(int64_t v);
  static AttrValue Bool(bool v);
  static AttrValue Float(float v);
  static AttrValue String(std::string_view v);
  static AttrValue Type(DType v);
  static AttrValue Shape(const PartialShape& v);
  static AttrValue Func(std::string_view function_name);
  static AttrValue TypeList(const std::vector<DType>& v);
  static AttrValue ShapeList(const std::vector<PartialShape>& v);
  static AttrValue StringList(const std::vector<std::string>& v);
  static AttrValue IntList(const std::vector<int64_t>& v);
  static AttrValue TensorValue(const Tensor& v);  // fixed-size dtypes only

  std::optional<int64_t> i() const;
  std::optional<bool> b() const;
  std::optional<float> f() const;
  std::optional<std::string> s() const;
  std::optional<DType> type() const;
  std::optional<PartialShape> shape() const;
  std::optional<std::string> func() const;
  // The attributes that a func value carries (NameAttrList.attr).
  std::map<std::string, AttrValue> func_attrs() const;
  std::optional<std::string> placeholder() const;
  std::optional<std::vector<int64_t>> int_list() const;
  std::optional<std::vector<float>> float_list() const;
  std::optional<std::vector<std::string>> string_list() const;
  std::optional<std::vector<DType>> type_list() const;
  std::optional<std::vector<PartialShape>> shape_list() const;
  std::optional<std::vector<std::string>> func_list() const;
  // Decodes a TensorProto (tensor_content, or the typed repeated fields with TensorFlow's rule that the last value
  // fills the rest). Strings, resources and variants: kUnsupportedDType.
  Result<Tensor> tensor() const;
  // A string tensor (scalar or not), row-major.
  Result<std::vector<std::string>> string_tensor() const;
  // The static shape of a TensorProto, without decoding its values.
  std::optional<std::vector<int64_t>> tensor_shape() const;
  const std::string& serialized() const;
  bool operator==(const AttrValue& o) const { return serialized() == o.serialized(); }

 private:
  std::shared_ptr<const std::string> serialized_;  // shared by the copies of a node
};

// Output `port` of node `node` (an index into Graph::nodes).
struct TensorId {
  int node = -1;
  int port = 0;
  bool operator==(const TensorId&) const = default;
  bool operator<(const TensorId& o) const { return node != o.node ? node < o.node : port < o.port; }
};

struct Node {
  std::string name;  // unique in its graph
  std::string op;
  std::string device;
  std::vector<TensorId> inputs;
  std::vector<int> control_inputs;  // node indices
  std::map<std::string, AttrValue> attrs;
  std::vector<DType> output_types;  // one per output port; from the OpDef and the attrs
  // Static shapes of the outputs where the graph says so (`_output_shapes`, `shape` of placeholders); may be shorter
  // than output_types.
  std::vector<PartialShape> output_shapes;
  bool stateful = false;  // OpDef.is_stateful
  // NodeDef fields that are not understood here (debug info, full types), in wire form; written back as they are.
  std::string other_fields;
  // For a ReadVariableOp, VarHandleOp+read, VariableV2 or argument that reads a variable which nothing in the graph
  // assigns: the value of that variable, mapped from the checkpoint. Set by FreezeVariables on the *reading* node.
  std::shared_ptr<const Tensor> frozen;
  const AttrValue* attr(const std::string& key) const {
    auto it = attrs.find(key);
    return it == attrs.end() ? nullptr : &it->second;
  }
};

// A flat graph: the body of a function, or a pruned GraphDef. Function arguments are nodes of op "_Arg" (attrs T and
// index) and come first in `args`; a GraphDef's fed placeholders play the same role.
struct Graph {
  std::vector<Node> nodes;  // topological order (data and control), ties broken by first appearance
  std::vector<int> args;    // node index per argument
  struct Return {
    std::string name;
    TensorId tensor;
  };
  std::vector<Return> returns;
  // Nodes that must run although no output needs them (side effects).
  struct ControlReturn {
    std::string name;
    int node;
  };
  std::vector<ControlReturn> control_returns;

  DType type_of(TensorId t) const { return nodes[t.node].output_types[t.port]; }
  // Index by name, or -1. Linear; build your own map for many look-ups.
  int Find(std::string_view name) const;
  // Users of each node: for node i the sorted, unique indices of nodes that consume any of its outputs (data only).
  std::vector<std::vector<int>> Consumers() const;
};

}  // namespace tfengine::tfgraph
