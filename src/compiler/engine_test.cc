// SPDX-License-Identifier: Apache-2.0
#include "compiler/engine_impl.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <random>
#include <thread>

#include "backends/ref/ref.h"
#include "base/errors.h"
#include "compiler/batching.h"
#include "compiler/build.h"

namespace tfengine {
namespace {

std::shared_ptr<const Tensor> RandomF32(std::vector<int64_t> shape, uint32_t seed) {
  auto t = std::make_shared<Tensor>(DType::kFloat32, std::move(shape));
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 0.5f);
  for (int64_t i = 0; i < t->num_elements(); ++i) t->mutable_as<float>()[i] = normal(rng);
  return t;
}

Network Parse(const std::string& text, const std::vector<std::shared_ptr<const Tensor>>& constants = {}) {
  auto network = ParseNetwork(text, constants);
  EXPECT_TRUE(network.ok()) << network.status().ToString();
  return std::move(network).value();
}

// A small residual CNN: every way an executable binds memory (arena, in place, alias, baked weights) occurs in it.
Network SmallCnn() {
  return Parse(R"(network {
    input %x: f32[batch,13,11,3]
    const %w1: f32[3,3,3,16] @0
    const %b1: f32[16] @1
    const %w2: f32[1,1,16,16] @2
    const %w3: f32[80,7] @3
    %c1: f32[batch,13,11,16] = conv2d(%x, %w1, %b1) {act="relu", pads=[1,1,1,1]} "c1"
    %c2: f32[batch,13,11,16] = conv2d(%c1, %w2, _, %c1) {} "c2"
    %p: f32[batch,6,5,16] = pool(%c2) {kind="max", ksize=[2,2], strides=[2,2]} "p"
    %m: f32[batch,5,16] = reduce(%p) {axes=[1], kind="mean"} "m"
    %f: f32[batch,80] = reshape(%m) {shape=[batch,80]} "f"
    %d: f32[batch,7] = matmul(%f, %w3) {} "d"
    %s: f32[batch,7] = softmax(%d) {} "s"
    return %s, %f
  })",
               {RandomF32({3, 3, 3, 16}, 1), RandomF32({16}, 2), RandomF32({1, 1, 16, 16}, 3), RandomF32({80, 7}, 4)});
}

void ExpectClose(const Tensor& got, const Tensor& want, const std::string& what) {
  ASSERT_EQ(got.shape(), want.shape()) << what;
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  for (int64_t i = 0; i < want.num_elements(); ++i)
    ASSERT_NEAR(got.as<float>()[i], want.as<float>()[i], 1e-5 * (1 + std::fabs(want.as<float>()[i]))) << what << " at " << i;
}

TEST(Engine, EqualsTheReferenceForEveryBatchAndWayToCutIt) {
  const Network network = SmallCnn();
  ASSERT_TRUE(AnalyzeBatch(network).separable);
  struct Cut {
    int micro_batch;
    bool parallel;
  };
  for (Cut cut : {Cut{0, false}, Cut{1, false}, Cut{2, false}, Cut{1, true}, Cut{2, true}}) {
    DeviceChoices choices;
    choices.at.push_back({{}, {}, cut.micro_batch, cut.parallel});
    EngineOptions options;
    options.threads = 2;
    auto engine = EngineImpl::Create(network, Numerics(), choices, options);
    ASSERT_TRUE(engine.ok());
    for (int64_t batch : {1, 2, 3, 5, 8}) {
      const Tensor x = *RandomF32({batch, 13, 11, 3}, static_cast<uint32_t>(batch));
      auto want = ref::Execute(network, {x});
      auto got = static_cast<Engine&>(**engine).Run({x});
      ASSERT_TRUE(want.ok()) << want.status().ToString();
      ASSERT_TRUE(got.ok()) << got.status().ToString();
      for (size_t i = 0; i < want->size(); ++i)
        ExpectClose((*got)[i], (*want)[i], fmt::format("batch {} micro {} parallel {} output {}", batch, cut.micro_batch, cut.parallel, i));
    }
  }
}

