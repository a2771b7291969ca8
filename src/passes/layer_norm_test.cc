// SPDX-License-Identifier: Apache-2.0
#include "passes/layer_norm.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

constexpr double kTolerance = 1e-4;

struct Parts {
  ValueId x, mean, inverse;
};

Parts Moments(Builder& b, ValueId x, double epsilon = 1e-3) {
  ValueId mean = b.Reduce("mean", x, {2});
  ValueId variance = b.Reduce("mean", b.Binary("squared_difference", x, mean), {2});
  return {x, mean, b.Unary("rsqrt", b.Add(variance, b.Scalar(epsilon)))};
}

TEST(LayerNorm, AsKeras3WritesIt) {
  for (bool reshaped : {false, true}) {
    Network net = ExpectRewrite(RecognizeLayerNorm, [&](Builder& b) {
      std::vector<int64_t> shape = reshaped ? std::vector<int64_t>{1, 1, 8} : std::vector<int64_t>{8};
      auto [x, mean, inverse] = Moments(b, b.Input("x", {b.batch, 5, 8}));
      ValueId factor = b.Mul(inverse, b.Const("gamma", shape));
      ValueId shift = b.Add(b.Mul(b.Unary("neg", mean), factor), b.Const("beta", shape));
      b.Return(b.Add(b.Mul(x, factor), shift));
    }, "layer_norm", kTolerance);
    EXPECT_EQ(NumPresentInputs(net.nodes()[0]), 3u);
    EXPECT_FLOAT_EQ(net.nodes()[0].attrs.Float("epsilon"), 1e-3f);
  }
}

TEST(LayerNorm, AGammaOfOnesHasLeftABroadcast) {
  ExpectRewrite(RecognizeLayerNorm, [](Builder& b) {
    auto [x, mean, inverse] = Moments(b, b.Input("x", {b.batch, 5, 8}));
    ValueId factor = b.Broadcast(inverse, {b.batch, 5, 8});
    b.Return(b.Add(b.Mul(x, inverse), b.Mul(b.Unary("neg", mean), factor)));
  }, "layer_norm", kTolerance);
}

TEST(LayerNorm, AsTfNnBatchNormalizationWritesIt) {
  ExpectRewrite(RecognizeLayerNorm, [](Builder& b) {
    auto [x, mean, inverse] = Moments(b, b.Input("x", {b.batch, 5, 8}));
    ValueId factor = b.Mul(inverse, b.Const("gamma", {8}));
    b.Return(b.Add(b.Mul(x, factor), b.Sub(b.Const("beta", {8}), b.Mul(mean, factor))));
  }, "layer_norm", kTolerance);
}

TEST(LayerNorm, HandWritten) {
  ExpectRewrite(RecognizeLayerNorm, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 5, 8}), mean = b.Reduce("mean", x, {2}), d = b.Sub(x, mean);
    ValueId variance = b.Reduce("mean", b.Unary("square", d), {2});
    ValueId norm = b.Mul(d, b.Unary("rsqrt", b.Add(variance, b.Scalar(1e-5))));
    b.Return(b.Add(b.Mul(norm, b.Const("gamma", {8})), b.Const("beta", {8})));
  }, "layer_norm", kTolerance);
  // mean(x²) - mean(x)²
  ExpectRewrite(RecognizeLayerNorm, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 5, 8}), mean = b.Reduce("mean", x, {2});
    ValueId variance = b.Sub(b.Reduce("mean", b.Mul(x, x), {2}), b.Mul(mean, mean));
    b.Return(b.Mul(b.Sub(x, mean), b.Unary("rsqrt", b.Add(variance, b.Scalar(1e-3)))));
  }, "layer_norm", kTolerance);
}

TEST(LayerNorm, WithoutGammaOrBeta) {
  ExpectRewrite(RecognizeLayerNorm, [](Builder& b) {
    auto [x, mean, inverse] = Moments(b, b.Input("x", {b.batch, 5, 8}));
    b.Return(b.Mul(b.Sub(x, mean), inverse));
  }, "layer_norm", kTolerance);
}

TEST(LayerNorm, AbsorbsWhatFollows) {
  ExpectRewrite(RecognizeLayerNorm, [](Builder& b) {
    ValueId x = b.Do(Op::kLayerNorm, {b.Input("x", {b.batch, 5, 8})}, {{"epsilon", 1e-3}});
    b.Return(b.Sub(b.Mul(b.Const("gamma", {1, 8}), x), b.Const("beta", {8})));
  }, "layer_norm", kTolerance);
  // Another reader of the plain result keeps it apart.
  ExpectUntouched(RecognizeLayerNorm, [](Builder& b) {
    ValueId x = b.Do(Op::kLayerNorm, {b.Input("x", {b.batch, 5, 8})}, {{"epsilon", 1e-3}});
    b.Return(b.Mul(b.Const("gamma", {8}), x));
    b.Return(x);
  });
}

TEST(LayerNorm, LeavesOtherStatisticsAlone) {
  // Another axis.
  ExpectUntouched(RecognizeLayerNorm, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 5, 8}), mean = b.Reduce("mean", x, {1});
    ValueId variance = b.Reduce("mean", b.Binary("squared_difference", x, mean), {1});
    b.Return(b.Mul(b.Sub(x, mean), b.Unary("rsqrt", b.Add(variance, b.Scalar(1e-3)))));
  });
  // RMS norm: nothing is subtracted.
  ExpectUntouched(RecognizeLayerNorm, [](Builder& b) {
    auto [x, mean, inverse] = Moments(b, b.Input("x", {b.batch, 5, 8}));
    b.Return(b.Mul(x, inverse));
  });
  // The mean of another tensor.
  ExpectUntouched(RecognizeLayerNorm, [](Builder& b) {
    auto [x, mean, inverse] = Moments(b, b.Input("x", {b.batch, 5, 8}));
    ValueId y = b.Input("y", {b.batch, 5, 8});
    b.Return(b.Mul(b.Sub(y, b.Reduce("mean", y, {2})), inverse));
  });
  // Gamma along the wrong axis; the plain part is still recognised.
  ExpectRewrite(RecognizeLayerNorm, [](Builder& b) {
    auto [x, mean, inverse] = Moments(b, b.Input("x", {b.batch, 5, 8}));
    b.Return(b.Mul(b.Mul(b.Sub(x, mean), inverse), b.Const("gamma", {5, 1})));
  }, "layer_norm mul", kTolerance);
}

}  // namespace
}  // namespace tfengine::passes
