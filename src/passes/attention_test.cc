// SPDX-License-Identifier: Apache-2.0
#include "passes/attention.h"

#include "base/status_macros.h"
#include "passes/simplify_shapes.h"
#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

// As in the pipeline: the transposes that recognition adds cancel.
Result<bool> Recognize(Network& network) {
  TFE_ASSIGN_OR_RETURN(bool recognized, RecognizeAttention(network));
  TFE_ASSIGN_OR_RETURN(bool simplified, SimplifyShapes(network));
  return recognized || simplified;
}

const Shape Heads(Builder& b, int64_t length) { return {b.batch, length, 2, 4}; }

ValueId Softmax(Builder& b, ValueId x) { return b.Do(Op::kSoftmax, {x}); }

struct Qkv {
  ValueId q, k, v;
};
// [B,H,S,D]
Qkv HeadsFirst(Builder& b) {
  return {b.Transpose(b.Input("q", Heads(b, 3)), {0, 2, 1, 3}), b.Transpose(b.Input("k", Heads(b, 5)), {0, 2, 1, 3}),
          b.Transpose(b.Input("v", Heads(b, 5)), {0, 2, 1, 3})};
}

TEST(Attention, PlainWithTheScaleBehindTheProduct) {
  Network net = ExpectRewrite(Recognize, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    ValueId p = Softmax(b, b.Scale(b.MatMul(q, k, false, true), 0.5));
    b.Return(b.Transpose(b.MatMul(p, v), {0, 2, 1, 3}));
  }, "attention");
  EXPECT_DOUBLE_EQ(net.nodes()[0].attrs.Float("scale"), 0.5);
}

TEST(Attention, ScaledQueriesAndKeysOnTheirSide) {
  Network net = ExpectRewrite(Recognize, [](Builder& b) {
    ValueId q = b.Transpose(b.Scale(b.Input("q", Heads(b, 3)), 0.25), {0, 2, 1, 3});
    ValueId k = b.Transpose(b.Input("k", Heads(b, 5)), {0, 2, 3, 1});
    ValueId v = b.Transpose(b.Input("v", Heads(b, 5)), {0, 2, 1, 3});
    ValueId p = Softmax(b, b.Div(b.MatMul(q, k), b.Scalar(2)));
    b.Return(b.Transpose(b.MatMul(p, v), {0, 2, 1, 3}));
  }, "attention");
  EXPECT_DOUBLE_EQ(net.nodes()[0].attrs.Float("scale"), 0.125);
}

TEST(Attention, SelectedScoresAsKerasWritesThem) {
  Network net = ExpectRewrite(Recognize, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    ValueId mask = b.Input("mask", {b.batch, 1, 1, 5}, DType::kBool);
    ValueId scores = b.Scale(b.MatMul(q, k, false, true), 0.5);
    ValueId p = Softmax(b, b.Do(Op::kSelect, {mask, scores, b.Scalar(-2.3726709583555947e+38)}));
    b.Return(b.Transpose(b.MatMul(p, v), {0, 2, 1, 3}));
  }, "attention");
  EXPECT_EQ(net.nodes()[0].inputs[3], net.inputs()[3]);  // [B,1,1,S], as it is
}

TEST(Attention, RowsWithoutAnyTrueStayUniform) {
  for (double low : {-1e9, -3e38}) {
    ExpectRewrite(Recognize, [&](Builder& b) {
      auto [q, k, v] = HeadsFirst(b);
      ValueId mask = b.Binary("logical_and", b.Input("mask", {b.batch, 1, 3, 5}, DType::kBool),
                              b.Input("rows", {b.batch, 1, 3, 1}, DType::kBool));
      ValueId scores = b.Scale(b.MatMul(q, k, false, true), 40);
      ValueId p = Softmax(b, b.Do(Op::kSelect, {mask, scores, b.Scalar(low)}));
      b.Return(b.Transpose(b.MatMul(p, v), {0, 2, 1, 3}));
    }, "logical_and attention");
  }
}

TEST(Attention, RowsWithoutAnyTrueBecomeZeroInTheOtherKerasForm) {
  ExpectRewrite(Recognize, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    // Half of the rows are false throughout.
    ValueId mask = b.Binary("logical_and", b.Input("mask", {b.batch, 1, 3, 5}, DType::kBool),
                            b.Input("rows", {b.batch, 1, 3, 1}, DType::kBool));
    ValueId scores = b.Scale(b.MatMul(q, k, false, true), 0.5);
    ValueId p = Softmax(b, b.Do(Op::kSelect, {mask, scores, b.Scalar(-1e9)}));
    p = b.Do(Op::kSelect, {mask, p, b.Scalar(0)});
    b.Return(b.Transpose(b.MatMul(p, v), {0, 2, 1, 3}));
  }, "logical_and attention reduce reshape select");
}