TEST(Engine, OutputsMayBeInputsConstantsReshapesAndEachOther) {
  const Network network = Parse(R"(network {
    input %x: f32[batch,6]
    const %c: f32[2] @0
    %r: f32[batch,2,3] = reshape(%x) {shape=[batch,2,3]} "r"
    %y: f32[batch,6] = binary(%x, %x) {kind="mul"} "y"
    %z: f32[batch,6] = unary(%y) {kind="neg"} "z"
    %t: f32[batch,3,2] = reshape(%z) {shape=[batch,3,2]} "t"
    return %x, %r, %c, %y, %z, %t, %z
  })",
                              {RandomF32({2}, 9)});
  EXPECT_FALSE(AnalyzeBatch(network).separable);  // the constant has no batch
  auto engine = EngineImpl::Create(network, Numerics(), DeviceChoices(), EngineOptions());
  ASSERT_TRUE(engine.ok());
  const Tensor x = *RandomF32({4, 6}, 3);
  auto want = ref::Execute(network, {x});
  auto got = static_cast<Engine&>(**engine).Run({x});
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  for (size_t i = 0; i < want->size(); ++i) ExpectClose((*got)[i], (*want)[i], fmt::format("output {}", i));
}

// Engine against reference for one network text, at batches 1 and 3.
void ExpectEqualsReference(const std::string& text, const std::vector<std::vector<int64_t>>& sample_shapes,
                           const std::vector<std::shared_ptr<const Tensor>>& constants = {}) {
  const Network network = Parse(text, constants);
  auto engine = EngineImpl::Create(network, Numerics(), DeviceChoices(), EngineOptions());
  ASSERT_TRUE(engine.ok());
  for (int64_t batch : {1, 3}) {
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < sample_shapes.size(); ++i) {
      std::vector<int64_t> shape = sample_shapes[i];
      shape.insert(shape.begin(), batch);
      const DType dtype = network.value(network.inputs()[i]).dtype;
      if (dtype == DType::kBool) {
        inputs.emplace_back(dtype, shape);
        for (int64_t k = 0; k < inputs.back().num_elements(); ++k) inputs.back().mutable_as<bool>()[k] = k % 3 != 0;
      } else {
        inputs.push_back(*RandomF32(shape, static_cast<uint32_t>(10 * batch + static_cast<int64_t>(i))));
      }
    }
    auto want = ref::Execute(network, inputs);
    auto got = static_cast<Engine&>(**engine).Run(inputs);
    ASSERT_TRUE(want.ok()) << want.status().ToString();
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    for (size_t i = 0; i < want->size(); ++i) ExpectClose((*got)[i], (*want)[i], fmt::format("batch {} output {}", batch, i));
  }
}

TEST(Engine, AttentionMasksBroadcastAsInTheReference) {
  const std::string head = R"(network {
    input %q: f32[batch,5,2,8]
    input %k: f32[batch,7,2,8]
    input %v: f32[batch,7,2,6]
)";
  const std::vector<std::vector<int64_t>> qkv = {{5, 2, 8}, {7, 2, 8}, {7, 2, 6}};
  ExpectEqualsReference(head + "%y: f32[batch,5,2,6] = attention(%q, %k, %v) {scale=0.35} \"a\"\n" + "return %y\n}", qkv);
  for (const char* mask : {"1,1,7", "1,5,7", "2,5,7", "2,1,7", "1,5,1"}) {
    std::vector<std::vector<int64_t>> shapes = qkv;
    shapes.push_back({mask[0] - '0', mask[2] - '0', mask[4] - '0'});
    for (const char* type : {"f32", "bool"}) {
      SCOPED_TRACE(std::string(type) + " " + mask);
      ExpectEqualsReference(head + "input %m: " + type + "[batch," + mask + "]\n" +
                                "%y: f32[batch,5,2,6] = attention(%q, %k, %v, %m) {scale=0.35, mask_value=-1e9} \"a\"\n" +
                                "return %y\n}",
                            shapes);
    }
  }
}

