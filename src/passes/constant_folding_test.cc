// SPDX-License-Identifier: Apache-2.0
#include "passes/constant_folding.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

TEST(ConstantFolding, ChainsOfConstants) {
  Network net = ExpectRewrite(FoldConstants, [](Builder& b) {
    ValueId inverse = b.Unary("rsqrt", b.Add(b.Reshape(b.Const("variance", {4}, 1, 2), {1, 4}), b.Scalar(1e-3)));
    ValueId w = b.Transpose(b.Const("w", {5, 3, 4}), {1, 0, 2});
    b.Return(b.Mul(b.Input("x", {b.batch, 3, 5, 4}), b.Mul(inverse, w)));
  }, "mul", 1e-6);
  EXPECT_EQ(NetworkConstants(net).size(), 1u);
}

ValueId FakeQuant(Builder& b, ValueId x) {
  return b.Do(Op::kFakeQuant, {x, b.Scalar(0.5), b.Scalar(-128), b.Scalar(127)}, {{"rounding", std::string("even")}});
}

TEST(ConstantFolding, LeavesFakeQuantForTheLast) {
  auto build = [](Builder& b) {
    b.Return(b.Mul(FakeQuant(b, b.Input("x", {b.batch, 4})), FakeQuant(b, b.Const("w", {4}, 1, 2))));
  };
  ExpectUntouched(FoldConstants, build);
  ExpectRewrite(FoldFakeQuant, build, "fake_quant mul");
}

TEST(ConstantFolding, SizesThatAreKnown) {
  ExpectRewrite(
      FoldConstants,
      [](Builder& b) {
        b.Return(b.Do(Op::kDims, {},
                      {{"values", Shape{3, 4}}, {"dtype", static_cast<int64_t>(DType::kInt32)}, {"shape", Shape{2}}}));
        b.Return(b.Do(Op::kRange, {},
                      {{"start", int64_t{1}},
                       {"size", int64_t{4}},
                       {"delta", int64_t{2}},
                       {"dtype", static_cast<int64_t>(DType::kInt64)}}));
      },
      "");
  ExpectUntouched(FoldConstants, [](Builder& b) {
    b.Input("x", {b.batch});
    b.Return(
        b.Do(Op::kDims, {},
             {{"values", Shape{b.batch, 4}}, {"dtype", static_cast<int64_t>(DType::kInt32)}, {"shape", Shape{2}}}));
  });
}

TEST(ConstantFolding, LargeResultsAreComputedWhenTheyAreNeeded) {
  ExpectUntouched(FoldConstants, [](Builder& b) {
    b.Return(b.Broadcast(b.Const("row", {128}), {200, 128}));
    b.Return(b.Broadcast(b.Const("row", {128}), {b.batch, 128}));
  });
}

TEST(ConstantFolding, NodesThatFailStay) {
  ExpectUntouched(FoldConstants, [](Builder& b) {
    b.Return(b.Do(Op::kGather, {b.Const("table", {3, 4}), b.Scalar(7, DType::kInt32, {1})}, {{"axis", int64_t{0}}}));
  });
}

}  // namespace
}  // namespace tfengine::passes