TEST(Attention, AddedAndSubtractedMasks) {
  for (const char* kind : {"add", "sub"}) {
    bool add = kind == std::string("add");
    ExpectRewrite(Recognize, [&](Builder& b) {
      auto [q, k, v] = HeadsFirst(b);
      ValueId mask = b.Scale(b.Cast(b.Input("mask", {b.batch, 1, 1, 5}, DType::kBool), DType::kFloat32), add ? -5 : 5);
      ValueId p = Softmax(b, b.Binary(kind, b.Scale(b.MatMul(q, k, false, true), 0.5), mask));
      b.Return(b.Transpose(b.MatMul(p, v), {0, 2, 1, 3}));
    }, add ? "cast mul attention" : "cast mul neg attention");
  }
  // A bias of full size in front of the scale.
  ExpectRewrite(Recognize, [&](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    ValueId bias = b.Input("bias", {2, 3, 5});
    ValueId p = Softmax(b, b.Scale(b.Add(bias, b.MatMul(q, k, false, true)), 0.5));
    b.Return(b.Transpose(b.MatMul(p, v), {0, 2, 1, 3}));
  }, "reshape mul attention");
}

TEST(Attention, OneHeadOfRankThree) {
  ExpectRewrite(Recognize, [](Builder& b) {
    ValueId q = b.Input("q", {b.batch, 3, 4}), k = b.Input("k", {b.batch, 5, 4}), v = b.Input("v", {b.batch, 5, 6});
    ValueId mask = b.Input("mask", {b.batch, 1, 5}, DType::kBool);
    ValueId scores = b.MatMul(q, k, false, true);
    ValueId p = Softmax(b, b.Do(Op::kSelect, {mask, scores, b.Scalar(-1e9)}));
    b.Return(b.MatMul(p, v));
  }, "reshape reshape reshape reshape attention reshape");
}

TEST(Attention, ValuesOnTheLeft) {
  ExpectRewrite(Recognize, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    ValueId p = Softmax(b, b.MatMul(q, k, false, true));
    ValueId y = b.MatMul(v, p, true, true);  // [B,H,D,Sq]
    b.Return(b.Transpose(y, {0, 3, 1, 2}));
  }, "attention");
}

TEST(Attention, LeavesAlone) {
  // The probabilities are a result, too.
  ExpectUntouched(RecognizeAttention, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    ValueId p = Softmax(b, b.MatMul(q, k, false, true));
    b.Return(b.MatMul(p, v));
    b.Return(p);
  });
  // A select value that scores may reach.
  ExpectUntouched(RecognizeAttention, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    ValueId mask = b.Input("mask", {b.batch, 1, 1, 5}, DType::kBool);
    ValueId p = Softmax(b, b.Do(Op::kSelect, {mask, b.MatMul(q, k, false, true), b.Scalar(-1)}));
    b.Return(b.MatMul(p, v));
  });
  // The second mask is another one.
  ExpectUntouched(RecognizeAttention, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    ValueId m1 = b.Input("m1", {b.batch, 1, 1, 5}, DType::kBool), m2 = b.Input("m2", {b.batch, 1, 1, 5}, DType::kBool);
    ValueId p = Softmax(b, b.Do(Op::kSelect, {m1, b.MatMul(q, k, false, true), b.Scalar(-1e9)}));
    b.Return(b.MatMul(b.Do(Op::kSelect, {m2, p, b.Scalar(0)}), v));
  });
  // One key for all heads.
  ExpectUntouched(RecognizeAttention, [](Builder& b) {
    ValueId q = b.Input("q", {b.batch, 2, 3, 4}), k = b.Input("k", {b.batch, 1, 5, 4}),
            v = b.Input("v", {b.batch, 2, 5, 4});
    b.Return(b.MatMul(Softmax(b, b.MatMul(q, k, false, true)), v));
  });
  // No softmax between.
  ExpectUntouched(RecognizeAttention, [](Builder& b) {
    auto [q, k, v] = HeadsFirst(b);
    b.Return(b.MatMul(b.Unary("relu", b.MatMul(q, k, false, true)), v));
  });
}

}  // namespace
}  // namespace tfengine::passes
