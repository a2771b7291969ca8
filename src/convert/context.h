// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "network/network.h"
#include "partition/verdict.h"
#include "tfgraph/graph.h"

// What a converter sees: one TensorFlow node, what is known of its inputs, and the network it is lowered into.
namespace tfengine::convert {

// The elements of a small integer tensor, row-major: numbers, or expressions over the sizes of the inputs.
using Content = std::vector<Dim>;
inline constexpr int64_t kMaxContent = 64;

// What the walk knows of one TensorFlow tensor.
struct TensorInfo {
  std::string name;  // of the node that makes it
  DType dtype = DType::kInvalid;
  bool known_rank = false;
  Shape shape;
  ValueId value = kNoValue;                // in the network; made on demand from `constant`, `content` or as an input
  std::shared_ptr<const Tensor> constant;  // the value, where it is known now
  std::optional<Content> content;          // int32 and int64 of constant shape with at most kMaxContent elements
  std::optional<double> uniform;           // every element is this number
  bool is_constant = false;                // the value depends on constants only (it may not be known yet)
  bool is_input = false;                   // becomes a network input when its value is asked for
};

Verdict Reject(Reason reason, std::string detail);
// A network that does not take what a converter built: the reason behind InferNode's message.
Verdict Reject(const Status& status);

// Sets of element types.
enum TypeSet : unsigned {
  kFloat32Only = 1,
  kOtherFloats = 2,  // float16, bfloat16, float64
  kInts = 4,         // int32, int64
  kSmallInts = 8,    // int8, uint8, int16, uint16, uint32, uint64
  kBools = 16,
  kFloats = kFloat32Only | kOtherFloats,
  kNumbers = kFloats | kInts | kSmallInts,
  kAnyType = kNumbers | kBools,
};
bool Contains(unsigned set, DType dtype);

class Context {
 public:
  // `inputs` has one entry per data input of `node`; `outputs` one per output port, dtype filled in.
  // `used` tells which output ports the graph reads.
  Context(const tfgraph::Node& node, std::vector<TensorInfo*> inputs, std::vector<TensorInfo>* outputs,
          std::vector<bool> used, Network* network);

  const tfgraph::Node& node() const { return node_; }
  const std::string& op() const { return node_.op; }
  Network& network() { return network_; }
  DimTable& dims() { return network_.dims(); }

  int num_inputs() const { return static_cast<int>(inputs_.size()); }
  int num_outputs() const { return static_cast<int>(outputs_.size()); }
  const TensorInfo& input(int i) const { return *inputs_[i]; }
  DType dtype(int i = 0) const { return inputs_[i]->dtype; }
  const Shape& shape(int i = 0) const { return inputs_[i]->shape; }
  int rank(int i = 0) const { return static_cast<int>(inputs_[i]->shape.size()); }
  bool used(int port) const { return port < num_outputs() && used_[port]; }

  // Attributes, or the default that the OpDef gives. Lists default to empty.
  int64_t Int(const std::string& key, int64_t fallback) const;
  bool Bool(const std::string& key, bool fallback) const;
  float Float(const std::string& key, float fallback) const;
  std::string Str(const std::string& key, const std::string& fallback) const;
  DType Type(const std::string& key, DType fallback) const;
  std::vector<int64_t> Ints(const std::string& key) const;

  // The network value of input i; made from its constant or content if it has none yet.
  ValueId value(int i);
  // Elements of input i as integers or expressions; nullptr if they are not known.
  const Content* content(int i) const { return inputs_[i]->content ? &*inputs_[i]->content : nullptr; }
  // The same if all are numbers.
  std::optional<std::vector<int64_t>> ConstInts(int i) const;
  // The only element of a constant tensor of one element, as a double (exact for every type but large int64).
  std::optional<double> ConstScalar(int i) const;

  // Appends a network node named after the TensorFlow node.
  Result<ValueId> Emit(Op op, std::vector<ValueId> inputs, Attrs attrs = {});
  // A scalar constant of that type.
  ValueId Scalar(DType dtype, double value);
  const Shape& ShapeOf(ValueId v) const { return network_.value(v).shape; }
  DType TypeOf(ValueId v) const { return network_.value(v).dtype; }
  Result<ValueId> Reshape(ValueId v, Shape shape);
  Result<ValueId> Transpose(ValueId v, std::vector<int64_t> perm);  // emits nothing for the identity
  Result<ValueId> Cast(ValueId v, DType dtype);                     // emits nothing if v has that type

  // Sets output `port`; each returns the verdict "converted", so that a converter can end with it. A value of another
  // type than the graph declares is rejected, as is a port that the graph does not have.
  Verdict Set(int port, ValueId v);
  Verdict SetContent(int port, Shape shape, Content content);
  Verdict SetConstant(int port, std::shared_ptr<const Tensor> tensor);
  Verdict Alias(int port, int input);  // the output is that input
  // Says more of an output that has been set.
  void SetUniform(int port, double value) { outputs_[port].uniform = value; }
  bool all_aliases() const { return aliases_ > 0 && aliases_ == num_outputs(); }

 private:
  // Nothing wrong with giving output `port` this type.
  Verdict CheckOutput(int port, DType dtype) const;

  const tfgraph::Node& node_;
  std::vector<TensorInfo*> inputs_;
  std::vector<TensorInfo>& outputs_;
  std::vector<bool> used_;
  Network& network_;
  int aliases_ = 0;
};

// A constant of any fixed-size type from its elements as integers.
Tensor MakeIntTensor(DType dtype, std::vector<int64_t> shape, const std::vector<int64_t>& values);
Tensor MakeScalar(DType dtype, double value);
// Facts that a constant implies: shape, content, uniform.
TensorInfo ConstantInfo(std::shared_ptr<const Tensor> tensor);
// The network value of a tensor: a constant, a network input, or a `dims` node for symbolic content.
ValueId Materialize(Network& network, TensorInfo& info);
// A single Dim as an attribute.
inline Attr DimAttr(Dim d) { return d.is_const() ? Attr(d.value) : Attr(Shape{d}); }

std::string ShapeText(const DimTable& dims, const Shape& shape);  // "[batch,224,3]"
bool IsStatic(const Shape& shape);
std::optional<int64_t> StaticElements(const Shape& shape);

using Converter = Verdict (*)(Context&);

}  // namespace tfengine::convert

// Evaluates a Result<T>; its error becomes the converter's verdict.
#define TFE_LOWER(lhs, expr) TFE_LOWER_IMPL(TFE_CONCAT(tfe_lowered_, __LINE__), lhs, expr)
#define TFE_LOWER_IMPL(tmp, lhs, expr)                                  \
  auto tmp = (expr);                                                    \
  if (!tmp.ok()) return ::tfengine::convert::Reject(tmp.status());      \
  lhs = std::move(tmp).value()

// Returns from the converter with that reason unless `cond` holds.
#define TFE_REQUIRE(cond, reason, ...)                                              \
  do {                                                                              \
    if (!(cond)) return ::tfengine::convert::Reject(reason, fmt::format(__VA_ARGS__)); \
  } while (0)
