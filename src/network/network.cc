// SPDX-License-Identifier: Apache-2.0
#include "network/network.h"

#include <algorithm>
#include <queue>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

constexpr const char* kOpNames[] = {
#define TFE_OP(enumerator, name, min_inputs, max_inputs, outputs) name,
#include "network/ops.inc"
#undef TFE_OP
};
constexpr const char* kUnaryNames[] = {
#define TFE_UNARY(name) #name,
#include "network/kinds.inc"
};
constexpr const char* kBinaryNames[] = {
#define TFE_BINARY(name, predicate) #name,
#include "network/kinds.inc"
};
constexpr bool kPredicates[] = {
#define TFE_BINARY(name, predicate) predicate,
#include "network/kinds.inc"
};

struct ShortNameRow {
  DType dtype;
  const char* name;
};
constexpr ShortNameRow kShortNames[] = {
    {DType::kFloat32, "f32"},  {DType::kFloat64, "f64"},  {DType::kFloat16, "f16"}, {DType::kBfloat16, "bf16"},
    {DType::kInt8, "i8"},      {DType::kInt16, "i16"},    {DType::kInt32, "i32"},   {DType::kInt64, "i64"},
    {DType::kUint8, "u8"},     {DType::kUint16, "u16"},   {DType::kUint32, "u32"},  {DType::kUint64, "u64"},
    {DType::kBool, "bool"},    {DType::kFloat8E4m3, "f8e4m3"},
};

template <typename Kind, size_t n>
bool FindName(const char* const (&names)[n], std::string_view name, Kind* kind) {
  for (size_t i = 0; i < n; ++i) {
    if (name != names[i]) continue;
    *kind = static_cast<Kind>(i);
    return true;
  }
  return false;
}

}  // namespace

const char* OpName(Op op) { return kOpNames[static_cast<int>(op)]; }
bool ParseOp(std::string_view name, Op* op) { return FindName(kOpNames, name, op); }
const char* KindName(UnaryKind kind) { return kUnaryNames[static_cast<int>(kind)]; }
const char* KindName(BinaryKind kind) { return kBinaryNames[static_cast<int>(kind)]; }
bool ParseKind(std::string_view name, UnaryKind* kind) { return FindName(kUnaryNames, name, kind); }
bool ParseKind(std::string_view name, BinaryKind* kind) { return FindName(kBinaryNames, name, kind); }
bool IsPredicate(BinaryKind kind) { return kPredicates[static_cast<int>(kind)]; }

const char* ShortName(DType dtype) {
  for (const auto& row : kShortNames)
    if (row.dtype == dtype) return row.name;
  return DTypeName(dtype);
}

DType DTypeFromShortName(std::string_view name) {
  for (const auto& row : kShortNames)
    if (row.name == name) return row.dtype;
  return DType::kInvalid;
}

std::string ShapeToString(const DimTable& dims, const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + dims.ToString(shape[i]);
  return text + "]";
}

std::string TypeToString(const DimTable& dims, DType dtype, const Shape& shape) {
  return ShortName(dtype) + ShapeToString(dims, shape);
}

std::string Network::UniqueName(const std::string& name) {
  auto [it, inserted] = names_.emplace(name, 1);
  if (inserted) return name;
  for (;;) {
    std::string candidate = name + "_" + std::to_string(it->second++);
    if (names_.count(candidate)) continue;
    names_.emplace(candidate, 1);
    return candidate;
  }
}

ValueId Network::AddValue(Value value) {
  value.name = UniqueName(value.name);
  values_.push_back(std::move(value));
  return static_cast<ValueId>(values_.size()) - 1;
}

ValueId Network::AddInput(const std::string& name, DType dtype, Shape shape) {
  inputs_.push_back(AddValue({name.empty() ? "input" : name, dtype, std::move(shape)}));
  return inputs_.back();
}

ValueId Network::AddConstant(const std::string& name, std::shared_ptr<const Tensor> tensor) {
  Value value{name.empty() ? "const" : name, tensor->dtype(), Shape(tensor->shape().begin(), tensor->shape().end())};
  value.constant = std::move(tensor);
  return AddValue(std::move(value));
}

