// SPDX-License-Identifier: Apache-2.0
#include "passes/scale_folding.h"

#include "passes/batch_norm.h"
#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

constexpr double kTolerance = 1e-5;

ValueId Image(Builder& b, int64_t channels = 4) { return b.Input("x", {b.batch, 6, 5, channels}); }

TEST(ScaleFolding, ScaleAndShiftBehindAConvolution) {
  ExpectRewrite(FoldScales, [](Builder& b) {
    ValueId y = b.Conv(Image(b), b.Const("w", {3, 3, 4, 6}), 2, {1, 1, 1, 1});
    y = b.Add(y, b.Const("bias", {6}));
    y = b.Mul(y, b.Const("s", {1, 1, 1, 6}));
    b.Return(b.Unary("relu", b.Sub(y, b.Const("t", {1, 1, 1, 6}))));
  }, "conv2d+bias relu", kTolerance);
}

TEST(ScaleFolding, EverySignAndScalar) {
  ExpectRewrite(FoldScales, [](Builder& b) {
    ValueId y = b.Conv(Image(b), b.Const("w", {1, 1, 4, 6}));
    y = b.Sub(b.Const("c", {6}), y);
    y = b.Unary("neg", b.Div(y, b.Scalar(3)));
    b.Return(b.Mul(b.Scalar(0.5), y));
  }, "conv2d+bias", kTolerance);
}

TEST(ScaleFolding, DepthwiseGroupedTransposedAndMatMul) {
  auto tail = [](Builder& b, ValueId y, int64_t n) { b.Return(b.Add(b.Mul(y, b.Const("s", {n})), b.Const("t", {n}))); };
  ExpectRewrite(FoldScales, [&](Builder& b) {
    tail(b, b.Conv(Image(b), b.Const("w", {3, 3, 1, 8}), 1, {1, 1, 1, 1}, 4), 8);
  }, "conv2d+bias", kTolerance);
  ExpectRewrite(FoldScales, [&](Builder& b) {
    tail(b, b.Conv(Image(b), b.Const("w", {3, 3, 2, 6}), 1, {1, 1, 1, 1}, 2), 6);
  }, "conv2d+bias", kTolerance);
  ExpectRewrite(FoldScales, [&](Builder& b) {
    tail(b, b.Do(Op::kConv2dTranspose, {Image(b), b.Const("w", {2, 2, 3, 4})},
                 {{"strides", std::vector<int64_t>{2, 2}}, {"output_shape", Shape{b.batch, 12, 10, 3}}}), 3);
  }, "conv2d_transpose+bias", kTolerance);
  for (bool transpose : {false, true}) {
    ExpectRewrite(FoldScales, [&](Builder& b) {
      ValueId w = b.Const("w", transpose ? std::vector<int64_t>{6, 4} : std::vector<int64_t>{4, 6});
      tail(b, b.MatMul(b.Input("x", {b.batch, 3, 4}), w, false, transpose), 6);
    }, "matmul+bias", kTolerance);
  }
}

TEST(ScaleFolding, InFrontOfTheNextOp) {
  auto head = [](Builder& b, ValueId x, int64_t n) { return b.Add(b.Mul(x, b.Const("s", {n})), b.Const("t", {n})); };
  for (int64_t groups : {1, 2, 4}) {
    ExpectRewrite(
        FoldScales,
        [&](Builder& b) {
          b.Return(b.Unary("relu",
                           b.Conv(head(b, Image(b), 4), b.Const("w", {3, 3, 4 / groups, 8}), 1, {0, 0, 0, 0}, groups)));
        },
        "conv2d+bias relu", kTolerance);
  }
  ExpectRewrite(FoldScales, [&](Builder& b) {
    b.Return(b.MatMul(head(b, b.Input("x", {b.batch, 4}), 4), b.Const("w", {6, 4}), false, true));
  }, "matmul+bias", kTolerance);
}

TEST(ScaleFolding, PaddingSeesZerosAndNotTheShift) {
  ExpectUntouched(FoldScales, [](Builder& b) {
    b.Return(b.Conv(b.Add(Image(b), b.Const("t", {4})), b.Const("w", {3, 3, 4, 6}), 1, {1, 1, 1, 1}));
  });
  // The scale alone may pass.
  ExpectRewrite(FoldScales, [](Builder& b) {
    b.Return(b.Conv(b.Mul(Image(b), b.Const("s", {4})), b.Const("w", {3, 3, 4, 6}), 1, {1, 1, 1, 1}));
  }, "conv2d", kTolerance);
}

TEST(ScaleFolding, LeavesAlone) {
  ExpectUntouched(FoldScales, [](Builder& b) {  // another reader
    ValueId y = b.Conv(Image(b), b.Const("w", {1, 1, 4, 6}));
    b.Return(b.Mul(y, b.Const("s", {6})));
    b.Return(y);
  });
  ExpectUntouched(FoldScales, [](Builder& b) {  // an activation in between
    ValueId y = b.Conv(Image(b), b.Const("w", {1, 1, 4, 6}));
    b.Return(b.Mul(b.Unary("relu", y), b.Const("s", {6})));
  });
  ExpectUntouched(FoldScales, [](Builder& b) {  // along the wrong axis
    ValueId y = b.Conv(Image(b), b.Const("w", {1, 1, 4, 6}));
    b.Return(b.Mul(y, b.Const("s", {5, 1})));
  });
  ExpectUntouched(FoldScales, [](Builder& b) {  // not finite
    ValueId y = b.Conv(Image(b), b.Const("w", {1, 1, 4, 6}));
    b.Return(b.Div(y, b.Scalar(0)));
  });
  ExpectUntouched(FoldScales, [](Builder& b) {  // weights that are computed
    b.Return(b.Mul(b.MatMul(b.Input("x", {3, 4}), b.Input("w", {4, 6})), b.Const("s", {6})));
  });
}

ValueId Norm(Builder& b, ValueId x, int64_t n) {
  return b.Do(Op::kBatchNorm,
              {x, b.Const("gamma", {n}), b.Const("beta", {n}), b.Const("mean", {n}), b.Const("var", {n}, 0.5, 2)},
              {{"epsilon", 1e-3}});
}

TEST(BatchNorm, BecomesScaleAndShift) {
  ExpectRewrite(LowerBatchNorm, [](Builder& b) { b.Return(Norm(b, Image(b), 4)); }, "mul add", kTolerance);
}

TEST(BatchNorm, LeavesComputedAndUnusableStatisticsAlone) {
  ExpectUntouched(LowerBatchNorm, [](Builder& b) {
    b.Return(b.Do(Op::kBatchNorm,
                  {Image(b), b.Input("g", {4}), b.Const("b", {4}), b.Const("m", {4}), b.Const("v", {4}, 0.5, 2)},
                  {{"epsilon", 1e-3}}));
  });
  ExpectUntouched(LowerBatchNorm, [](Builder& b) {
    b.Return(b.Do(Op::kBatchNorm,
                  {Image(b), b.Const("g", {4}), b.Const("b", {4}), b.Const("m", {4}), b.Const("v", {4}, -3, -2)},
                  {{"epsilon", 1e-3}}));
  });
}

}  // namespace
}  // namespace tfengine::passes
