// SPDX-License-Identifier: Apache-2.0
#include "passes/pad_folding.h"

#include <limits>

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

ValueId Pad(Builder& b, ValueId x, Shape lo, Shape hi, double value = 0) {
  return b.Do(Op::kPad, {x}, {{"lo", lo}, {"hi", hi}, {"value", value}});
}

ValueId Pool(Builder& b, const char* kind, ValueId x) {
  return b.Do(
      Op::kPool, {x},
      {{"kind", std::string(kind)}, {"ksize", std::vector<int64_t>{3, 3}}, {"strides", std::vector<int64_t>{2, 2}}});
}

TEST(PadFolding, IntoConvolutions) {
  Network net = ExpectRewrite(FoldPads, [](Builder& b) {
    ValueId x = Pad(b, b.Input("x", {b.batch, 6, 5, 4}), {0, 0, 1, 0}, {0, 1, 2, 0});
    b.Return(b.Conv(x, b.Const("w", {3, 3, 4, 2}), 2, {1, 0, 0, 1}));
  }, "conv2d");
  EXPECT_EQ(net.nodes()[0].attrs.Ints("pads"), (std::vector<int64_t>{1, 1, 1, 3}));
}

TEST(PadFolding, ZerosIntoAMaxPoolOfWhatIsNeverNegative) {
  ExpectRewrite(FoldPads, [](Builder& b) {
    ValueId x = b.Unary("relu", b.Input("x", {b.batch, 6, 5, 4}));
    b.Return(Pool(b, "max", Pad(b, x, {0, 1, 1, 0}, {0, 1, 1, 0})));
  }, "relu pool");
  ExpectUntouched(FoldPads, [](Builder& b) {
    b.Return(Pool(b, "max", Pad(b, b.Input("x", {b.batch, 6, 5, 4}), {0, 1, 1, 0}, {0, 1, 1, 0})));
  });
}

TEST(PadFolding, LowestValueIntoAnyMaxPool) {
  ExpectRewrite(FoldPads, [](Builder& b) {
    double low = -std::numeric_limits<double>::infinity();
    b.Return(Pool(b, "max", Pad(b, b.Input("x", {b.batch, 6, 5, 4}), {0, 1, 1, 0}, {0, 1, 1, 0}, low)));
  }, "pool");
}

TEST(PadFolding, LeavesAlone) {
  ExpectUntouched(FoldPads, [](Builder& b) {  // average pools do not count their own padding
    b.Return(Pool(b, "avg", Pad(b, b.Input("x", {b.batch, 6, 5, 4}), {0, 1, 1, 0}, {0, 1, 1, 0})));
  });
  ExpectUntouched(FoldPads, [](Builder& b) {  // windows of padding only
    ValueId x = b.Unary("relu", b.Input("x", {b.batch, 6, 5, 4}));
    b.Return(Pool(b, "max", Pad(b, x, {0, 3, 0, 0}, {0, 0, 0, 0})));
  });
  ExpectUntouched(FoldPads, [](Builder& b) {  // another value
    ValueId x = Pad(b, b.Input("x", {b.batch, 6, 5, 4}), {0, 1, 1, 0}, {0, 1, 1, 0}, 0.5);
    b.Return(b.Conv(x, b.Const("w", {3, 3, 4, 2})));
  });
  ExpectUntouched(FoldPads, [](Builder& b) {  // channels
    ValueId x = Pad(b, b.Input("x", {b.batch, 6, 5, 3}), {0, 0, 0, 0}, {0, 0, 0, 1});
    b.Return(b.Conv(x, b.Const("w", {3, 3, 4, 2})));
  });
  ExpectUntouched(FoldPads, [](Builder& b) {  // another mode
    ValueId x = b.Do(Op::kPad, {b.Input("x", {b.batch, 6, 5, 4})},
                     {{"lo", Shape{0, 1, 1, 0}}, {"hi", Shape{0, 1, 1, 0}}, {"mode", std::string("reflect")}});
    b.Return(b.Conv(x, b.Const("w", {3, 3, 4, 2})));
  });
}

}  // namespace
}  // namespace tfengine::passes
