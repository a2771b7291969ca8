// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "network/dims.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

// The engine IR: a typed, shaped, layout-free data-flow graph without side effects.
namespace tfengine {

enum class Op {
#define TFE_OP(enumerator, name, min_inputs, max_inputs, outputs) enumerator,
#include "network/ops.inc"
#undef TFE_OP
};

const char* OpName(Op op);
bool ParseOp(std::string_view name, Op* op);

// Elementwise kinds as enumerators with the same spelling as in text ("exp" is UnaryKind::k_exp).
enum class UnaryKind {
#define TFE_UNARY(name) k_##name,
#include "network/kinds.inc"
};
enum class BinaryKind {
#define TFE_BINARY(name, predicate) k_##name,
#include "network/kinds.inc"
};
const char* KindName(UnaryKind kind);
const char* KindName(BinaryKind kind);
bool ParseKind(std::string_view name, UnaryKind* kind);
bool ParseKind(std::string_view name, BinaryKind* kind);
bool IsPredicate(BinaryKind kind);

using ValueId = int;
inline constexpr ValueId kNoValue = -1;

using Attr = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>, Shape>;

// The attributes of a node, by name. Getters return the default when the attribute is absent; reading an attribute as
// another type is a bug (TFE_CHECK; nodes of a Network have been checked). Integers read as floats or Dims and integer
// lists read as Shapes are converted. A Shape of constants is stored as an integer list, a single symbolic Dim as a
// Shape of one, so that equal attributes compare equal.
class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<const std::string, Attr>> items) {
    for (const auto& [key, value] : items) Set(key, value);
  }
  void Set(const std::string& key, Attr value);
  void SetDim(const std::string& key, Dim value);
  void Set(const std::string& key, DType value) { Set(key, Attr(static_cast<int64_t>(value))); }
  void Erase(const std::string& key) { items_.erase(key); }
  bool Has(const std::string& key) const { return items_.count(key) > 0; }
  int64_t Int(const std::string& key, int64_t fallback = 0) const;
  double Float(const std::string& key, double fallback = 0) const;
  bool Bool(const std::string& key, bool fallback = false) const;
  std::string Str(const std::string& key, const std::string& fallback = "") const;
  std::vector<int64_t> Ints(const std::string& key) const;
  Shape Dims(const std::string& key) const;
  Dim DimOf(const std::string& key) const;
  DType Type(const std::string& key = "dtype") const;  // stored as its number
  const std::map<std::string, Attr>& items() const { return items_; }
  bool operator==(const Attrs&) const = default;

 private:
  std::map<std::string, Attr> items_;
};

// How the codes of a quantized u8 or f8e4m3 tensor stand for real numbers: real = scale * (code - zero). scale 0: not
// quantized, the tensor holds what its dtype says (a plain u8 tensor holds integers). Tensors of f8e4m3 always are.
struct Quant {
  float scale = 0;
  int zero = 0;  // 0 of f8e4m3
  bool quantized() const { return scale > 0; }
  bool operator==(const Quant&) const = default;
};

// What a typed node writes: its attributes out, out_scale, out_zero, out_lo, out_hi (network/ops.inc).
struct OutType {
  DType dtype = DType::kInvalid;  // kInvalid: the node has no attribute `out`
  Quant quant;
  int lo = 0, hi = 255;
};

struct Value {
  std::string name;  // unique, any characters
  DType dtype = DType::kInvalid;
  Shape shape;
  int producer = -1;                       // node index; -1 for inputs and constants
  std::shared_ptr<const Tensor> constant;  // set for constants; their shape is constant too
  Quant quant;                             // results of typed nodes only
};

struct Node {
  Op op;
  std::string name;  // where it came from: the TensorFlow node's name
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attrs attrs;
};

// Two dims that were assumed to be equal while shapes were inferred (TensorFlow's broadcasting of unknown sizes).
// Checked when shapes are bound; a violation means that this network does not serve those shapes.
struct DimConstraint {
  Dim a, b;
  bool operator==(const DimConstraint&) const = default;
};

// Nodes are in topological order. Values that nothing uses may exist until Compact().
class Network {
 public:
  DimTable& dims() { return dims_; }
  const DimTable& dims() const { return dims_; }
  const std::vector<Value>& values() const { return values_; }
  const Value& value(ValueId id) const { return values_[id]; }
  Value& mutable_value(ValueId id) { return values_[id]; }
  const std::vector<Node>& nodes() const { return nodes_; }
  std::vector<Node>& mutable_nodes() { return nodes_; }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  std::vector<ValueId>& mutable_outputs() { return outputs_; }
  const std::vector<DimConstraint>& constraints() const { return constraints_; }

