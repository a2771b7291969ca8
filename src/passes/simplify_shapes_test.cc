// SPDX-License-Identifier: Apache-2.0
#include "passes/simplify_shapes.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

TEST(SimplifyShapes, ReshapesCompose) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4, 6});
    b.Return(b.Reshape(b.Reshape(x, {b.batch, 24}), {b.batch, 8, 3}));
    b.Return(b.Unary("relu", b.Reshape(b.Reshape(x, {b.batch, 24}), {b.batch, 4, 6})));
  }, "relu reshape");
}

TEST(SimplifyShapes, TransposesCompose) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4, 6, 2});
    ValueId nchw = b.Transpose(x, {0, 3, 1, 2});
    b.Return(b.Unary("relu", b.Transpose(nchw, {0, 2, 3, 1})));
    b.Return(b.Transpose(nchw, {0, 1, 3, 2}));
  }, "relu transpose");
}

TEST(SimplifyShapes, TransposesOfSingleDimsAreReshapes) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    b.Return(b.Transpose(b.Input("x", {b.batch, 1, 1, 8}), {0, 3, 1, 2}));
  }, "reshape");
  ExpectUntouched(SimplifyShapes, [](Builder& b) {
    b.Return(b.Transpose(b.Input("x", {b.batch, 1, 2, 8}), {0, 3, 1, 2}));
  });
}

TEST(SimplifyShapes, NoOpsVanish) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4});
    x = b.Reshape(x, {b.batch, 4});
    x = b.Transpose(x, {0, 1});
    x = b.Broadcast(x, {b.batch, 4});
    x = b.Cast(x, DType::kFloat32);
    x = b.Do(Op::kSlice, {x}, {{"begin", Shape{0, 0}}, {"size", Shape{b.batch, 4}}});
    x = b.Do(Op::kPad, {x}, {{"lo", Shape{0, 0}}, {"hi", Shape{0, 0}}});
    x = b.Do(Op::kTile, {x}, {{"reps", Shape{1, 1}}});
    x = b.Do(Op::kConcat, {x}, {{"axis", int64_t{0}}});
    b.Return(b.Unary("relu", x));
  }, "relu");
  ExpectUntouched(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4});
    b.Return(b.Do(Op::kSlice, {x}, {{"begin", Shape{0, 1}}, {"size", Shape{b.batch, 3}}}));
    b.Return(b.Do(Op::kPad, {x}, {{"lo", Shape{0, 0}}, {"hi", Shape{0, 1}}}));
    b.Return(b.Do(Op::kSlice, {x},
                  {{"begin", Shape{0, 3}}, {"size", Shape{b.batch, 4}}, {"strides", std::vector<int64_t>{1, -1}}}));
  });
}

TEST(SimplifyShapes, CastsThatLoseNothing) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId m = b.Input("m", {b.batch, 4}, DType::kBool);
    b.Return(b.Unary("logical_not", b.Cast(b.Cast(m, DType::kInt32), DType::kBool)));
    b.Return(b.Cast(b.Cast(m, DType::kInt32), DType::kFloat32));
  }, "logical_not cast");
  ExpectUntouched(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4});
    b.Return(b.Cast(b.Cast(x, DType::kInt32), DType::kFloat32));
  });
}

TEST(SimplifyShapes, ReductionsOfSingleDims) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    b.Return(b.Reduce("mean", b.Input("x", {b.batch, 1, 8}), {1}, false));
  }, "reshape");
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 1, 8});
    b.Return(b.Unary("relu", b.Reduce("mean", x, {1, 2}, true)));
  }, "reduce relu");
}

TEST(SimplifyShapes, BroadcastsInFrontOfElementwiseOps) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 2, 4}), row = b.Input("row", {4});
    b.Return(b.Add(b.Broadcast(row, {b.batch, 2, 4}), x));
    ValueId m = b.Broadcast(b.Input("m", {b.batch, 1, 4}, DType::kBool), {b.batch, 2, 4});
    b.Return(b.Do(Op::kSelect, {m, x, b.Scalar(0)}));
  }, "add select");
  // Both operands are needed to give the shape.
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId row = b.Input("row", {4});
    b.Input("batch", {b.batch});
    ValueId y = b.Broadcast(row, {b.batch, 2, 4}), z = b.Broadcast(row, {b.batch, 2, 4});
    b.Return(b.Add(y, z));
  }, "broadcast add");
}

TEST(SimplifyShapes, BroadcastsMoveBehindWhatTheyRepeat) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId m = b.Broadcast(b.Input("m", {b.batch, 1, 4}, DType::kInt32), {b.batch, 3, 4});
    m = b.Reshape(b.Cast(m, DType::kFloat32), {b.batch, 1, 3, 4});
    b.Return(b.Scale(b.Sub(b.Scalar(1), b.Unary("abs", m)), -1e4));
  }, "cast reshape abs sub mul broadcast");
  ExpectUntouched(SimplifyShapes, [](Builder& b) {  // dims merge
    b.Return(b.Reshape(b.Broadcast(b.Input("x", {b.batch, 1}), {b.batch, 4}), {b.net.dims().Mul(b.batch, Dim(4))}));
  });
}

TEST(SimplifyShapes, MatMulAbsorbsTransposes) {
  ExpectRewrite(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4, 6}), y = b.Input("y", {b.batch, 5, 6});
    b.Return(b.MatMul(x, b.Transpose(y, {0, 2, 1})));
    b.Return(b.Transpose(b.MatMul(x, y, false, true), {0, 2, 1}));
  }, "matmul matmul");
  ExpectUntouched(SimplifyShapes, [](Builder& b) {
    ValueId x = b.Input("x", {2, 4, 6}), y = b.Input("y", {6, 2, 5});
    b.Return(b.MatMul(x, b.Transpose(y, {1, 0, 2})));
  });
}

}  // namespace
}  // namespace tfengine::passes
