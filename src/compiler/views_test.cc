// SPDX-License-Identifier: Apache-2.0
#include "compiler/views.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "backends/ref/ref.h"
#include "base/errors.h"
#include "compiler/specialize.h"
#include "compiler/typed.h"
#include "runtime/memory_pool.h"

namespace tfengine {
namespace {

std::shared_ptr<const Tensor> RandomF32(std::vector<int64_t> shape, std::mt19937& rng, float deviation = 0.4f) {
  auto t = std::make_shared<Tensor>(DType::kFloat32, std::move(shape));
  std::normal_distribution<float> normal(0, deviation);
  for (int64_t i = 0; i < t->num_elements(); ++i) t->mutable_as<float>()[i] = normal(rng);
  return t;
}

Network Parse(const std::string& text, const std::vector<std::shared_ptr<const Tensor>>& constants = {}) {
  auto network = ParseNetwork(text, constants);
  EXPECT_TRUE(network.ok()) << network.status().ToString();
  return std::move(network).value();
}

struct RunResult {
  std::shared_ptr<const Executable> exe;
  std::vector<Tensor> outputs;
};

// Runs a network whose memory holds rubbish before, and checks that nothing behind it changes.
RunResult RunOn(const Network& network, const std::vector<Tensor>& inputs, const TacticMap& tactics, bool views, int threads) {
  RunResult result;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<const void*> in;
  for (const Tensor& t : inputs) {
    shapes.push_back(t.shape());
    in.push_back(t.data());
  }
  auto symbols = network.BindSymbols(shapes);
  EXPECT_TRUE(symbols.ok());
  WeightStore weights;
  auto exe = Specialize(network, *FindBackend("cpu"), *symbols, tactics, weights, threads, views);
  EXPECT_TRUE(exe.ok()) << exe.status().ToString();
  if (!exe.ok()) return result;
  result.exe = *exe;
  std::vector<void*> out;
  for (const Executable::Port& p : result.exe->outputs) {
    result.outputs.emplace_back(p.dtype, p.shape);
    std::memset(result.outputs.back().mutable_data(), 0xee, result.outputs.back().num_bytes());
    out.push_back(result.outputs.back().mutable_data());
  }
  constexpr size_t kGuard = 256;
  AlignedBuffer memory(result.exe->memory_bytes() + kGuard);
  char* bytes = static_cast<char*>(memory.data());
  std::memset(bytes, 0x7f, result.exe->memory_bytes() + kGuard);  // a large number in every type
  ThreadPool pool(threads - 1);
  Gang gang(threads, [&](std::function<void()> f) { pool.Schedule(std::move(f)); });
  const Status status = result.exe->Run(in.data(), out.data(), memory.data(), gang);
  EXPECT_TRUE(status.ok()) << status.ToString();
  for (size_t i = 0; i < kGuard; ++i) EXPECT_EQ(bytes[result.exe->memory_bytes() + i], 0x7f);
  return result;
}

int CountSteps(const Executable& exe, const std::string& op) {
  int n = 0;
  for (const Step& step : exe.steps) n += step.op == op;
  return n;
}

int64_t CountInputs(const Executable& exe, const std::string& op) {
  int64_t n = 0;
  for (const Step& step : exe.steps)
    if (step.op == op) n += static_cast<int64_t>(step.in.size());
  return n;
}

// Draws networks of what reads and writes images, with many concats and slices.
class RandomImages {
 public:
  explicit RandomImages(uint32_t seed) : rng_(seed), batch_(network_.dims().Symbol("batch")) {
    const int64_t h = Int(3, 9), w = Int(3, 9);
    Add(network_.AddInput("x", DType::kFloat32, {batch_, Dim(h), Dim(w), Dim(Int(1, 20))}));
    for (int64_t i = Int(6, 22); i > 0; --i) Grow();
    const int64_t outputs = Int(1, 3);
    for (int64_t i = 0; i < outputs; ++i) network_.MarkOutput(i == 0 ? values_.back() : Any());
  }

  Network& network() { return network_; }
  std::mt19937& rng() { return rng_; }
  int64_t Int(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng_); }

