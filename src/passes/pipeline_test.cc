// SPDX-License-Identifier: Apache-2.0
#include "passes/pipeline.h"

#include <gmock/gmock.h>

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

Result<bool> RunDefault(Network& network) {
  std::string before = PrintNetwork(network);
  Status failed;
  Status status = RunPasses(network, {.trace = [&](const PassTrace& t) {
                              if (!t.status.ok()) failed = t.status.WithContext(t.name);
                            }});
  if (!status.ok() || !failed.ok()) return status.ok() ? failed : status;
  return PrintNetwork(network) != before;
}

// Keras 3's batch norm: the statistics are reshaped, gamma * rsqrt(variance + eps) stands at the side.
ValueId BatchNorm(Builder& b, ValueId x, int64_t n) {
  auto channels = [&](const char* name, float lo, float hi) {
    return b.Reshape(b.Const(name, {n}, lo, hi), {1, 1, 1, n});
  };
  ValueId scale =
      b.Mul(b.Unary("rsqrt", b.Add(channels("variance", 0.5, 2), b.Scalar(1e-3))), channels("gamma", 0.5, 2));
  ValueId shift = b.Sub(channels("beta", -1, 1), b.Mul(channels("mean", -1, 1), scale));
  return b.Add(b.Mul(x, scale), shift);
}

TEST(Pipeline, AResidualBlockBecomesThreeNodes) {
  ExpectRewrite(
      RunDefault,
      [](Builder& b) {
        ValueId x =
            b.Do(Op::kPad, {b.Input("x", {b.batch, 9, 9, 4})}, {{"lo", Shape{0, 1, 1, 0}}, {"hi", Shape{0, 1, 1, 0}}});
        ValueId y = b.Add(b.Conv(x, b.Const("w1", {3, 3, 4, 8}), 2), b.Const("b1", {8}));
        y = b.Unary("relu", BatchNorm(b, y, 8));
        ValueId z = BatchNorm(b, b.Conv(y, b.Const("w2", {3, 3, 8, 8}), 1, {1, 1, 1, 1}), 8);
        z = b.Unary("relu", b.Add(z, y));
        z = b.Do(Op::kPad, {z}, {{"lo", Shape{0, 1, 1, 0}}, {"hi", Shape{0, 1, 1, 0}}});
        b.Return(b.Do(Op::kPool, {z},
                      {{"kind", std::string("max")},
                       {"ksize", std::vector<int64_t>{3, 3}},
                       {"strides", std::vector<int64_t>{2, 2}}}));
      },
      "conv2d+bias+relu conv2d+bias+residual+relu pool", 1e-4);
}

ValueId LayerNorm(Builder& b, ValueId x, int64_t n) {
  ValueId mean = b.Reduce("mean", x, {2});
  ValueId variance = b.Reduce("mean", b.Binary("squared_difference", x, mean), {2});
  ValueId factor =
      b.Mul(b.Unary("rsqrt", b.Add(variance, b.Scalar(1e-6))), b.Reshape(b.Const("gamma", {n}), {1, 1, n}));
  ValueId shift = b.Add(b.Mul(b.Unary("neg", mean), factor), b.Reshape(b.Const("beta", {n}), {1, 1, n}));
  return b.Add(b.Mul(x, factor), shift);
}