TEST(Engine, MatmulsOfEveryFormEqualTheReference) {
  ExpectEqualsReference(R"(network {
    input %x: f32[batch,4,9]
    input %y: f32[batch,9,5]
    input %z: f32[batch,5,9]
    const %w: f32[9,6] @0
    const %wt: f32[6,9] @1
    const %b: f32[6] @2
    const %stack: f32[4,9,3] @3
    %a: f32[batch,4,6] = matmul(%x, %w, %b) {act="gelu_erf"} "a"
    %c: f32[batch,4,6] = matmul(%x, %wt, %b, %a) {transpose_b=true} "c"
    %d: f32[batch,4,5] = matmul(%x, %y) {} "d"
    %e: f32[batch,4,5] = matmul(%x, %z, _, %d) {transpose_b=true} "e"
    %f: f32[batch,9,9] = matmul(%y, %z) {} "f"
    %g: f32[batch,9,9] = matmul(%z, %y) {transpose_a=true, transpose_b=true} "g"
    %r: f32[batch,4,1,9] = reshape(%x) {shape=[batch,4,1,9]} "r"
    %h: f32[batch,4,1,3] = matmul(%r, %stack) {} "h"
    return %c, %d, %e, %f, %g, %h
  })",
                        {{4, 9}, {9, 5}, {5, 9}},
                        {RandomF32({9, 6}, 1), RandomF32({6, 9}, 2), RandomF32({6}, 3), RandomF32({4, 9, 3}, 4)});
}

TEST(Engine, TransposedConvolutionEqualsTheReference) {
  ExpectEqualsReference(R"(network {
    input %x: f32[batch,5,4,6]
    const %w: f32[3,3,7,6] @0
    const %b: f32[7] @1
    %y: f32[batch,10,8,7] = conv2d_transpose(%x, %w, %b) {act="relu", strides=[2,2], pads=[0,1,0,1], output_shape=[batch,10,8,7]} "y"
    return %y
  })",
                        {{5, 4, 6}}, {RandomF32({3, 3, 7, 6}, 1), RandomF32({7}, 2)});
}

TEST(Engine, RefusesWrongInputsAndStaysUsable) {
  auto engine = EngineImpl::Create(SmallCnn(), Numerics(), DeviceChoices(), EngineOptions());
  Engine& e = **engine;
  const auto message = [&](const std::vector<Tensor>& in) { return e.Run(in).status().message(); };
  EXPECT_NE(message({}).find("expected 1 inputs, got 0"), std::string::npos);
  EXPECT_NE(message({Tensor(DType::kInt32, {1, 13, 11, 3})}).find("expected float32, got int32"), std::string::npos);
  EXPECT_NE(message({Tensor(DType::kFloat32, {1, 13, 10, 3})}).find("expected shape [-1,13,11,3]"), std::string::npos);
  EXPECT_NE(message({Tensor(DType::kFloat32, {13, 11, 3})}).find("got [13,11,3]"), std::string::npos);
  EXPECT_TRUE(e.Run({*RandomF32({2, 13, 11, 3}, 1)}).ok());
}

TEST(Engine, ServesManyThreadsAndMoreShapesThanItCaches) {
  const Network network = SmallCnn();
  EngineOptions options;
  options.threads = 2;
  options.max_cached_shapes = 2;
  auto engine = EngineImpl::Create(network, Numerics(), DeviceChoices(), options);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const Tensor x = *RandomF32({1 + (t + i) % 5, 13, 11, 3}, static_cast<uint32_t>(t * 100 + i));
        auto want = ref::Execute(network, {x});
        auto got = static_cast<Engine&>(**engine).Run({x});
        for (int64_t k = 0; got.ok() && k < (*want)[0].num_elements(); ++k)
          failures += std::fabs((*got)[0].as<float>()[k] - (*want)[0].as<float>()[k]) > 1e-5;
        failures += !got.ok();
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(failures.load(), 0);
}