 private:
  int64_t Extent(ValueId v, size_t d) const { return network_.value(v).shape[d].value; }
  bool OneIn(int64_t n) { return Int(1, n) == 1; }
  // Later values more often, so that graphs get deep.
  ValueId Any() { return values_[static_cast<size_t>(std::max(Int(0, static_cast<int64_t>(values_.size()) - 1), Int(0, static_cast<int64_t>(values_.size()) - 1)))]; }
  ValueId Constant(std::vector<int64_t> shape) { return network_.AddConstant("c", RandomF32(std::move(shape), rng_)); }
  void Add(ValueId v) { values_.push_back(v); }
  void Add(Op op, std::vector<ValueId> inputs, Attrs attrs) {
    auto v = network_.Add(op, "v", std::move(inputs), std::move(attrs));
    ASSERT_TRUE(v.ok()) << v.status().ToString();
    Add(*v);
  }
  // Values like `like` in all but dim `axis`.
  std::vector<ValueId> Like(ValueId like, size_t axis) {
    std::vector<ValueId> found;
    for (ValueId v : values_) {
      bool same = true;
      for (size_t d = 1; d < 4; ++d) same = same && (d == axis || Extent(v, d) == Extent(like, d));
      if (same) found.push_back(v);
    }
    return found;
  }

  void Grow() {
    const ValueId x = Any();
    const int64_t h = Extent(x, 1), w = Extent(x, 2), c = Extent(x, 3);
    const Shape same = {Dim(1), Dim(1), Dim(1), Dim(1)};
    switch (Int(0, 13)) {
      case 0: case 1: {
        const int64_t out = OneIn(2) ? Int(1, 24) : Int(1, 70);
        const bool wide = OneIn(2);
        Attrs attrs{{"act", std::string(OneIn(2) ? "relu" : OneIn(2) ? "silu" : "none")}};
        if (wide) attrs.Set("pads", same);
        std::vector<ValueId> inputs = {x, wide ? Constant({3, 3, c, out}) : Constant({1, 1, c, out}), OneIn(2) ? kNoValue : Constant({out})};
        std::vector<ValueId> residuals;
        for (ValueId v : Like(x, 3))
          if (Extent(v, 3) == out) residuals.push_back(v);
        if (!residuals.empty() && OneIn(2)) inputs.push_back(residuals[static_cast<size_t>(Int(0, static_cast<int64_t>(residuals.size()) - 1))]);
        return Add(Op::kConv2d, inputs, attrs);
      }
      case 2: {
        if (c < 2) return;
        return Add(Op::kConv2d, {x, Constant({3, 3, 1, c}), Constant({c})}, {{"groups", c}, {"pads", same}, {"act", std::string("relu6")}});
      }
      case 3:
        return Add(Op::kPool, {x}, {{"kind", std::string(OneIn(2) ? "max" : "avg")}, {"ksize", std::vector<int64_t>{3, 3}}, {"strides", std::vector<int64_t>{1, 1}}, {"pads", same}});
      case 4: return Add(Op::kUnary, {x}, {{"kind", std::string(OneIn(2) ? "relu" : OneIn(2) ? "sigmoid" : "neg")}});
      case 5: return Add(Op::kBinary, {x, Constant({c})}, {{"kind", std::string(OneIn(2) ? "mul" : "add")}, {"act", std::string(OneIn(2) ? "relu" : "none")}});
      case 6: {
        std::vector<ValueId> others;
        for (ValueId v : Like(x, 3))
          if (Extent(v, 3) == c || Extent(v, 3) == 1) others.push_back(v);
        return Add(Op::kBinary, {x, others[static_cast<size_t>(Int(0, static_cast<int64_t>(others.size()) - 1))]}, {{"kind", std::string(OneIn(2) ? "mul" : "sub")}});
      }
      case 7: {
        if (c < 2) return;
        const int64_t begin = Int(0, c - 1), size = Int(1, c - begin), top = OneIn(3) ? Int(0, h - 1) : 0;
        return Add(Op::kSlice, {x}, {{"begin", Shape{Dim(0), Dim(top), Dim(0), Dim(begin)}}, {"size", Shape{batch_, Dim(h - top), Dim(w), Dim(size)}},
                                     {"strides", std::vector<int64_t>{1, 1, 1, 1}}});
      }
      case 8: {
        const int64_t out = Int(1, 40);
        auto flat = network_.Add(Op::kReshape, "r", {x}, {{"shape", Shape{batch_, Dim(h * w), Dim(c)}}});
        auto y = network_.Add(Op::kMatMul, "m", {*flat, Constant({c, out}), OneIn(2) ? kNoValue : Constant({out})}, {});
        ASSERT_TRUE(y.ok()) << y.status().ToString();
        return Add(Op::kReshape, {*y}, {{"shape", Shape{batch_, Dim(h), Dim(w), Dim(out)}}});
      }
      case 9:
        if (h * w > 200) return;
        return Add(Op::kResize, {x}, {{"kind", std::string(OneIn(2) ? "nearest" : "bilinear")}, {"half_pixel", true}, {"size", Shape{Dim(OneIn(2) ? h : h + 2), Dim(w)}}});
      default: {
        const size_t axis = OneIn(5) ? static_cast<size_t>(Int(1, 2)) : 3;
        const std::vector<ValueId> candidates = Like(x, axis);
        std::vector<ValueId> inputs = {x};
        for (int64_t i = Int(1, 4); i > 0; --i) inputs.push_back(candidates[static_cast<size_t>(Int(0, static_cast<int64_t>(candidates.size()) - 1))]);
        int64_t total = 0;
        for (ValueId v : inputs) total += Extent(v, axis);
        if (total > (axis == 3 ? 200 : 30)) return;
        return Add(Op::kConcat, inputs, {{"axis", static_cast<int64_t>(axis)}});
      }
    }
  }