TEST(Pipeline, AnEncoderLayerOfKeras3) {
  const int64_t s = 5, d = 8, heads = 2, depth = 4;
  ExpectRewrite(RunDefault, [&](Builder& b) {
    ValueId x = b.Input("x", {b.batch, s, d}), ids = b.Input("mask", {b.batch, s}, DType::kInt32);
    ValueId mask = b.Reshape(b.Reshape(b.Cast(ids, DType::kBool), {b.batch, 1, s}), {b.batch, 1, 1, s});
    auto project = [&](const char* name) {
      ValueId y = b.MatMul(x, b.Reshape(b.Const(name, {d, heads, depth}), {d, d}));
      return b.Add(b.Reshape(y, {b.batch, s, heads, depth}), b.Const(name, {heads, depth}));
    };
    ValueId q = b.Transpose(project("q"), {0, 2, 1, 3}), k = b.Transpose(project("k"), {0, 2, 1, 3});
    ValueId scores = b.Scale(b.MatMul(q, k, false, true), 0.5);
    ValueId ones = b.Broadcast(b.Scalar(1, DType::kBool), {b.batch, heads, s, s});
    ValueId selected =
        b.Do(Op::kSelect, {b.Binary("logical_and", ones, mask), scores, b.Scalar(-2.3726709583555947e+38)});
    ValueId v = b.Transpose(project("v"), {0, 2, 1, 3});
    ValueId a = b.Transpose(b.MatMul(b.Do(Op::kSoftmax, {selected}), v), {0, 2, 1, 3});
    a = b.MatMul(b.Reshape(a, {b.batch, s, d}), b.Reshape(b.Const("o", {heads, depth, d}), {d, d}));
    ValueId y = LayerNorm(b, b.Add(x, b.Add(a, b.Const("bo", {d}))), d);
    Dim rows = b.net.dims().Mul(b.batch, Dim(s));
    ValueId h = b.Reshape(b.MatMul(b.Reshape(y, {rows, d}), b.Const("w1", {d, 16})), {b.batch, s, 16});
    h = b.Add(h, b.Const("b1", {16}));
    h = b.Mul(b.Mul(b.Scalar(0.5), h), b.Unary("erfc", b.Scale(b.Unary("neg", h), 0.7071067690849304)));
    h = b.Reshape(b.MatMul(b.Reshape(h, {rows, 16}), b.Const("w2", {16, d})), {b.batch, s, d});
    b.Return(LayerNorm(b, b.Add(y, b.Add(h, b.Const("b2", {d}))), d));
  }, "cast reshape matmul+bias reshape matmul+bias reshape matmul+bias reshape attention reshape "
     "matmul+bias+residual layer_norm matmul+bias+gelu_erf matmul+bias+residual layer_norm", 1e-4);
}

TEST(Pipeline, LayerNormOfKeras2) {
  ExpectRewrite(RunDefault, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 5, 8});
    Dim rows = b.net.dims().Mul(b.batch, Dim(5));
    ValueId y = b.Reshape(b.Reshape(x, {1, rows, 8, 1}), {rows, 8});
    y = b.Reshape(b.Reshape(b.Do(Op::kLayerNorm, {y}, {{"epsilon", 1e-3}}), {1, rows, 8, 1}), {b.batch, 5, 8});
    b.Return(b.Add(b.Mul(y, b.Const("gamma", {8})), b.Const("beta", {8})));
  }, "layer_norm", 1e-4);
}

TEST(Pipeline, DisabledPassesDoNotRun) {
  auto build = [](Builder& b) {
    b.Return(b.Unary("relu", b.MatMul(b.Input("x", {b.batch, 4}), b.Const("w", {4, 4}))));
  };
  Builder builder(build);
  std::vector<std::string> seen;
  PassOptions options{.disabled = {"fusion"}, .trace = [&](const PassTrace& t) { seen.push_back(t.name); }};
  ASSERT_TRUE(RunPasses(builder.net, options).ok());
  EXPECT_EQ(Summary(builder.net), "matmul relu");
  EXPECT_THAT(seen, testing::Not(testing::Contains("fusion")));
  EXPECT_THAT(seen, testing::Not(testing::Contains("merge_projections")));
  EXPECT_THAT(seen, testing::Contains("cse"));
}

TEST(Pipeline, AnUnknownNameIsAnError) {
  Network network;
  Status status = RunPasses(network, {.disabled = {"fuse"}});
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), testing::HasSubstr("scale_folding"));
}

}  // namespace
}  // namespace tfengine::passes