TEST(Engine, FileBuildsLoadsAndRebuildsWithoutChoices) {
  const std::string path = (std::filesystem::temp_directory_path() / fmt::format("engine_test_{}", getpid())).string();
  const Network network = SmallCnn();
  BuildOptions build;
  build.shapes = {{{1, 13, 11, 3}}, {{4, 13, 11, 3}}};
  Status status = BuildEngineFile(network, build, path).status();
  ASSERT_TRUE(status.ok()) << status.ToString();
  const Tensor x = *RandomF32({3, 13, 11, 3}, 5);
  auto want = ref::Execute(network, {x});
  for (bool foreign : {false, true}) {
    auto plan = Plan::Load(path);
    ASSERT_TRUE(plan.ok());
    if (!foreign) {  // choices for both batches
      const auto& at = plan->devices.begin()->second.at;
      ASSERT_EQ(at.size(), 2u);
      EXPECT_EQ(at[0].sizes.at("batch"), 1);
      EXPECT_EQ(at[1].sizes.at("batch"), 4);
    }
    if (foreign) plan->devices = {{"another cpu", {{{{{"batch", 4}}, {{"c1", "no such tactic"}}, 3, true}}}}};
    ASSERT_TRUE(plan->Save(path).ok());
    auto engine = Engine::Load(path);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    auto got = (*engine)->Run({x});
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    ExpectClose((*got)[0], (*want)[0], foreign ? "foreign" : "own");
    EXPECT_EQ((*engine)->DescribeJson().find("\"tuned_for_this_device\":true") == std::string::npos, foreign);
  }
  std::filesystem::remove(path);
}

// Blocks of MobileNet: pointwise, depthwise, pointwise with residual.
TEST(Engine, ChainsInStripesEqualSingleLayers) {
  struct Case {
    int stride, kernel, length;
    bool residual;
    const char* precision;
  };
  for (const Case& c : std::initializer_list<Case>{{1, 3, 3, true, "FP32"}, {2, 3, 3, false, "FP32"}, {1, 5, 3, true, "FP32"},
                                                   {2, 3, 2, false, "FP32"}, {1, 3, 3, true, "BF16"}, {1, 3, 3, true, "INT8"},
                                                   {2, 5, 3, false, "INT8"}}) {
    const int pad = c.kernel / 2;
    const std::string text = fmt::format(R"(network {{
      input %x: f32[batch,h,w,8]
      const %w1: f32[1,1,8,48] @0
      const %b1: f32[48] @1
      const %w2: f32[{0},{0},1,48] @2
      const %w3: f32[1,1,48,8] @3
      %in = unary(%x) {{kind="abs"}} "in"
      %e = conv2d(%in, %w1, %b1) {{act="relu6"}} "e"
      %d = conv2d(%e, %w2) {{groups=48, strides=[{1},{1}], pads=[{2},{2},{2},{2}], act="relu6"}} "d"
      %p = conv2d(%d, %w3{3}) "p"
      %y = unary(%p) {{kind="tanh"}} "y"
      return %y
    }})", c.kernel, c.stride, pad, c.residual ? ", _, %in" : "");
    auto parsed = ParseNetwork(text, {RandomF32({1, 1, 8, 48}, 1), RandomF32({48}, 2), RandomF32({c.kernel, c.kernel, 1, 48}, 3), RandomF32({1, 1, 48, 8}, 4)});
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
    Numerics numerics;
    numerics.precision = c.precision;
    numerics.ranges = {{"in", {0, 3}}, {"e", {0, 6}}, {"d", {0, 6}}, {"p", {-20, 20}}};
    DeviceChoices chained;
    chained.at.push_back({{}, {{c.length == 3 ? "e#chain" : "d#chain", std::to_string(c.length)}}, 0, false});
    for (int threads : {1, 3}) {
      EngineOptions options;
      options.threads = threads;
      auto apart = EngineImpl::Create(*parsed, numerics, DeviceChoices(), options);
      auto together = EngineImpl::Create(*parsed, numerics, chained, options);
      ASSERT_TRUE(apart.ok() && together.ok());
      for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1, 9, 7, 8}, {2, 57, 40, 8}, {7, 112, 33, 8}, {1, 1, 1, 8}, {1, 3, 200, 8}}) {
        const Tensor x = *RandomF32(shape, 9);
        auto want = static_cast<Engine&>(**apart).Run({x}), got = static_cast<Engine&>(**together).Run({x});
        ASSERT_TRUE(want.ok() && got.ok()) << got.status().ToString();
        for (int64_t i = 0; i < (*want)[0].num_elements(); ++i)
          ASSERT_EQ((*got)[0].as<float>()[i], (*want)[0].as<float>()[i])
              << c.precision << " stride " << c.stride << " kernel " << c.kernel << " length " << c.length << " threads " << threads
              << " shape " << ShapeToString(shape) << " at " << i;
      }
      // The chain is really one step.
      const Tensor x = *RandomF32({1, 9, 7, 8}, 9);
      auto profile = (*together)->ProfileJson({{x.dtype(), x.shape(), x.data()}});
      ASSERT_TRUE(profile.ok());
      EXPECT_NE(profile->find("stripes"), std::string::npos) << c.precision;
    }
  }
}