  std::mt19937 rng_;
  Network network_;
  Dim batch_;
  std::vector<ValueId> values_;
};

// Ranges wide enough for what a run sees.
Numerics NumericsFor(const Network& network, const std::string& precision, std::mt19937& rng) {
  Numerics numerics;
  numerics.precision = precision;
  if (precision != "INT8") return numerics;
  std::uniform_real_distribution<float> width(0.5f, 6);
  for (const Value& v : network.values()) numerics.ranges[v.name] = {-width(rng), width(rng)};
  return numerics;
}

// Every tactic of a layer is as good as another here.
TacticMap RandomTactics(const Network& network, const std::vector<int64_t>& symbols, std::mt19937& rng) {
  TacticMap tactics;
  for (const Node& node : network.nodes()) {
    auto concrete = MakeConcrete(network, node, symbols, {});
    if (!concrete.ok()) continue;
    const auto names = FindBackend("cpu")->Tactics(*concrete);
    tactics[network.value(node.outputs[0]).name] = names[rng() % names.size()];
    if (rng() % 2) tactics[network.value(node.outputs[0]).name + kChainSuffix] = rng() % 2 ? "2" : "3";
  }
  return tactics;
}

void CheckRandom(const std::string& precision, uint32_t first, uint32_t count) {
  int64_t concats = 0, copied = 0;
  for (uint32_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(fmt::format("{} seed {}", precision, seed));
    RandomImages images(seed);
    if (testing::Test::HasFailure()) return;
    const auto typed = AssignFor(images.network(), NumericsFor(images.network(), precision, images.rng()), *FindBackend("cpu"));
    ASSERT_TRUE(typed.ok()) << typed.status().ToString();
    const Network& network = typed->network;
    std::vector<int64_t> shape = {images.Int(1, 3)};
    for (size_t d = 1; d < 4; ++d) shape.push_back(network.value(network.inputs()[0]).shape[d].value);
    const std::vector<Tensor> inputs = {*RandomF32(shape, images.rng(), 1)};
    const TacticMap tactics = RandomTactics(network, {shape[0]}, images.rng());
    const int threads = static_cast<int>(images.Int(1, 3));
    const RunResult dense = RunOn(network, inputs, tactics, false, threads);
    const RunResult views = RunOn(network, inputs, tactics, true, threads);
    if (testing::Test::HasFailure()) return;
    concats += CountInputs(*dense.exe, "concat");
    copied += CountInputs(*views.exe, "concat");
    for (size_t i = 0; i < dense.outputs.size(); ++i) {
      ASSERT_EQ(std::memcmp(dense.outputs[i].data(), views.outputs[i].data(), dense.outputs[i].num_bytes()), 0)
          << "output " << i << "\n" << PrintNetwork(network);
    }
    if (precision != "FP32") continue;
    const auto want = ref::Execute(network, inputs);
    ASSERT_TRUE(want.ok());
    for (size_t i = 0; i < want->size(); ++i) {
      double scale = 1;
      for (int64_t k = 0; k < (*want)[i].num_elements(); ++k) scale = std::max<double>(scale, std::fabs((*want)[i].as<float>()[k]));
      for (int64_t k = 0; k < (*want)[i].num_elements(); ++k)
        ASSERT_NEAR(views.outputs[i].as<float>()[k], (*want)[i].as<float>()[k], 1e-4 * scale) << "output " << i << " at " << k;
    }
  }
  EXPECT_LT(copied, concats * 3 / 4);
}

TEST(Views, RandomF32NetworksAgreeWithCopiesAndTheReference) { CheckRandom("FP32", 0, 300); }
TEST(Views, RandomBf16NetworksAgreeWithCopies) { CheckRandom("BF16", 1000, 300); }
TEST(Views, RandomInt8NetworksAgreeWithCopies) { CheckRandom("INT8", 2000, 300); }

// A dense block: every layer reads all before it.
Network DenseBlock(int layers, std::mt19937& rng) {
  Network network;
  const Dim batch = network.dims().Symbol("batch");
  ValueId x = network.AddInput("x", DType::kFloat32, {batch, Dim(9), Dim(9), Dim(24)});
  auto add = [&](Op op, std::vector<ValueId> inputs, Attrs attrs) { return *network.Add(op, "v", std::move(inputs), std::move(attrs)); };
  auto constant = [&](std::vector<int64_t> shape) { return network.AddConstant("c", RandomF32(std::move(shape), rng)); };
  int64_t channels = 24;
  x = add(Op::kUnary, {x}, {{"kind", std::string("relu")}});
  for (int i = 0; i < layers; ++i, channels += 12) {
    ValueId y = add(Op::kBinary, {x, constant({channels})}, {{"kind", std::string("mul")}});
    y = add(Op::kConv2d, {y, constant({1, 1, channels, 32}), constant({32})}, {{"act", std::string("relu")}});
    y = add(Op::kConv2d, {y, constant({3, 3, 32, 12})}, {{"pads", Shape{Dim(1), Dim(1), Dim(1), Dim(1)}}});
    x = add(Op::kConcat, {x, y}, {{"axis", int64_t{3}}});
  }
  network.MarkOutput(add(Op::kReduce, {x}, {{"kind", std::string("mean")}, {"axes", std::vector<int64_t>{1, 2}}}));
  return network;
}

TEST(Views, ADenseBlockCopiesNothing) {
  std::mt19937 rng(7);
  const Network network = DenseBlock(6, rng);
  const std::vector<Tensor> inputs = {*RandomF32({2, 9, 9, 24}, rng)};
  const RunResult dense = RunOn(network, inputs, {}, false, 1), views = RunOn(network, inputs, {}, true, 1);
  EXPECT_EQ(CountSteps(*dense.exe, "concat"), 6);
  EXPECT_EQ(CountSteps(*views.exe, "concat"), 0);
  EXPECT_LT(views.exe->arena_bytes, dense.exe->arena_bytes);
  EXPECT_EQ(std::memcmp(dense.outputs[0].data(), views.outputs[0].data(), dense.outputs[0].num_bytes()), 0);
}

// What `text` leaves of concat and slice steps at a batch of `batch`; results must be those of copies.
std::pair<int, int> CopiesOf(const std::string& text, int64_t batch, std::vector<int64_t> sample) {
  std::mt19937 rng(3);
  const Network network = Parse(text);
  sample.insert(sample.begin(), batch);
  const std::vector<Tensor> inputs = {*RandomF32(sample, rng)};
  const RunResult dense = RunOn(network, inputs, {}, false, 1), views = RunOn(network, inputs, {}, true, 1);
  for (size_t i = 0; i < dense.outputs.size(); ++i)
    EXPECT_EQ(std::memcmp(dense.outputs[i].data(), views.outputs[i].data(), dense.outputs[i].num_bytes()), 0) << i;
  return {CountSteps(*views.exe, "concat"), CountSteps(*views.exe, "slice")};
}
using Copies = std::pair<int, int>;

TEST(Views, OutermostConcatsAndSlicesNeedNoKernelThatKnowsThem) {
  const std::string text = R"(network {
    input %x: f32[batch,6,5]
    %s: f32[batch,6,5] = softmax(%x) {} "s"
    %t: f32[batch,6,5] = softmax(%s) {} "t"
    %c: f32[batch,12,5] = concat(%s, %t) {axis=1} "c"
    %l: f32[batch,4,5] = slice(%c) {begin=[0,5,0], size=[batch,4,5], strides=[1,1,1]} "l"
    %y: f32[batch,4,5] = softmax(%l) {} "y"
    return %y
  })";
  EXPECT_EQ(CopiesOf(text, 1, {6, 5}), Copies(0, 0));
  EXPECT_EQ(CopiesOf(text, 2, {6, 5}), Copies(1, 1));  // several pieces of several rows
}

