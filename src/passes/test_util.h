// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "backends/ref/ref.h"
#include "network/network.h"
#include "passes/constants.h"
#include "passes/dead_code.h"
#include "passes/rewriter.h"

// Builds networks for tests of passes, and checks what a pass makes of them: the nodes, the numbers (random inputs
// through the reference backend), and that a second run changes nothing.
namespace tfengine::passes {

class Builder {
 public:
  Builder() = default;
  explicit Builder(const std::function<void(Builder&)>& build) { build(*this); }

  Network net;
  Dim batch = net.dims().Symbol("batch");

  ValueId Input(const std::string& name, Shape shape, DType dtype = DType::kFloat32) {
    return net.AddInput(name, dtype, std::move(shape));
  }
  // Random in [lo, hi].
  ValueId Const(const std::string& name, std::vector<int64_t> shape, float lo = -1, float hi = 1) {
    Tensor t(DType::kFloat32, std::move(shape));
    std::uniform_real_distribution<float> distribution(lo, hi);
    for (int64_t i = 0; i < t.num_elements(); ++i) t.mutable_as<float>()[i] = distribution(random_);
    return net.AddConstant(name, std::make_shared<const Tensor>(std::move(t)));
  }
  ValueId Scalar(double value, DType dtype = DType::kFloat32, std::vector<int64_t> shape = {}) {
    return net.AddConstant("k", std::make_shared<const Tensor>(FilledTensor(dtype, std::move(shape), value)));
  }
  ValueId Do(Op op, std::vector<ValueId> inputs, Attrs attrs = {}) {
    Result<ValueId> id = net.Add(op, "", std::move(inputs), std::move(attrs));
    EXPECT_TRUE(id.ok()) << id.status().ToString();
    if (!id.ok()) std::abort();
    return *id;
  }
  ValueId Unary(const char* kind, ValueId x, double alpha = 0, double beta = 0) {
    Attrs attrs{{"kind", std::string(kind)}};
    if (alpha != 0) attrs.Set("alpha", Attr(alpha));
    if (beta != 0) attrs.Set("beta", Attr(beta));
    return Do(Op::kUnary, {x}, attrs);
  }
  ValueId Binary(const char* kind, ValueId a, ValueId b) {
    return Do(Op::kBinary, {a, b}, {{"kind", std::string(kind)}});
  }
  ValueId Add(ValueId a, ValueId b) { return Binary("add", a, b); }
  ValueId Sub(ValueId a, ValueId b) { return Binary("sub", a, b); }
  ValueId Mul(ValueId a, ValueId b) { return Binary("mul", a, b); }
  ValueId Div(ValueId a, ValueId b) { return Binary("div", a, b); }
  ValueId Scale(ValueId a, double factor) { return Mul(a, Scalar(factor)); }
  ValueId Reshape(ValueId x, Shape shape) { return Do(Op::kReshape, {x}, {{"shape", std::move(shape)}}); }
  ValueId Transpose(ValueId x, std::vector<int64_t> perm) {
    return Do(Op::kTranspose, {x}, {{"perm", std::move(perm)}});
  }
  ValueId Broadcast(ValueId x, Shape shape) { return Do(Op::kBroadcast, {x}, {{"shape", std::move(shape)}}); }
  ValueId Cast(ValueId x, DType dtype) { return Do(Op::kCast, {x}, {{"dtype", static_cast<int64_t>(dtype)}}); }
  ValueId Reduce(const char* kind, ValueId x, std::vector<int64_t> axes, bool keepdims = true) {
    return Do(Op::kReduce, {x}, {{"kind", std::string(kind)}, {"axes", std::move(axes)}, {"keepdims", keepdims}});
  }
  ValueId MatMul(ValueId a, ValueId b, bool transpose_a = false, bool transpose_b = false) {
    return Do(Op::kMatMul, {a, b}, {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}});
  }
  ValueId Conv(ValueId x, ValueId filter, int64_t stride = 1, std::vector<int64_t> pads = {0, 0, 0, 0},
               int64_t groups = 1) {
    return Do(Op::kConv2d, {x, filter},
              {{"strides", std::vector<int64_t>{stride, stride}}, {"pads", std::move(pads)}, {"groups", groups}});
  }
  void Return(ValueId id) { net.MarkOutput(id); }

 private:
  std::mt19937 random_{7};
};

