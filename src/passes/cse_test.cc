// SPDX-License-Identifier: Apache-2.0
#include "passes/cse.h"

#include "passes/projections.h"
#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

TEST(Cse, EqualNodesAndConstantsBecomeOne) {
  ExpectRewrite(EliminateCommonSubexpressions, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4}), y = b.Input("y", {b.batch, 4});
    ValueId p = b.Scale(b.Unary("tanh", b.Add(x, y)), 2), q = b.Scale(b.Unary("tanh", b.Add(y, x)), 2);
    b.Return(b.Sub(p, q));
  }, "add tanh mul sub");
}

TEST(Cse, DifferencesCount) {
  ExpectUntouched(EliminateCommonSubexpressions, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4}), y = b.Input("y", {b.batch, 4});
    b.Return(b.Sub(b.Sub(x, y), b.Sub(y, x)));
    b.Return(b.Add(b.Unary("clip", x, 0, 1), b.Unary("clip", x, 0, 2)));
    b.Return(b.Add(b.Scale(x, 2), b.Scale(y, 3)));
    b.Return(b.Add(b.Reshape(x, {4, b.batch}), b.Scalar(2, DType::kFloat32, {1})));
  });
}

TEST(Cse, AllResultsOfANode) {
  ExpectRewrite(EliminateCommonSubexpressions, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4});
    b.Do(Op::kTopK, {x}, {{"k", int64_t{2}}});
    b.Do(Op::kTopK, {x}, {{"k", int64_t{2}}});
    const auto &first = b.net.nodes()[0].outputs, &second = b.net.nodes()[1].outputs;
    b.Return(first[0]);
    b.Return(second[1]);
  }, "top_k");
}

TEST(Projections, MergeAndSlice) {
  ExpectRewrite(MergeProjections, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 3, 4});
    for (int64_t n : {4, 2, 4}) b.Return(b.Do(Op::kMatMul, {x, b.Const("w", {4, n}), b.Const("b", {n})}));
  }, "matmul+bias slice slice slice");
}

TEST(Projections, LeavesDifferentFormsAlone) {
  ExpectUntouched(MergeProjections, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 3, 4});
    b.Return(b.Do(Op::kMatMul, {x, b.Const("w", {4, 2}), b.Const("b", {2})}));
    b.Return(b.Do(Op::kMatMul, {x, b.Const("w", {4, 2})}));
    b.Return(b.Do(Op::kMatMul, {x, b.Const("w", {4, 2})}, {{"act", std::string("relu")}}));
    b.Return(b.MatMul(x, b.Const("w", {2, 4}), false, true));
    b.Return(b.MatMul(x, b.Input("v", {4, 2})));
  });
}

}  // namespace
}  // namespace tfengine::passes
