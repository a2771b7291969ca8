// SPDX-License-Identifier: Apache-2.0
// Random networks of what the passes look for, in any combination: the pipeline must keep their numbers.
#include <random>

#include "passes/pipeline.h"
#include "passes/shapes.h"
#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  Network Make(int nodes) {
    pool_ = {b_.Input("x", {b_.batch, 6, 5, 4}), b_.Input("y", {b_.batch, 6, 5, 4})};
    for (int i = 0; i < nodes; ++i) {
      // Mostly the newest value, so that chains grow.
      ValueId x = Pick(3) ? pool_.back() : pool_[Pick(pool_.size())];
      pool_.push_back(Step(x));
    }
    b_.Return(pool_.back());
    b_.Return(pool_[Pick(pool_.size())]);
    b_.net.Compact();
    return std::move(b_.net);
  }

 private:
  size_t Pick(size_t n) { return random_() % n; }
  const Shape& ShapeOf(ValueId x) { return b_.net.value(x).shape; }
  int64_t Last(ValueId x) { return ShapeOf(x).back().value; }

  ValueId Unary(ValueId x) {
    const char* kinds[] = {"relu", "tanh", "neg", "sigmoid", "abs", "relu6", "erf", "hard_sigmoid"};
    return b_.Unary(kinds[Pick(std::size(kinds))], x);
  }

  ValueId WithConstant(ValueId x) {
    const char* kinds[] = {"add", "mul", "sub", "max", "min"};
    const double splats[] = {0, 1, -1, 0.5, 2, 6};
    const char* kind = kinds[Pick(std::size(kinds))];
    std::vector<int64_t> shape(Pick(ShapeOf(x).size() + 1), 1);
    ValueId c;
    if (shape.empty() || Pick(3) == 0) {
      c = b_.Scalar(splats[Pick(std::size(splats))]);
    } else {
      size_t axis = Pick(3) ? shape.size() - 1 : Pick(shape.size());
      Dim dim = ShapeOf(x)[ShapeOf(x).size() - shape.size() + axis];
      shape[axis] = dim.is_const() ? dim.value : 1;
      c = b_.Const("c", shape);
    }
    return Pick(4) ? b_.Binary(kind, x, c) : b_.Binary(kind, c, x);
  }

  // With another value of the same shape, or with itself.
  ValueId WithValue(ValueId x) {
    const char* kinds[] = {"add", "mul", "sub", "max"};
    ValueId y = pool_[Pick(pool_.size())];
    if (ShapeOf(y) != ShapeOf(x)) y = Unary(x);
    return b_.Binary(kinds[Pick(std::size(kinds))], x, y);
  }

  ValueId Convolve(ValueId x) {
    if (ShapeOf(x).size() != 4 || !ShapeOf(x)[1].is_const() || ShapeOf(x)[1].value < 3 || ShapeOf(x)[2].value < 3 ||
        !ShapeOf(x)[2].is_const() || !ShapeOf(x)[3].is_const())
      return MatMul(x);
    int64_t c = Last(x), k = Pick(2) ? 3 : 1, pad = static_cast<int64_t>(Pick(2));
    if (Pick(3) == 0) return b_.Conv(x, b_.Const("w", {k, k, 1, c}, -0.5, 0.5), 1, {pad, pad, 0, pad}, c);
    return b_.Conv(x, b_.Const("w", {k, k, c, 4}, -0.4f, 0.4f), 1, {pad, pad, 0, pad});
  }

  ValueId MatMul(ValueId x) {
    if (!ShapeOf(x).back().is_const() || ShapeOf(x).size() < 2) return Unary(x);
    int64_t k = Last(x), n = Pick(2) ? k : 4;
    return Pick(2) ? b_.MatMul(x, b_.Const("w", {k, n}, -0.5, 0.5))
                   : b_.MatMul(x, b_.Const("w", {n, k}, -0.5, 0.5), false, true);
  }

  ValueId Transpose(ValueId x) {
    std::vector<int64_t> perm;
    for (size_t i = 0; i < ShapeOf(x).size(); ++i) perm.push_back(static_cast<int64_t>(i));
    if (perm.size() == 4 && Pick(2)) {
      perm = Pick(2) ? std::vector<int64_t>{0, 3, 1, 2} : std::vector<int64_t>{0, 2, 3, 1};
    } else {
      std::shuffle(perm.begin() + 1, perm.end(), random_);
    }
    return b_.Transpose(x, perm);
  }

  ValueId Reshape(ValueId x) {
    Shape shape = ShapeOf(x);
    size_t last = shape.size() - 1;
    if (shape.size() > 2 && Pick(2)) {
      size_t axis = Pick(last);
      shape[axis] = b_.net.dims().Mul(shape[axis], shape[axis + 1]);
      shape.erase(shape.begin() + static_cast<int64_t>(axis) + 1);
    } else if (shape.size() < 4 && shape[last].is_const() && shape[last].value % 2 == 0) {
      shape.insert(shape.end() - 1, Dim(2));
      shape.back() = Dim(shape.back().value / 2);
    } else {
      shape = shape.size() < 4 ? WithRank(shape, 4) : Shape{shape[0], shape[1], b_.net.dims().Mul(shape[2], shape[3])};
    }
    return b_.Reshape(x, shape);
  }

  ValueId Pad(ValueId x) {
    Shape lo(ShapeOf(x).size(), Dim(0)), hi = lo;
    size_t axis = Pick(lo.size());
    lo[axis] = Dim(static_cast<int64_t>(Pick(2)));
    hi[axis] = Dim(static_cast<int64_t>(Pick(2)));
    ValueId padded = b_.Do(Op::kPad, {x}, {{"lo", lo}, {"hi", hi}});
    return Pick(2) ? Convolve(padded) : padded;
  }

  ValueId MaxPool(ValueId x) {
    const Shape& shape = ShapeOf(x);
    if (shape.size() != 4 || !shape[1].is_const() || !shape[2].is_const() || shape[1].value < 2 || shape[2].value < 2)
      return Unary(x);
    x = b_.Do(Op::kPad, {Pick(2) ? b_.Unary("relu", x) : x}, {{"lo", Shape{0, 1, 0, 0}}, {"hi", Shape{0, 0, 1, 0}}});
    return b_.Do(Op::kPool, {x}, {{"kind", std::string(Pick(3) ? "max" : "avg")}, {"ksize", std::vector<int64_t>{2, 2}}});
  }

  ValueId Reduce(ValueId x) {
    int64_t axis = static_cast<int64_t>(Pick(ShapeOf(x).size()));
    bool back = Pick(2);
    ValueId y = b_.Reduce(Pick(2) ? "mean" : "max", x, {axis}, true);
    return back ? b_.Broadcast(y, ShapeOf(x)) : b_.Mul(x, y);
  }

  ValueId LayerNorm(ValueId x) {
    int64_t last = static_cast<int64_t>(ShapeOf(x).size()) - 1;
    ValueId mean = b_.Reduce("mean", x, {last}), d = b_.Sub(x, mean);
    ValueId inverse = b_.Unary("rsqrt", b_.Add(b_.Reduce("mean", b_.Unary("square", d), {last}), b_.Scalar(0.1)));
    return Pick(2) ? b_.Mul(d, inverse) : b_.Add(b_.Mul(x, inverse), b_.Mul(b_.Unary("neg", mean), inverse));
  }

  ValueId BatchNorm(ValueId x) {
    if (!ShapeOf(x).back().is_const()) return Unary(x);
    int64_t n = Last(x);
    return b_.Do(Op::kBatchNorm,
                 {x, b_.Const("g", {n}), b_.Const("b", {n}), b_.Const("m", {n}), b_.Const("v", {n}, 0.5, 2)},
                 {{"epsilon", 1e-3}});
  }

  ValueId Activation(ValueId x) {
    switch (Pick(4)) {
      case 0: return b_.Mul(x, b_.Unary("sigmoid", x));
      case 1: return b_.Binary("min", b_.Binary("max", x, b_.Scalar(-0.5)), b_.Scalar(2));
      case 2: return b_.Mul(b_.Scale(x, 0.5), b_.Add(b_.Unary("erf", b_.Scale(x, 0.70710678)), b_.Scalar(1)));
      default: return b_.Mul(x, b_.Scale(b_.Unary("relu6", b_.Add(x, b_.Scalar(3))), 1.0 / 6));
    }
  }

  ValueId SelfAttention(ValueId x) {
    if (ShapeOf(x).size() != 4 || !ShapeOf(x).back().is_const()) return MatMul(x);
    ValueId q = Pick(2) ? b_.Transpose(x, {0, 2, 1, 3}) : x;
    ValueId scores = b_.Scale(b_.MatMul(q, q, false, true), 0.5);
    if (Pick(2)) scores = b_.Add(scores, b_.Scalar(0.25));
    ValueId y = b_.MatMul(b_.Do(Op::kSoftmax, {scores}), q);
    return Pick(2) ? b_.Transpose(y, {0, 2, 1, 3}) : y;
  }

  ValueId Step(ValueId x) {
    switch (Pick(18)) {
      case 0: case 1: return Unary(x);
      case 2: case 3: case 4: return WithConstant(x);
      case 5: case 6: return WithValue(x);
      case 7: case 8: return Convolve(x);
      case 9: return Transpose(x);
      case 10: return Reshape(x);
      case 11: return Pad(x);
      case 12: return MaxPool(x);
      case 13: return Reduce(x);
      case 14: return LayerNorm(x);
      case 15: return BatchNorm(x);
      case 16: return Activation(x);
      default: return SelfAttention(x);
    }
  }

  Builder b_;
  std::vector<ValueId> pool_;
  std::mt19937 random_;
};

TEST(RandomNetworks, KeepTheirNumbersThroughEveryPass) {
  for (uint32_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Network before = Generator(seed).Make(4 + static_cast<int>(seed % 25));
    ASSERT_TRUE(Verify(before).ok());
    Network after = before, again = before;
    PassOptions options{.trace = [](const PassTrace& t) {
                          EXPECT_TRUE(t.status.ok()) << t.name << ": " << t.status.ToString();
                        },
                        .merge_projections = seed % 2 == 0};
    ASSERT_TRUE(RunPasses(after, options).ok());
    ASSERT_TRUE(RunPasses(again, options).ok());
    EXPECT_EQ(PrintNetwork(after), PrintNetwork(again));
    ExpectSameNumbers(before, after, 2e-3);
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << PrintNetwork(before);
      return;
    }
  }
}

}  // namespace
}  // namespace tfengine::passes