Result<ValueId> Network::Add(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs) {
  Node node{op, name, std::move(inputs), {}, std::move(attrs)};
  TFE_ASSIGN_OR_RETURN(auto types, InferNode(*this, node));
  const std::string base = name.empty() ? OpName(op) : name;
  for (size_t i = 0; i < types.size(); ++i)
    node.outputs.push_back(AddValue({i == 0 ? base : base + ":" + std::to_string(i), types[i].dtype,
                                     std::move(types[i].shape), static_cast<int>(nodes_.size()), nullptr, types[i].quant}));
  const ValueId first = node.outputs[0];
  nodes_.push_back(std::move(node));
  return first;
}

void Network::AddConstraint(Dim a, Dim b) {
  if (a == b) return;
  for (const DimConstraint& c : constraints_)
    if ((c.a == a && c.b == b) || (c.a == b && c.b == a)) return;
  constraints_.push_back({a, b});
}

void Network::ReplaceUses(ValueId from, ValueId to) {
  for (Node& node : nodes_) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
  std::replace(outputs_.begin(), outputs_.end(), from, to);
}

std::vector<int> Network::UseCounts() const {
  std::vector<int> counts(values_.size(), 0);
  for (const Node& node : nodes_)
    for (ValueId v : node.inputs)
      if (v != kNoValue) ++counts[v];
  for (ValueId v : outputs_) ++counts[v];
  return counts;
}

void Network::Compact() {
  // Live nodes, found backwards from the outputs.
  std::vector<bool> live_node(nodes_.size()), live_value(values_.size());
  std::vector<ValueId> work = outputs_;
  while (!work.empty()) {
    const ValueId v = work.back();
    work.pop_back();
    if (live_value[v]) continue;
    live_value[v] = true;
    const int producer = values_[v].producer;
    if (producer < 0 || live_node[producer]) continue;
    live_node[producer] = true;
    for (ValueId input : nodes_[producer].inputs)
      if (input != kNoValue) work.push_back(input);
    for (ValueId output : nodes_[producer].outputs) live_value[output] = true;
  }
  for (ValueId v : inputs_) live_value[v] = true;

  // Topological order; among nodes that are ready, the earliest first.
  std::vector<int> missing(nodes_.size(), 0);
  std::vector<std::vector<int>> users(nodes_.size());
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  size_t live_count = 0;
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    if (!live_node[i]) continue;
    ++live_count;
    for (ValueId v : nodes_[i].inputs) {
      if (v == kNoValue || values_[v].producer < 0) continue;
      users[values_[v].producer].push_back(i);
      ++missing[i];
    }
    if (missing[i] == 0) ready.push(i);
  }
  std::vector<int> order;
  while (!ready.empty()) {
    order.push_back(ready.top());
    ready.pop();
    for (int user : users[order.back()])
      if (--missing[user] == 0) ready.push(user);
  }
  TFE_CHECK(order.size() == live_count);  // else a pass made a cycle

  // Renumber: inputs, constants, then results in the order of their nodes.
  std::vector<ValueId> renumber(values_.size(), kNoValue);
  std::vector<Value> values;
  auto keep = [&](ValueId v) {
    renumber[v] = static_cast<ValueId>(values.size());
    values.push_back(std::move(values_[v]));
  };
  for (ValueId v : inputs_) keep(v);
  for (ValueId v = 0; v < static_cast<ValueId>(values_.size()); ++v)
    if (live_value[v] && renumber[v] == kNoValue && values_[v].producer < 0) keep(v);
  std::vector<Node> nodes;
  for (int index : order) {
    Node& node = nodes_[index];
    for (ValueId& v : node.inputs)
      if (v != kNoValue) v = renumber[v];
    for (ValueId& v : node.outputs) {
      keep(v);
      v = renumber[v];
      values[v].producer = static_cast<int>(nodes.size());
    }
    nodes.push_back(std::move(node));
  }
  for (ValueId& v : inputs_) v = renumber[v];
  for (ValueId& v : outputs_) v = renumber[v];
  values_ = std::move(values);
  nodes_ = std::move(nodes);
  names_.clear();
  for (const Value& value : values_) names_.emplace(value.name, 1);
}

}  // namespace tfengine