  // `name` is made unique by a suffix where needed (all Add functions).
  ValueId AddInput(const std::string& name, DType dtype, Shape shape);
  ValueId AddConstant(const std::string& name, std::shared_ptr<const Tensor> tensor);
  // Appends a node; infers dtypes and shapes of its outputs (network/infer.h) and returns the first output.
  // Further outputs have the ids that follow, and the names "<name>:1", ... Errors: kNetworkInvalid with the reason.
  Result<ValueId> Add(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs = {});
  void MarkOutput(ValueId value) { outputs_.push_back(value); }
  void AddConstraint(Dim a, Dim b);

  // Replaces every use of `from` (as node input and as network output) by `to`.
  void ReplaceUses(ValueId from, ValueId to);
  // Number of uses as node input plus as network output.
  std::vector<int> UseCounts() const;
  // Removes nodes and values that no output needs (inputs stay), sorts topologically, renumbers.
  void Compact();

  // Binds the symbols by matching `input_shapes` (one per input) against the inputs' shapes; checks every equation and
  // constraint. Symbols that occur in no input shape are 1. Error kShapeUnsupported or kInputMismatch names the input,
  // expected, got.
  Result<std::vector<int64_t>> BindSymbols(const std::vector<std::vector<int64_t>>& input_shapes) const;

 private:
  friend class NetworkParser;
  std::string UniqueName(const std::string& name);
  ValueId AddValue(Value value);

  DimTable dims_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_;
  std::vector<ValueId> outputs_;
  std::vector<DimConstraint> constraints_;
  std::unordered_map<std::string, int> names_;  // name -> next suffix to try
};

// "f32", "i64", "bool", "bf16" ...; kInvalid for an unknown name.
const char* ShortName(DType dtype);
DType DTypeFromShortName(std::string_view name);
// "f32[batch,224,224,3]"
std::string TypeToString(const DimTable& dims, DType dtype, const Shape& shape);
std::string ShapeToString(const DimTable& dims, const Shape& shape);

// The attributes of `node` with every Dim evaluated. Errors: kShapeUnsupported.
Result<Attrs> ConcreteAttrs(const Node& node, const DimTable& dims, const std::vector<int64_t>& symbol_values);
Result<std::vector<int64_t>> EvalShape(const DimTable& dims, const Shape& shape,
                                       const std::vector<int64_t>& symbol_values);

// The padding, both sides together, that TensorFlow's SAME adds to an axis: total/2 in front, the rest behind.
// `window` is the dilated size of the filter.
Dim SamePadding(DimTable& dims, Dim size, int64_t window, int64_t stride);

// network/infer.cc: dtypes and shapes of the outputs of `node`, whose inputs and attributes are set. Checks arity,
// dtypes, attributes and shapes (kNetworkInvalid: node, expected, got); may add constraints to the network.
struct TypeAndShape {
  DType dtype;
  Shape shape;
  Quant quant = {};
};
Result<std::vector<TypeAndShape>> InferNode(Network& network, const Node& node);

// The out attributes of a node.
OutType OutTypeOf(const Attrs& attrs);
void SetOutType(const OutType& type, Attrs* attrs);
void EraseOutType(Attrs* attrs);
// Ops whose results are elements of their data inputs, of the same type and quantization: reshape, slice, concat, max
// pooling ... `kind`: the attribute of that name.
bool MovesElements(Op op, const Attrs& attrs);
// Whether a value is what such an op made: it holds elements of other values, and their range.
bool IsMoved(const Network& network, const Value& value);
// Ops that may read reals of any representation and have `out` attributes.
bool CanBeTyped(Op op, const Attrs& attrs);
// The inputs of an op that moves elements that it moves: [first, last).
std::pair<int, int> MovedInputs(const Node& node);

// network/verify.cc: every rule that a pass must keep: unique names, topological order, arity, known attributes,
// inferred types equal to stored ones, constants' shapes, inputs and outputs exist.
Status Verify(const Network& network);

// network/text.cc: the text form. Constants are numbered @0, @1 ... and printed with type only; ParseNetwork takes
// their data in that order (an empty list is allowed if the text has no constants). Values that share a tensor share
// its number. Print and parse round-trip exactly; text that was not printed may omit the type of a result and the
// require lines, which are then inferred. Names of other characters than [A-Za-z0-9_./:>^-] are quoted: %"a b".
// Errors: kNetworkTextInvalid with the line.
//
//   network {
//     input %x: f32[batch,224,224,3]
//     const %w: f32[7,7,3,64] @0
//     %y: f32[batch,112,112,64] = conv2d(%x, %w, _, _) {strides=[2,2], pads=[2,3,2,3]} "conv1/Conv2D"
//     require batch == n
//     return %y
//   }
std::string PrintNetwork(const Network& network);
Result<Network> ParseNetwork(std::string_view text, const std::vector<std::shared_ptr<const Tensor>>& constants);
// The constants in the order of their numbers in the text.
std::vector<std::shared_ptr<const Tensor>> NetworkConstants(const Network& network);

}  // namespace tfengine