// One node per word: op, or kind for elementwise ops, with what is fused: "conv2d+bias+residual+relu".
inline std::string Summary(const Network& network) {
  std::string text;
  for (const Node& node : network.nodes()) {
    if (!text.empty()) text += " ";
    bool elementwise = node.op == Op::kUnary || node.op == Op::kBinary;
    text += elementwise ? node.attrs.Str("kind") : OpName(node.op);
    bool linear = node.op == Op::kConv2d || node.op == Op::kConv2dTranspose || node.op == Op::kMatMul;
    if (linear && InputOr(node, 2) != kNoValue) text += "+bias";
    if ((linear || node.op == Op::kLayerNorm) && InputOr(node, 3) != kNoValue) text += "+residual";
    if (HasActivation(node)) text += "+" + node.attrs.Str("act");
  }
  return text;
}

// Random tensors for the inputs of the network, every symbol bound to `symbol`.
inline std::vector<Tensor> RandomInputs(const Network& network, int64_t symbol, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int64_t> symbols(network.dims().num_symbols(), symbol);
  std::vector<Tensor> inputs;
  for (ValueId id : network.inputs()) {
    std::vector<int64_t> shape;
    for (const Dim& d : network.value(id).shape) shape.push_back(*network.dims().Eval(d, symbols));
    Tensor t(network.value(id).dtype, shape);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      switch (t.dtype()) {
        case DType::kFloat32: t.mutable_as<float>()[i] = normal(random); break;
        case DType::kInt32: t.mutable_as<int32_t>()[i] = static_cast<int32_t>(random() % 4); break;
        case DType::kBool: t.mutable_as<uint8_t>()[i] = random() % 2; break;
        default: ADD_FAILURE() << "no random values for " << DTypeName(t.dtype());
      }
    }
    inputs.push_back(std::move(t));
  }
  return inputs;
}

// Largest difference against the largest magnitude.
inline void ExpectSameNumbers(const Network& expected, const Network& actual, double tolerance = 2e-5) {
  for (int64_t symbol : {1, 3}) {
    std::vector<Tensor> inputs = RandomInputs(expected, symbol, 11);
    Result<std::vector<Tensor>> a = ref::Execute(expected, inputs), b = ref::Execute(actual, inputs);
    ASSERT_TRUE(a.ok()) << a.status().ToString();
    ASSERT_TRUE(b.ok()) << b.status().ToString() << "\n" << PrintNetwork(actual);
    ASSERT_EQ(a->size(), b->size());
    for (size_t i = 0; i < a->size(); ++i) {
      ASSERT_EQ((*a)[i].dtype(), (*b)[i].dtype());
      ASSERT_EQ((*a)[i].shape(), (*b)[i].shape());
      double scale = 1e-3, difference = 0;  // values that cancel are noise
      for (int64_t j = 0; j < (*a)[i].num_elements(); ++j) {
        double x = ElementAt((*a)[i], j), y = ElementAt((*b)[i], j);
        scale = std::max(scale, std::abs(x));
        difference = std::max(difference, x == y ? 0 : std::isfinite(x - y) ? std::abs(x - y) : INFINITY);
      }
      EXPECT_LE(difference, tolerance * scale) << "output " << i << " of\n" << PrintNetwork(actual);
    }
  }
}

using PassFunction = Result<bool> (*)(Network&);

// Runs `pass` on what `build` makes; the result must have that summary and the same numbers, and stay as it is when
// the pass runs again. Returns it.
inline Network ExpectRewrite(PassFunction pass, const std::function<void(Builder&)>& build, const std::string& summary,
                             double tolerance = 2e-5) {
  Builder builder(build);
  EXPECT_TRUE(EliminateDeadCode(builder.net).ok());
  Network before = builder.net, after = builder.net;
  Result<bool> changed = pass(after);
  EXPECT_TRUE(changed.ok()) << changed.status().ToString();
  if (!changed.ok()) return after;
  EXPECT_EQ(Summary(after), summary) << PrintNetwork(after);
  EXPECT_EQ(*changed, PrintNetwork(before) != PrintNetwork(after));
  Status valid = Verify(after);
  EXPECT_TRUE(valid.ok()) << valid.ToString() << "\n" << PrintNetwork(after);
  ExpectSameNumbers(before, after, tolerance);
  std::string text = PrintNetwork(after);
  Result<bool> again = pass(after);
  EXPECT_TRUE(again.ok() && !*again);
  EXPECT_EQ(PrintNetwork(after), text);
  return after;
}

// The pass must leave the network alone.
inline void ExpectUntouched(PassFunction pass, const std::function<void(Builder&)>& build) {
  Builder builder(build);
  ASSERT_TRUE(EliminateDeadCode(builder.net).ok());
  std::string text = PrintNetwork(builder.net);
  Result<bool> changed = pass(builder.net);
  ASSERT_TRUE(changed.ok()) << changed.status().ToString();
  EXPECT_FALSE(*changed);
  EXPECT_EQ(PrintNetwork(builder.net), text);
}

}  // namespace tfengine::passes