TEST(Engine, PoolingBehindAConvolutionEqualsSingleLayers) {
  struct Case {
    int kernel, stride, channels, window, pool_stride, pool_pad;
    const char* kind;
    bool residual;
    const char* precision;
  };
  for (const Case& c : std::initializer_list<Case>{{7, 2, 3, 3, 2, 1, "max", false, "FP32"}, {5, 1, 8, 2, 2, 0, "max", false, "FP32"},
                                                   {3, 1, 3, 3, 1, 1, "avg", true, "FP32"}, {1, 1, 3, 2, 3, 0, "max", true, "FP32"},
                                                   {5, 1, 3, 2, 2, 0, "max", false, "BF16"}, {3, 1, 3, 3, 2, 0, "avg", true, "BF16"},
                                                   {5, 1, 3, 2, 2, 0, "max", false, "INT8"}, {3, 1, 8, 3, 2, 1, "max", false, "INT8"}}) {
    const std::string text = fmt::format(R"(network {{
      input %x: f32[batch,h,w,{0}]
      const %w1: f32[{1},{1},{0},24] @0
      const %b1: f32[24] @1
      const %w0: f32[{1},{1},{0},24] @2
      %in = unary(%x) {{kind="abs"}} "in"
      {2}
      %c = conv2d(%in, %w1, %b1{3}) {{act="relu", strides=[{4},{4}], pads=[{5},{5},{5},{5}]}} "c"
      %p = pool(%c) {{kind="{6}", ksize=[{7},{7}], strides=[{8},{8}], pads=[{9},{9},{9},{9}]}} "p"
      %y = unary(%p) {{kind="tanh"}} "y"
      return %y
    }})", c.channels, c.kernel, c.residual ? fmt::format("%r = conv2d(%in, %w0) {{strides=[{0},{0}], pads=[{1},{1},{1},{1}]}} \"r\"", c.stride, c.kernel / 2) : "",
                                         c.residual ? ", %r" : "", c.stride, c.kernel / 2, c.kind, c.window, c.pool_stride, c.pool_pad);
    auto parsed = ParseNetwork(text, {RandomF32({c.kernel, c.kernel, c.channels, 24}, 1), RandomF32({24}, 2), RandomF32({c.kernel, c.kernel, c.channels, 24}, 3)});
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString() << text;
    Numerics numerics;
    numerics.precision = c.precision;
    numerics.ranges = {{"in", {0, 3}}, {"r", {-20, 20}}, {"c", {0, 20}}, {"p", {0, 20}}};
    DeviceChoices chained;
    chained.at.push_back({{}, {{"c#chain", "2"}}, 0, false});
    for (int threads : {1, 3}) {
      EngineOptions options;
      options.threads = threads;
      auto apart = EngineImpl::Create(*parsed, numerics, DeviceChoices(), options);
      auto together = EngineImpl::Create(*parsed, numerics, chained, options);
      ASSERT_TRUE(apart.ok() && together.ok());
      for (const auto& [n, h, w] : {std::array<int64_t, 3>{1, 9, 7}, {2, 57, 40}, {7, 112, 33}, {1, 5, 5}, {1, 11, 400}, {23, 14, 14}}) {
        const Tensor x = *RandomF32({n, h, w, c.channels}, 9);
        auto want = static_cast<Engine&>(**apart).Run({x}), got = static_cast<Engine&>(**together).Run({x});
        ASSERT_TRUE(want.ok() && got.ok()) << got.status().ToString();
        // Winograd's rounding depends on where its tiles begin.
        const float tolerance = c.channels >= 8 && std::string_view(c.precision) == "FP32" ? 5e-5f : 0;
        for (int64_t i = 0; i < (*want)[0].num_elements(); ++i)
          ASSERT_NEAR((*got)[0].as<float>()[i], (*want)[0].as<float>()[i], tolerance)
              << c.precision << " kernel " << c.kernel << " window " << c.window << " threads " << threads << " shape " << n << " " << h << " " << w << " at " << i;
      }
      const Tensor x = *RandomF32({1, 9, 7, c.channels}, 9);
      auto profile = (*together)->ProfileJson({{x.dtype(), x.shape(), x.data()}});
      ASSERT_TRUE(profile.ok());
      EXPECT_NE(profile->find("pooled"), std::string::npos) << c.precision << " kernel " << c.kernel;
    }
  }
}

