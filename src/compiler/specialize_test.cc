// SPDX-License-Identifier: Apache-2.0
#include "compiler/specialize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "base/errors.h"
#include "compiler/engine_impl.h"
#include "compiler/work.h"

namespace tfengine {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Tensor> Random(std::vector<int64_t> shape, uint32_t seed) {
  auto t = std::make_shared<Tensor>(DType::kFloat32, std::move(shape));
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 0.4f);
  for (int64_t i = 0; i < t->num_elements(); ++i) t->mutable_as<float>()[i] = normal(rng);
  return t;
}

// The kernels of the CPU, lowered like those of a device: each on a thread of its own.
class SideBySide : public CompileBackend {
 public:
  std::string Fingerprint() const override { return "side by side"; }
  DType half() const override { return cpu_.half(); }
  bool int8() const override { return cpu_.int8(); }
  bool RunsTyped(const Network& network, const Node& node) const override { return cpu_.RunsTyped(network, node); }
  std::vector<std::string> Tactics(const ConcreteNode& node) const override { return cpu_.Tactics(node); }
  Result<Lowered> Lower(const ConcreteNode& node, const std::string& tactic, WeightStore& weights, int threads) const override {
    ++(in_job ? ahead : in_turn);
    if (node.op == refused) return Error(ErrorId::kDeviceUnsupported, "no kernel");
    return cpu_.Lower(node, tactic, weights, threads);
  }
  Result<std::optional<Lowered>> LowerChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>& tactics, const std::string& wish,
                                            WeightStore& weights, int threads) const override {
    ++(in_job ? ahead : in_turn);
    return cpu_.LowerChain(nodes, tactics, wish, weights, threads);
  }
  // Stands for a kernel of several matmuls; nobody runs it.
  std::vector<std::string> JointTactics(const std::vector<ConcreteNode>&) const override { return {"default"}; }
  Result<std::optional<Lowered>> LowerJoint(const std::vector<ConcreteNode>& nodes, const std::string&, WeightStore&) const override {
    ++(in_job ? ahead : in_turn);
    Lowered lowered;
    lowered.kernel = cpu_.Copy(nodes.size() * static_cast<size_t>(nodes[0].outputs[0].num_elements()) * 4);
    lowered.in = {0};
    lowered.tactic = "joint";
    return std::optional<Lowered>(lowered);
  }
  // Stands for a kernel with two results; nobody runs it either.
  Result<std::optional<Lowered>> LowerConverted(const ConcreteNode&, const ConcreteNode&, const std::string&, WeightStore&) const override {
    ++(in_job ? ahead : in_turn);
    if (!converts) return std::optional<Lowered>();
    Lowered lowered;
    lowered.kernel = cpu_.Copy(4);
    lowered.in = {0};
    lowered.tactic = "converted";
    return std::optional<Lowered>(lowered);
  }
  bool views() const override { return cpu_.views(); }
  bool on_host() const override { return on_the_host; }
  void LowerEach(size_t count, FunctionRef<void(size_t)> job) const override {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < count; ++i)
      threads.emplace_back([&, i] {
        in_job = true;
        job(i);
      });
    for (std::thread& thread : threads) thread.join();
  }

  bool on_the_host = false, converts = true;
  Op refused = Op::kTopK;
  mutable std::atomic<int> ahead{0}, in_turn{0};
  static inline thread_local bool in_job = false;

 private:
  const CompileBackend& cpu_ = *FindBackend("cpu");
};

// A chain, joint products, a view, a constant that is known at fixed sizes only, a reshape.
constexpr char kNetwork[] = R"(network {
    input %x: f32[batch,9,7,8]
    const %w1: f32[1,1,8,48] @0
    const %w2: f32[3,3,1,48] @1
    const %w3: f32[48,10] @2
    const %w4: f32[48,10] @3
    const %one: f32[] @4
    %e: f32[batch,9,7,48] = conv2d(%x, %w1) {act="relu6"} "e"
    %d: f32[batch,9,7,48] = conv2d(%e, %w2) {groups=48, pads=[1,1,1,1]} "d"
    %m: f32[batch,48] = reduce(%d) {kind="mean", axes=[1,2]} "m"
    %p: f32[batch,10] = matmul(%m, %w3) {} "p"
    %q: f32[batch,10] = matmul(%m, %w4) {} "q"
    %ones: f32[batch,10] = broadcast(%one) {shape=[batch,10]} "ones"
    %a: f32[batch,10] = binary(%p, %ones) {kind="add"} "a"
    %b: f32[batch,10] = unary(%q) {kind="tanh"} "b"
    %c: f32[batch,20] = concat(%a, %b) {axis=1} "c"
    %r: f32[batch,4,5] = reshape(%c) {shape=[batch,4,5]} "r"
    %s: f32[batch,4,5] = unary(%r) {kind="sigmoid"} "s"
    return %s
  })";