TEST(Views, WhatAKernelCannotReadApartIsCopied) {
  // softmax reads and writes rows that lie together only.
  EXPECT_EQ(CopiesOf(R"(network {
    input %x: f32[batch,6,5]
    %a: f32[batch,6,5] = unary(%x) {kind="neg"} "a"
    %s: f32[batch,6,5] = softmax(%a) {} "s"
    %c: f32[batch,6,10] = concat(%a, %s) {axis=2} "c"
    %l: f32[batch,6,4] = slice(%c) {begin=[0,0,2], size=[batch,6,4], strides=[1,1,1]} "l"
    %y: f32[batch,6,4] = softmax(%l) {} "y"
    %m: f32[batch,6,2] = slice(%c) {begin=[0,0,1], size=[batch,6,2], strides=[1,1,1]} "m"
    %z: f32[batch,6,2] = unary(%m) {kind="exp"} "z"
    return %y, %z
  })",
                     2, {6, 5}),
            Copies(1, 1));
}

TEST(Views, InputsOutputsAndValuesOfTwoConcatsAreCopied) {
  EXPECT_EQ(CopiesOf(R"(network {
    input %x: f32[batch,6,5]
    %a: f32[batch,6,5] = unary(%x) {kind="neg"} "a"
    %b: f32[batch,6,5] = unary(%x) {kind="exp"} "b"
    %c: f32[batch,6,15] = concat(%x, %a, %b) {axis=2} "c"
    %d: f32[batch,6,10] = concat(%b, %b) {axis=2} "d"
    %e: f32[batch,6,5] = unary(%b) {kind="neg"} "e"
    return %a, %c, %d, %e
  })",
                     2, {6, 5}),
            Copies(2, 0));
}

TEST(Views, AResultMayReplaceAWholeConcatButNoPartOfIt) {
  EXPECT_EQ(CopiesOf(R"(network {
    input %x: f32[batch,6,5]
    %a: f32[batch,6,5] = unary(%x) {kind="neg"} "a"
    %b: f32[batch,6,5] = unary(%a) {kind="exp"} "b"
    %n: f32[batch,6,5] = unary(%b) {kind="neg"} "n"
    %c: f32[batch,6,10] = concat(%a, %b) {axis=2} "c"
    %l: f32[batch,6,5] = slice(%c) {begin=[0,0,3], size=[batch,6,5], strides=[1,1,1]} "l"
    %d: f32[batch,6,10] = unary(%c) {kind="exp"} "d"
    %e: f32[batch,6,5] = unary(%l) {kind="neg"} "e"
    %f: f32[batch,6,15] = concat(%d, %e) {axis=2} "f"
    %g: f32[batch,6,15] = unary(%f) {kind="neg"} "g"
    %h: f32[batch,6,5] = binary(%n, %e) {kind="add"} "h"
    return %g, %h
  })",
                     2, {6, 5}),
            Copies(0, 0));
}

}  // namespace
}  // namespace tfengine
