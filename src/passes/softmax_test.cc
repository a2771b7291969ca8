// SPDX-License-Identifier: Apache-2.0
#include "passes/softmax.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

TEST(Softmax, WrittenOut) {
  for (bool reciprocal : {false, true}) {
    ExpectRewrite(RecognizeSoftmax, [&](Builder& b) {
      ValueId x = b.Input("x", {b.batch, 4, 8});
      ValueId e = b.Unary("exp", b.Sub(x, b.Reduce("max", x, {2})));
      ValueId sum = b.Reduce("sum", e, {2});
      b.Return(reciprocal ? b.Mul(b.Unary("reciprocal", sum), e) : b.Div(e, sum));
    }, "softmax");
  }
  ExpectRewrite(RecognizeSoftmax, [](Builder& b) {
    ValueId e = b.Unary("exp", b.Input("x", {b.batch, 4, 8}));
    b.Return(b.Div(e, b.Reduce("sum", e, {2})));
  }, "softmax");
}

TEST(Softmax, LogSoftmax) {
  ExpectRewrite(RecognizeSoftmax, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8}), d = b.Sub(x, b.Reduce("max", x, {1}));
    b.Return(b.Sub(d, b.Unary("log", b.Reduce("sum", b.Unary("exp", d), {1}))));
  }, "log_softmax");
}

TEST(Softmax, LeavesOtherQuotientsAlone) {
  ExpectUntouched(RecognizeSoftmax, [](Builder& b) {  // another axis
    ValueId e = b.Unary("exp", b.Input("x", {b.batch, 4, 8}));
    b.Return(b.Div(e, b.Reduce("sum", e, {1})));
  });
  ExpectUntouched(RecognizeSoftmax, [](Builder& b) {  // another sum
    ValueId x = b.Input("x", {b.batch, 8}), e = b.Unary("exp", x);
    b.Return(b.Div(e, b.Reduce("sum", b.Unary("square", x), {1})));
  });
}

TEST(Softmax, AnotherSubtrahendStaysInFront) {
  ExpectRewrite(RecognizeSoftmax, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    ValueId e = b.Unary("exp", b.Sub(x, b.Input("y", {b.batch, 8})));
    b.Return(b.Div(e, b.Reduce("sum", e, {1})));
  }, "sub softmax");
}

}  // namespace
}  // namespace tfengine::passes
