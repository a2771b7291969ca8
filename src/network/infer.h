// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "network/network.h"

// Inside of shape inference: what the functions of infer_*.cc share. One function per op; the table is in infer.cc.
namespace tfengine::infer {

using Types = std::vector<TypeAndShape>;

bool IsFloat(DType dtype);     // f16 bf16 f32 f64
bool IsInteger(DType dtype);   // i8 ... u64
bool IsNumeric(DType dtype);   // either, or f8e4m3, whose tensors are always quantized
bool IsElement(DType dtype);   // numeric or bool: everything a network may hold
bool IsIndex(DType dtype);     // i32 i64

// No constant size is negative, and their product is below 2^40.
bool IsSane(const Shape& shape);

// One node under inference. Arity and the kinds of its attributes have been checked.
class Context {
 public:
  Context(Network& network, const Node& node) : network_(network), node_(node) {}

  const Attrs& attrs() const { return node_.attrs; }
  DimTable& dims() { return network_.dims(); }
  int num_inputs() const { return static_cast<int>(node_.inputs.size()); }
  bool has(int i) const { return i < num_inputs() && node_.inputs[i] != kNoValue; }
  const Shape& shape(int i) const { return network_.value(node_.inputs[i]).shape; }
  // Of typed nodes (set_typed) every real input is f32.
  DType dtype(int i) const {
    const Value& v = network_.value(node_.inputs[i]);
    return typed_ && (v.quant.quantized() || v.dtype == DType::kBfloat16 || v.dtype == DType::kFloat16) ? DType::kFloat32
                                                                                                        : v.dtype;
  }
  const Quant& quant(int i) const { return network_.value(node_.inputs[i]).quant; }
  const Node& node() const { return node_; }
  void set_typed() { typed_ = true; }
  int rank(int i) const { return static_cast<int>(shape(i).size()); }
  std::string text(Dim d) const { return network_.dims().ToString(d); }
  std::string text(const Shape& s) const { return ShapeToString(network_.dims(), s); }

  // node "conv1" (conv2d): <message>
  template <typename... Args>
  Status Fail(fmt::format_string<Args...> format, Args&&... args) const {
    return FailWith(fmt::format(format, std::forward<Args>(args)...));
  }

  // The two sizes must be equal: proven, or from now on a constraint of the network. *result (optional): the better
  // known of the two.
  Status Equal(Dim a, Dim b, const char* what, Dim* result = nullptr);
  // The size must be a multiple of `divisor` > 0, likewise.
  Status Multiple(Dim d, int64_t divisor, const char* what, Dim* quotient);
  Status EqualShapes(const Shape& a, const Shape& b, const char* what);
  // NumPy broadcasting; sizes that are unknown are assumed to be equal.
  Status Broadcast(const Shape& a, const Shape& b, const char* what, Shape* result);
  Status Rank(int input, int rank) const;
  Status Type(int input, bool (*accepts)(DType), const char* expected) const;
  // Present inputs [first, last] have the dtype of input 0.
  Status SameType(int first, int last) const;
  // Optional input `i` has this shape and the dtype of input 0.
  Status Optional(int i, const Shape& expected);
  // Attribute `key` lies in [lo, hi].
  Status Range(const char* key, int64_t lo, int64_t hi) const;
  // Attribute `key` is an integer list or shape of n items that are, where constant, >= least.
  Status List(const char* key, size_t n, int64_t least);
  // The attributes act, alpha and beta of fused activations.
  Status Activation() const;

 private:
  Status FailWith(std::string message) const;
  Network& network_;
  const Node& node_;
  bool typed_ = false;
};

// Around the inference of any op: the rules of typed nodes and of quantized values.
Status BeginTyped(Context& c);
Status EndTyped(Context& c, Types* types);

Result<Types> Conv2d(Context& c);
Result<Types> Conv2dTranspose(Context& c);
Result<Types> Pool(Context& c);
Result<Types> Resize(Context& c);
Result<Types> DepthToSpace(Context& c);
Result<Types> SpaceToDepth(Context& c);
Result<Types> MatMul(Context& c);
Result<Types> Attention(Context& c);
Result<Types> BatchNorm(Context& c);
Result<Types> LayerNorm(Context& c);
Result<Types> Softmax(Context& c);
Result<Types> Reduce(Context& c);
Result<Types> ArgReduce(Context& c);
Result<Types> TopK(Context& c);
Result<Types> Cumulative(Context& c);
Result<Types> Unary(Context& c);
Result<Types> Binary(Context& c);
Result<Types> Select(Context& c);
Result<Types> Convert(Context& c);
Result<Types> FakeQuant(Context& c);
Result<Types> Cast(Context& c);
Result<Types> Reshape(Context& c);
Result<Types> Transpose(Context& c);
Result<Types> BroadcastTo(Context& c);
Result<Types> Concat(Context& c);
Result<Types> Slice(Context& c);
Result<Types> Pad(Context& c);
Result<Types> Tile(Context& c);
Result<Types> Gather(Context& c);
Result<Types> GatherNd(Context& c);
Result<Types> OneHot(Context& c);
Result<Types> DimsOp(Context& c);
Result<Types> RangeOp(Context& c);

}  // namespace tfengine::infer
