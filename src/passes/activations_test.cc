// SPDX-License-Identifier: Apache-2.0
#include "passes/activations.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

constexpr double kGeluTolerance = 1e-4;  // 0.7071 for √½ and the like

TEST(Activations, GeluAsKerasWritesItWithErfc) {
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    b.Return(b.Mul(b.Mul(b.Scalar(0.5), x), b.Unary("erfc", b.Scale(b.Unary("neg", x), 0.7071067690849304))));
  }, "gelu_erf", kGeluTolerance);
}

TEST(Activations, GeluWithErfInAnyOrder) {
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    ValueId cdf = b.Mul(b.Scalar(0.5), b.Add(b.Scalar(1), b.Unary("erf", b.Div(x, b.Scalar(std::sqrt(2.0))))));
    b.Return(b.Mul(x, cdf));
  }, "gelu_erf", kGeluTolerance);
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    ValueId half = b.Scale(x, 0.5), erf = b.Unary("erf", b.Scale(x, 0.7071));
    b.Return(b.Add(half, b.Mul(half, erf)));
  }, "gelu_erf", kGeluTolerance);
}

TEST(Activations, GeluBehindOtherArithmetic) {
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Add(b.Input("x", {b.batch, 8}), b.Const("bias", {8}));
    ValueId erf = b.Unary("erf", b.Scale(x, 0.70710678));
    b.Return(b.Scale(b.Mul(x, b.Add(erf, b.Scalar(1))), 0.5));
  }, "add gelu_erf", kGeluTolerance);
}

TEST(Activations, GeluWithTanh) {
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    ValueId cube = b.Binary("pow", x, b.Scalar(3));
    ValueId t = b.Unary("tanh", b.Scale(b.Add(x, b.Scale(cube, 0.044715)), 0.7978845608));
    b.Return(b.Mul(b.Scale(x, 0.5), b.Add(t, b.Scalar(1))));
  }, "gelu_tanh", kGeluTolerance);
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    ValueId inner = b.Mul(b.Scale(x, 0.79788456), b.Add(b.Scalar(1), b.Scale(b.Mul(x, x), 0.044715)));
    b.Return(b.Mul(x, b.Scale(b.Add(b.Unary("tanh", inner), b.Scalar(1)), 0.5)));
  }, "gelu_tanh", kGeluTolerance);
}

TEST(Activations, SiluAndTheHardOnes) {
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    b.Return(b.Mul(b.Unary("sigmoid", x), x));
  }, "silu");
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    b.Return(b.Mul(x, b.Scale(b.Unary("relu6", b.Add(x, b.Scalar(3))), 1.0 / 6)));
  }, "hard_swish");
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    b.Return(b.Div(b.Unary("relu6", b.Add(x, b.Scalar(3))), b.Scalar(6)));
  }, "hard_sigmoid");
}

TEST(Activations, MinAndMax) {
  auto limits = [](double low, double high) {
    return [=](Builder& b) {
      ValueId x = b.Input("x", {b.batch, 8});
      b.Return(b.Binary("min", b.Binary("max", x, b.Scalar(low)), b.Scalar(high)));
    };
  };
  ExpectRewrite(RecognizeActivations, limits(0, 6), "relu6");
  ExpectRewrite(RecognizeActivations, limits(-0.5, 0.75), "clip");
  ExpectUntouched(RecognizeActivations, limits(1, -1));
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    b.Return(b.Binary("max", b.Scalar(0), b.Input("x", {b.batch, 8})));
  }, "relu");
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    b.Return(b.Binary("max", x, b.Scale(x, 0.2)));
  }, "leaky_relu");
  ExpectUntouched(RecognizeActivations, [](Builder& b) {
    b.Return(b.Binary("max", b.Scalar(0.5), b.Input("x", {b.batch, 8})));
  });
}

TEST(Activations, OtherConstantsStay) {
  ExpectUntouched(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    b.Return(b.Mul(x, b.Unary("sigmoid", b.Scale(x, 1.702))));
  });
  ExpectUntouched(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8});
    b.Return(b.Mul(b.Scale(x, 0.5), b.Add(b.Unary("erf", b.Scale(x, 0.72)), b.Scalar(1))));
  });
  ExpectUntouched(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8}), y = b.Input("y", {b.batch, 8});
    b.Return(b.Mul(x, b.Unary("sigmoid", y)));
  });
}

TEST(Activations, ASharedSigmoidStaysForItsOtherReader) {
  ExpectRewrite(RecognizeActivations, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 8}), s = b.Unary("sigmoid", x);
    b.Return(b.Mul(x, s));
    b.Return(s);
  }, "sigmoid silu");
}

}  // namespace
}  // namespace tfengine::passes
