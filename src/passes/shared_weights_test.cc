// SPDX-License-Identifier: Apache-2.0
#include "passes/shared_weights.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

ValueId Step(Builder& b, ValueId x, int64_t at, Shape size, size_t axis) {
  Shape begin(size.size(), Dim(0));
  begin[axis] = Dim(at);
  return b.Do(Op::kSlice, {x}, {{"begin", begin}, {"size", std::move(size)}});
}

TEST(SharedWeights, StepsOfARecurrentLayerBecomeOneProduct) {
  ExpectRewrite(MergeSharedWeights, [](Builder& b) {
    ValueId x = b.Input("x", {b.batch, 3, 4}), w = b.Const("w", {4, 6}), sum = kNoValue;
    for (int64_t t = 0; t < 3; ++t) {
      ValueId y = b.MatMul(b.Reshape(Step(b, x, t, {b.batch, 1, 4}, 1), {b.batch, 4}), w);
      sum = sum == kNoValue ? b.Unary("tanh", y) : b.Unary("tanh", b.Add(sum, y));
    }
    b.Return(sum);
  }, "transpose matmul slice reshape tanh slice reshape add tanh slice reshape add tanh");
}

TEST(SharedWeights, TheFirstAxisNeedsNoTranspose) {
  ExpectRewrite(MergeSharedWeights, [](Builder& b) {
    ValueId x = b.Input("x", {2, b.batch, 4}), w = b.Const("w", {6, 4});
    for (int64_t t : {1, 0}) b.Return(b.MatMul(Step(b, x, t, {1, b.batch, 4}, 0), w, false, true));
  }, "matmul slice slice");
}

TEST(SharedWeights, LeavesAlone) {
  ExpectUntouched(MergeSharedWeights, [](Builder& b) {  // one of three is missing
    ValueId x = b.Input("x", {3, b.batch, 4}), w = b.Const("w", {4, 6});
    for (int64_t t : {0, 2}) b.Return(b.MatMul(Step(b, x, t, {1, b.batch, 4}, 0), w));
  });
  ExpectUntouched(MergeSharedWeights, [](Builder& b) {  // weights of their own
    ValueId x = b.Input("x", {2, b.batch, 4});
    for (int64_t t : {0, 1}) b.Return(b.MatMul(Step(b, x, t, {1, b.batch, 4}, 0), b.Const("w", {4, 6})));
  });
  ExpectUntouched(MergeSharedWeights, [](Builder& b) {  // the axis that is summed over
    ValueId x = b.Input("x", {b.batch, 2}), w = b.Const("w", {1, 6});
    for (int64_t t : {0, 1}) b.Return(b.MatMul(Step(b, x, t, {b.batch, 1}, 1), w));
  });
  ExpectUntouched(MergeSharedWeights, [](Builder& b) {  // the reshape mixes rows
    ValueId x = b.Input("x", {2, 4, 3}), w = b.Const("w", {4, 6});
    for (int64_t t : {0, 1}) b.Return(b.MatMul(b.Reshape(Step(b, x, t, {1, 4, 3}, 0), {3, 4}), w));
  });
}

}  // namespace
}  // namespace tfengine::passes
