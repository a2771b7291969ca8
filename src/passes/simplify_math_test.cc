// SPDX-License-Identifier: Apache-2.0
#include "passes/simplify_math.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

TEST(SimplifyMath, Identities) {
  ExpectRewrite(SimplifyMath, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4});
    x = b.Scale(x, 1);
    x = b.Add(b.Scalar(0), x);
    x = b.Sub(x, b.Scalar(0));
    x = b.Div(x, b.Scalar(1));
    x = b.Binary("pow", x, b.Scalar(1));
    b.Return(b.Unary("relu", x));
  }, "relu");
  ExpectRewrite(SimplifyMath, [](Builder& b) {
    ValueId m = b.Input("m", {b.batch, 4}, DType::kBool);
    ValueId all = b.Broadcast(b.Scalar(1, DType::kBool), {b.batch, 4});
    b.Return(b.Unary("logical_not", b.Binary("logical_and", all, m)));
  }, "logical_not");
}

TEST(SimplifyMath, AnIdentityThatBroadcastsLeavesABroadcast) {
  ExpectRewrite(SimplifyMath, [](Builder& b) {
    ValueId m = b.Input("m", {b.batch, 1, 4}, DType::kBool);
    ValueId all = b.Broadcast(b.Scalar(1, DType::kBool), {b.batch, 3, 4});
    b.Return(b.Binary("logical_and", all, m));
  }, "broadcast");
}

TEST(SimplifyMath, NearIdentitiesStay) {
  ExpectUntouched(SimplifyMath, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4});
    b.Return(b.Scale(x, 0));
    b.Return(b.Sub(b.Scalar(0), x));
    b.Return(b.Div(b.Scalar(1), x));
    b.Return(b.Binary("pow", x, b.Scalar(3)));
  });
}

TEST(SimplifyMath, ConstantsOfAChainMeet) {
  ExpectRewrite(SimplifyMath, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4});
    b.Return(b.Mul(b.Const("c", {1, 4}), b.Scale(x, 3)));
  }, "mul mul");  // one of them of constants
  ExpectUntouched(SimplifyMath, [](Builder& b) {  // another reader
    ValueId x = b.Input("x", {b.batch, 4}), y = b.Scale(x, 3);
    b.Return(b.Scale(y, 5));
    b.Return(y);
  });
  ExpectUntouched(SimplifyMath, [](Builder& b) {  // the combination would be larger
    ValueId x = b.Input("x", {b.batch, 4, 4});
    b.Return(b.Mul(b.Mul(x, b.Const("r", {4, 1})), b.Const("c", {1, 4})));
  });
}

TEST(SimplifyMath, Signs) {
  ExpectRewrite(SimplifyMath, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4}), y = b.Input("y", {b.batch, 4});
    b.Return(b.Add(x, b.Unary("neg", y)));
    b.Return(b.Add(b.Unary("neg", x), y));
    b.Return(b.Sub(x, b.Unary("neg", y)));
    b.Return(b.Unary("neg", b.Unary("neg", b.Unary("relu", x))));
  }, "relu sub sub add");
}

TEST(SimplifyMath, Roots) {
  ExpectRewrite(SimplifyMath, [](Builder& b) {
    ValueId x = b.Add(b.Unary("square", b.Input("x", {b.batch, 4})), b.Scalar(1));
    b.Return(b.Div(b.Scalar(1), b.Unary("sqrt", x)));
    b.Return(b.Unary("reciprocal", b.Unary("sqrt", x)));
    b.Return(b.Binary("pow", x, b.Scalar(-0.5)));
    b.Return(b.Binary("pow", x, b.Scalar(2)));
    b.Return(b.Div(b.Input("y", {b.batch, 4}), b.Unary("sqrt", x)));
  }, "square add rsqrt rsqrt rsqrt square rsqrt mul");
}

TEST(SimplifyMath, Selects) {
  ExpectRewrite(SimplifyMath, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4}), y = b.Input("y", {b.batch, 4});
    b.Return(b.Unary("relu", b.Do(Op::kSelect, {b.Scalar(1, DType::kBool), x, y})));
    b.Return(b.Unary("exp", b.Do(Op::kSelect, {b.Scalar(0, DType::kBool), x, y})));
    b.Return(b.Unary("tanh", b.Do(Op::kSelect, {b.Input("m", {b.batch, 4}, DType::kBool), x, x})));
  }, "relu exp tanh");
}

}  // namespace
}  // namespace tfengine::passes