Network TestNetwork() {
  auto network = ParseNetwork(kNetwork, {Random({1, 1, 8, 48}, 1), Random({3, 3, 1, 48}, 2), Random({48, 10}, 3), Random({48, 10}, 4), Random({}, 5)});
  EXPECT_TRUE(network.ok()) << network.status().ToString();
  return std::move(network).value();
}

std::string Describe(const Executable& exe) {
  std::string text = fmt::format("arena {} scratch {} constants {}\n", exe.arena_bytes, exe.scratch_bytes, exe.constants.size());
  auto add = [&](const std::vector<BufferRef>& refs) {
    for (const BufferRef& r : refs) text += fmt::format(" {}:{}+{}", static_cast<int>(r.kind), r.index, r.offset);
  };
  for (const Step& step : exe.steps) {
    text += step.name + " " + step.op + " " + step.tactic + ":";
    add(step.in);
    text += " ->";
    add(step.out);
    text += "\n";
  }
  return text;
}

TEST(Specialize, KernelsThatAreMadeAheadAreThoseOfTheSteps) {
  const Network network = TestNetwork();
  for (const TacticMap& tactics : {TacticMap{}, TacticMap{{"e#chain", "2"}}, TacticMap{{"p#joint", kSeparately}}, TacticMap{{"a#chain", "2"}}}) {
    SideBySide backend, in_turn;
    in_turn.on_the_host = true;
    WeightStore weights, other_weights;
    auto exe = Specialize(network, backend, {3}, tactics, weights, 1), want = Specialize(network, in_turn, {3}, tactics, other_weights, 1);
    ASSERT_TRUE(exe.ok() && want.ok()) << exe.status().ToString() << want.status().ToString();
    EXPECT_EQ(Describe(**exe), Describe(**want));
    EXPECT_EQ(in_turn.ahead, 0);
    EXPECT_EQ(backend.ahead + backend.in_turn, in_turn.in_turn);
    EXPECT_GE(backend.ahead, static_cast<int>((*exe)->steps.size()));
  }
}

TEST(Specialize, StepsKnowWhatTheyMoveAndMultiply) {
  const Network network = TestNetwork();
  for (const bool joined : {true, false}) {
    SideBySide backend;
    WeightStore weights;
    auto exe = Specialize(network, backend, {3}, joined ? TacticMap{{"e#chain", "2"}} : TacticMap{{"p#joint", kSeparately}}, weights, 1);
    ASSERT_TRUE(exe.ok()) << exe.status().ToString();
    auto step = [&](const std::string& name) -> const Step& {
      return *std::find_if((*exe)->steps.begin(), (*exe)->steps.end(), [&](const Step& s) { return s.name == name; });
    };
    auto work = [&](const std::string& name) { return *WorkOf(network, network.UseCounts(), step(name), {3}); };
    const double pixels = 3 * 9 * 7, expand = pixels * 48 * 8 * 2, depthwise = pixels * 48 * 9 * 2;
    if (joined) {
      EXPECT_EQ(work("d").flops, expand + depthwise);
      EXPECT_EQ(work("d").bytes, 4 * (pixels * 8 + 8 * 48 + 9 * 48 + pixels * 48)) << "what is between them is not moved";
      EXPECT_EQ(work("p").flops, 2 * (3 * 10 * 48 * 2)) << Describe(**exe);
      EXPECT_EQ(work("p").bytes, 4 * (3 * 48 + 2 * 48 * 10 + 2 * 3 * 10)) << "one input for both";
    } else {
      EXPECT_EQ(work("e").flops, expand);
      EXPECT_EQ(work("e").bytes, 4 * (pixels * 8 + 8 * 48 + pixels * 48));
      EXPECT_EQ(work("d").flops, depthwise);
      EXPECT_EQ(work("p").bytes, 4 * (3 * 48 + 48 * 10 + 3 * 10));
    }
    EXPECT_EQ(work("s").flops, 0);
    EXPECT_EQ(work("s").bytes, 4 * 2 * 60);
  }
}

