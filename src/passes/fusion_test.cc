// SPDX-License-Identifier: Apache-2.0
#include "passes/fusion.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

ValueId Conv(Builder& b, ValueId x, int64_t n = 4) { return b.Conv(x, b.Const("w", {3, 3, 4, n}), 1, {1, 1, 1, 1}); }
ValueId Image(Builder& b) { return b.Input("x", {b.batch, 6, 5, 4}); }

TEST(Fusion, BiasResidualAndActivation) {
  ExpectRewrite(FuseElementwise, [](Builder& b) {
    ValueId x = Image(b), y = b.Add(Conv(b, x), b.Const("bias", {1, 1, 1, 4}));
    b.Return(b.Unary("relu", b.Add(x, y)));
  }, "conv2d+bias+residual+relu");
  ExpectRewrite(FuseElementwise, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 3, 4}), y = b.Add(b.MatMul(x, b.Const("w", {4, 4})), b.Const("bias", {4}));
    b.Return(b.Unary("gelu_erf", b.Add(y, x)));
  }, "matmul+bias+residual+gelu_erf");
  ExpectRewrite(FuseElementwise, [](Builder& b) {  // a bias that is computed
    b.Return(b.Add(b.MatMul(b.Input("x", {b.batch, 4}), b.Const("w", {4, 6})), b.Input("bias", {6})));
  }, "matmul+bias");
}

TEST(Fusion, ABiasBehindTheResidual) {
  ExpectRewrite(FuseElementwise, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 4}), h = b.Input("h", {b.batch, 4}), w = b.Const("w", {4, 6}), u = b.Const("u", {4, 6});
    b.Return(b.Unary("tanh", b.Add(b.Add(b.MatMul(x, w), b.MatMul(h, u)), b.Const("bias", {6}))));
  }, "matmul matmul+bias+residual+tanh");
}

TEST(Fusion, TheLaterConvolutionTakesTheSum) {
  Network net = ExpectRewrite(FuseElementwise, [](Builder& b) {
    ValueId x = Image(b), first = Conv(b, x), second = Conv(b, b.Unary("abs", x));
    b.Return(b.Unary("relu", b.Add(second, first)));
  }, "conv2d abs conv2d+residual+relu");
}

TEST(Fusion, ParametersOfActivationsSurvive) {
  Network net = ExpectRewrite(FuseElementwise, [](Builder& b) {
    b.Return(b.Unary("clip", Conv(b, Image(b)), -0.25, 0.5));
  }, "conv2d+clip");
  EXPECT_EQ(net.nodes()[0].attrs.Float("alpha"), -0.25);
  EXPECT_EQ(net.nodes()[0].attrs.Float("beta"), 0.5);
}

TEST(Fusion, BinaryAndLayerNorm) {
  ExpectRewrite(FuseElementwise, [](Builder& b) {
    b.Return(b.Unary("sigmoid", b.Mul(b.Input("x", {b.batch, 4}), b.Input("y", {b.batch, 4}))));
  }, "mul+sigmoid");
  ExpectRewrite(FuseElementwise, [](Builder& b) {
    ValueId sum = b.Add(b.Input("x", {b.batch, 4}), b.Input("y", {b.batch, 4}));
    b.Return(b.Do(Op::kLayerNorm, {sum, b.Const("g", {4})}, {{"epsilon", 1e-3}}));
  }, "layer_norm+residual");
}

TEST(Fusion, OtherReadersKeepTheirValue) {
  ExpectUntouched(FuseElementwise, [](Builder& b) {
    ValueId y = Conv(b, Image(b));
    b.Return(b.Unary("relu", y));
    b.Return(y);
  });
  ExpectUntouched(FuseElementwise, [](Builder& b) {
    ValueId y = Conv(b, Image(b));
    b.Return(b.Add(y, y));
  });
}

TEST(Fusion, LeavesAlone) {
  ExpectUntouched(FuseElementwise, [](Builder& b) {  // not fusable
    b.Return(b.Unary("exp", Conv(b, Image(b))));
  });
  ExpectUntouched(FuseElementwise, [](Builder& b) {  // a residual that broadcasts
    b.Return(b.Add(Conv(b, Image(b)), b.Input("r", {b.batch, 1, 1, 4})));
  });
  ExpectUntouched(FuseElementwise, [](Builder& b) {  // the sum broadcasts the product
    b.Return(b.Add(b.MatMul(b.Input("x", {1, 4}), b.Const("w", {4, 4})), b.Input("y", {3, 4})));
  });
  ExpectUntouched(FuseElementwise, [](Builder& b) {  // a residual behind an activation
    ValueId x = Image(b);
    b.Return(b.Add(b.Do(Op::kConv2d, {x, b.Const("w", {1, 1, 4, 4})}, {{"act", std::string("relu")}}), x));
  });
}

}  // namespace
}  // namespace tfengine::passes