// EfficientNet's blocks meet with two pointwise convolutions before a depthwise one: no chain of stripes, whatever a file says.
TEST(Engine, ChainNeedsTheDepthwiseLayerBetweenThePointwiseOnes) {
  auto parsed = ParseNetwork(R"(network {
    input %x: f32[batch,9,7,8]
    const %w1: f32[1,1,8,16] @0
    const %w2: f32[1,1,16,48] @1
    const %w3: f32[3,3,1,48] @2
    %a = conv2d(%x, %w1) "a"
    %b = conv2d(%a, %w2) "b"
    %y = conv2d(%b, %w3) {groups=48, strides=[2,2], pads=[1,1,1,1]} "y"
    return %y
  })", {RandomF32({1, 1, 8, 16}, 1), RandomF32({1, 1, 16, 48}, 2), RandomF32({3, 3, 1, 48}, 3)});
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  DeviceChoices chained;
  chained.at.push_back({{}, {{"a#chain", "3"}}, 0, false});
  auto engine = EngineImpl::Create(*parsed, Numerics(), chained, EngineOptions());
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  const Tensor x = *RandomF32({2, 9, 7, 8}, 9);
  auto want = ref::Execute(*parsed, {x});
  auto got = static_cast<Engine&>(**engine).Run({x});
  ASSERT_TRUE(want.ok() && got.ok());
  ExpectClose((*got)[0], (*want)[0], "chain");
}

TEST(AnalyzeBatch, SaysNoWhenSamplesMix) {
  EXPECT_FALSE(AnalyzeBatch(Parse(R"(network {
    input %x: f32[batch,6]
    %m: f32[6] = reduce(%x) {axes=[0], kind="mean"} "m"
    %y: f32[batch,6] = binary(%x, %m) {kind="sub"} "y"
    return %y
  })")).separable);
  EXPECT_FALSE(AnalyzeBatch(Parse(R"(network {
    input %x: f32[batch,6]
    %y: f32[6,batch] = transpose(%x) {perm=[1,0]} "y"
    return %y
  })")).separable);
}

}  // namespace
}  // namespace tfengine