// A residual needs the result of the normalisation itself, a product its codes.
TEST(Specialize, ANormalisationAndAConversionOfItsResultAreOneStep) {
  auto network = ParseNetwork(R"(network {
    input %x: f32[batch,6]
    const %g: f32[6] @0
    const %b: f32[6] @1
    const %w: f32[6,6] @2
    const %steps: f32[6] @3
    %t = unary(%x) {kind="tanh"}
    %n = layer_norm(%t, %g, %b, _) {epsilon=0.001}
    %r = reshape(%n) {shape=[1,batch,6]}
    %q = convert(%r) {out=4, out_scale=0.02, out_zero=128}
    %p = matmul(%q, %w, _, _, %steps) {out=1}
    %v = reshape(%p) {shape=[batch,6]}
    %y = binary(%v, %n) {kind="add"}
    return %y
  })", {Random({6}, 1), Random({6}, 2), Random({6, 6}, 3), Random({6}, 4)});
  ASSERT_TRUE(network.ok()) << network.status().ToString();
  for (const bool converts : {true, false}) {
    SideBySide backend, in_turn;
    in_turn.on_the_host = true;
    backend.converts = in_turn.converts = converts;
    WeightStore weights, other_weights;
    auto exe = Specialize(*network, backend, {3}, {}, weights, 1), want = Specialize(*network, in_turn, {3}, {}, other_weights, 1);
    ASSERT_TRUE(exe.ok() && want.ok()) << exe.status().ToString() << want.status().ToString();
    EXPECT_EQ(Describe(**exe), Describe(**want));
    ASSERT_EQ((*exe)->steps.size(), converts ? 4u : 5u) << Describe(**exe);
    const Step& norm = (*exe)->steps[1];
    EXPECT_EQ(norm.tactic == "converted", converts);
    ASSERT_EQ(norm.out.size(), converts ? 2u : 1u);
    if (!converts) continue;
    const BufferRef &real = norm.out[0], &codes = norm.out[1];
    EXPECT_TRUE(real.offset + 72 <= codes.offset || codes.offset + 18 <= real.offset) << Describe(**exe);
    EXPECT_EQ((*exe)->steps[2].in[0].offset, codes.offset);
    EXPECT_EQ(norm.values.size(), 2u);
  }
}

TEST(Specialize, AnErrorAheadIsReportedForItsNode) {
  SideBySide backend;
  backend.refused = Op::kReduce;
  WeightStore weights;
  const auto exe = Specialize(TestNetwork(), backend, {3}, {}, weights, 1);
  ASSERT_FALSE(exe.ok());
  EXPECT_EQ(exe.status().error_id(), static_cast<int>(ErrorId::kDeviceUnsupported));
  EXPECT_THAT(exe.status().ToString(), HasSubstr("m: no kernel"));
}

TEST(JointProducts, DifferInTheirConstantsOnly) {
  auto network = ParseNetwork(R"(network {
    input %x: f32[batch,8]
    input %steps: f32[4]
    const %w1: f32[8,4] @0
    const %w2: f32[8,4] @1
    const %s1: f32[4] @2
    const %s2: f32[4] @3
    %q = convert(%x) {out=4, out_scale=0.1, out_zero=7}
    %a = matmul(%q, %w1, _, _, %s1) {out=1}
    %b = matmul(%q, %w2, _, _, %s2) {out=1}
    %c = matmul(%q, %w2, %s1, _, %s2) {out=1}
    %d = matmul(%q, %w2, _, _, %s2) {out=4, out_scale=0.1, out_zero=7}
    %e = matmul(%x, %w1) {}
    %f = matmul(%q, %w1, _, _, %steps) {out=1}
    return %a, %b, %c, %d, %e, %f
  })", {Random({8, 4}, 1), Random({8, 4}, 2), Random({4}, 3), Random({4}, 4)});
  ASSERT_TRUE(network.ok()) << network.status().ToString();
  EXPECT_THAT(JointProducts(*network, 1), testing::ElementsAre(1, 2));
  for (int alone = 3; alone <= 5; ++alone) EXPECT_THAT(JointProducts(*network, alone), testing::ElementsAre(alone));
}

// Weights that are constants at fixed sizes only: nothing of other sizes may stand for them.
TEST(Specialize, PackedFormsAreOfTheirOwnWeights) {
  auto network = ParseNetwork(R"(network {
    input %x: f32[64,n]
    const %row: f32[1,8] @0
    %w: f32[n,8] = broadcast(%row) {shape=[n,8]} "w"
    %y: f32[64,8] = matmul(%x, %w) {} "y"
    return %y
  })", {Random({1, 8}, 1)});
  ASSERT_TRUE(network.ok()) << network.status().ToString();
  const float* row = network->value(network->nodes()[0].inputs[0]).constant->as<float>();
  EngineOptions options;
  options.max_cached_shapes = 1;
  options.threads = 1;
  auto engine = EngineImpl::Create(*network, Numerics(), DeviceChoices(), options);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  for (int64_t n = 1; n < 400; ++n) {
    Tensor x(DType::kFloat32, {64, n});
    std::fill_n(x.mutable_as<float>(), x.num_elements(), 1.0f);
    const auto got = static_cast<Engine&>(**engine).Run({x});
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    for (int k = 0; k < 8; ++k) ASSERT_NEAR((*got)[0].as<float>()[k], static_cast<float>(n) * row[k], 1e-4 * static_cast<double>(n)) << n;
  }
}

}  // namespace
}  // namespace tfengine
