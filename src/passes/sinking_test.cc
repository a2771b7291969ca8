// SPDX-License-Identifier: Apache-2.0
#include "base/status_macros.h"
#include "passes/constant_folding.h"
#include "passes/reshape_sinking.h"
#include "passes/simplify_shapes.h"
#include "passes/test_util.h"
#include "passes/transpose_sinking.h"

namespace tfengine::passes {
namespace {

// As in the pipeline: what meets cancels, moved constants fold.
template <Result<bool> (*sink)(Network&)>
Result<bool> SinkAndClean(Network& network) {
  TFE_ASSIGN_OR_RETURN(bool sunk, sink(network));
  TFE_ASSIGN_OR_RETURN(bool simplified, SimplifyShapes(network));
  TFE_ASSIGN_OR_RETURN(bool folded, FoldConstants(network));
  return sunk || simplified || folded;
}
constexpr PassFunction kReshapes = SinkAndClean<SinkReshapes>, kTransposes = SinkAndClean<SinkTransposes>;

TEST(ReshapeSinking, DenseLayersThatFlatten) {
  ExpectRewrite(kReshapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 3, 4});
    Dim rows = b.net.dims().Mul(b.batch, Dim(3));
    ValueId y = b.MatMul(b.Reshape(x, {rows, 4}), b.Const("w", {4, 6}));
    y = b.Unary("relu", b.Add(b.Reshape(y, {b.batch, 3, 6}), b.Const("bias", {6})));
    ValueId z = b.MatMul(b.Reshape(y, {rows, 6}), b.Const("w2", {6, 4}));
    b.Return(b.Add(b.Reshape(z, {b.batch, 3, 4}), x));
  }, "matmul add relu matmul add");
}

TEST(ReshapeSinking, TheBiasOfAttentionHeads) {
  ExpectRewrite(kReshapes, [](Builder& b) {
    ValueId y = b.MatMul(b.Input("x", {b.batch, 3, 4}), b.Const("w", {4, 6}));
    b.Return(b.Add(b.Const("bias", {2, 3}), b.Reshape(y, {b.batch, 3, 2, 3})));
  }, "matmul add reshape");
}

TEST(ReshapeSinking, NormalisationsOfRows) {
  ExpectRewrite(kReshapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 3, 4});
    ValueId rows = b.Reshape(x, {b.net.dims().Mul(b.batch, Dim(3)), 4});
    ValueId y = b.Do(Op::kLayerNorm, {rows}, {{"epsilon", 1e-3}});
    b.Return(b.Mul(b.Reshape(b.Do(Op::kSoftmax, {y}), {b.batch, 3, 4}), x));
  }, "layer_norm softmax mul");
}

TEST(ReshapeSinking, LeavesAlone) {
  ExpectUntouched(SinkReshapes, [](Builder& b) {  // the last dim changes
    ValueId y = b.Reshape(b.Input("x", {b.batch, 3, 4}), {b.batch, 12});
    b.Return(b.MatMul(y, b.Const("w", {12, 4})));
    b.Return(b.Do(Op::kSoftmax, {y}));
  });
  ExpectUntouched(SinkReshapes, [](Builder& b) {  // the constant covers half a dim of x
    ValueId y = b.Reshape(b.Input("x", {b.batch, 3, 4}), {b.batch, 3, 2, 2});
    b.Return(b.Add(y, b.Const("c", {2})));
  });
  ExpectUntouched(SinkReshapes, [](Builder& b) {  // the sum broadcasts
    ValueId y = b.Reshape(b.Input("x", {4}), {1, 4});
    b.Return(b.Add(y, b.Const("c", {3, 4})));
  });
}

ValueId ConvNchw(Builder& b, ValueId x, int64_t c, int64_t k) {
  ValueId y = b.Conv(b.Transpose(x, {0, 2, 3, 1}), b.Const("w", {3, 3, c, k}), 1, {1, 1, 1, 1});
  return b.Transpose(y, {0, 3, 1, 2});
}

TEST(TransposeSinking, ChannelsFirstModelsEndWithNoneBetweenConvolutions) {
  ExpectRewrite(kTransposes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4, 6, 5});
    ValueId y = b.Unary("relu", b.Add(ConvNchw(b, x, 4, 4), b.Const("bias", {4, 1, 1})));
    ValueId z = b.Add(ConvNchw(b, y, 4, 4), y);
    z = b.Do(Op::kConcat, {z, y}, {{"axis", int64_t{1}}});
    z = b.Do(Op::kPad, {z}, {{"lo", Shape{0, 0, 1, 0}}, {"hi", Shape{0, 0, 0, 2}}});
    z = b.Do(Op::kSlice, {z}, {{"begin", Shape{0, 2, 0, 0}}, {"size", Shape{b.batch, 6, 7, 7}}});
    z = ConvNchw(b, z, 6, 4);
    b.Return(b.Reduce("mean", z, {2, 3}, false));
  }, "transpose conv2d add relu conv2d add concat pad slice conv2d reduce");
}

TEST(TransposeSinking, SqueezeAndExcite) {
  ExpectRewrite(kTransposes, [](Builder& b) {
    ValueId x = ConvNchw(b, b.Input("x", {b.batch, 4, 6, 5}), 4, 4);
    ValueId gate = b.Transpose(b.Reduce("mean", x, {2, 3}), {0, 2, 3, 1});
    gate = b.Transpose(b.Conv(gate, b.Const("g", {1, 1, 4, 4})), {0, 3, 1, 2});
    b.Return(ConvNchw(b, b.Mul(x, b.Reshape(b.Unary("sigmoid", gate), {b.batch, 4, 1, 1})), 4, 4));
  }, "transpose conv2d reduce conv2d sigmoid mul conv2d transpose");
}

TEST(TransposeSinking, ReductionsMapTheirAxes) {
  ExpectRewrite(kTransposes, [](Builder& b) {
    ValueId x = b.Transpose(b.Input("x", {b.batch, 6, 5, 4}), {0, 3, 1, 2});
    b.Return(b.Transpose(b.Reduce("max", x, {2}, false), {0, 2, 1}));
  }, "reduce");
  ExpectRewrite(kTransposes, [](Builder& b) {
    ValueId x = b.Transpose(b.Input("x", {b.batch, 6, 5, 4}), {0, 3, 1, 2});
    b.Return(b.Transpose(b.Reduce("sum", x, {1, 3}, true), {0, 2, 3, 1}));
  }, "reduce");
}

TEST(TransposeSinking, LeavesAlone) {
  ExpectUntouched(SinkTransposes, [](Builder& b) {  // nothing to meet
    b.Return(b.Unary("relu", b.Transpose(b.Input("x", {b.batch, 6, 5, 4}), {0, 3, 1, 2})));
  });
  ExpectUntouched(SinkTransposes, [](Builder& b) {  // the other operand is not transposed
    ValueId x = b.Transpose(b.Input("x", {b.batch, 6, 5, 4}), {0, 3, 1, 2});
    b.Return(b.Transpose(b.Add(x, b.Input("y", {b.batch, 4, 6, 5})), {0, 2, 3, 1}));
  });
  ExpectUntouched(SinkTransposes, [](Builder& b) {  // softmax over another axis
    ValueId x = b.Transpose(b.Input("x", {b.batch, 6, 5, 4}), {0, 3, 1, 2});
    b.Return(b.Transpose(b.Do(Op::kSoftmax, {x}), {0, 2, 3, 1}));
  });
}

}  // namespace
}  // namespace tfengine::passes
