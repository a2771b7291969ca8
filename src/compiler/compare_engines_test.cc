// SPDX-License-Identifier: Apache-2.0
#include "compiler/compare_engines.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

#include "compiler/accuracy.h"
#include "compiler/engine_impl.h"

namespace tfengine {
namespace {

Tensor Random(std::vector<int64_t> shape, uint32_t seed) {
  Tensor t(DType::kFloat32, std::move(shape));
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < t.num_elements(); ++i) t.mutable_as<float>()[i] = normal(rng);
  return t;
}

// Two layers; the output only views the second one.
Network TwoLayers() {
  auto network = ParseNetwork(R"(network {
    input %x: f32[batch,32]
    const %w1: f32[32,48] @0
    const %w2: f32[48,8] @1
    %a: f32[batch,48] = matmul(%x, %w1) {act="relu"} "a"
    %b: f32[batch,8] = matmul(%a, %w2) {} "b"
    %c: f32[batch,2,4] = reshape(%b) {shape=[batch,2,4]} "c"
    return %c
  })", {std::make_shared<Tensor>(Random({32, 48}, 1)), std::make_shared<Tensor>(Random({48, 8}, 2))});
  EXPECT_TRUE(network.ok()) << network.status().ToString();
  return *std::move(network);
}

std::shared_ptr<EngineImpl> Make(const std::string& precision) {
  Numerics numerics;
  numerics.precision = precision;
  for (const char* name : {"x", "a", "b"}) numerics.ranges[name] = {-4, 4};
  auto engine = EngineImpl::Create(TwoLayers(), numerics, DeviceChoices(), EngineOptions());
  EXPECT_TRUE(engine.ok()) << engine.status().ToString();
  return *std::move(engine);
}

std::vector<InputView> View(const Tensor& t) { return {{t.dtype(), t.shape(), t.data()}}; }

TEST(EngineComparison, FindsNoErrorInTheSameEngine) {
  const auto a = Make("FP32"), b = Make("FP32");
  const Tensor x = Random({5, 32}, 3);
  EngineComparison comparison;
  std::vector<Tensor> out_a, out_b;
  ASSERT_TRUE(comparison.Record(*a, View(x), &out_a).ok());
  ASSERT_TRUE(comparison.Compare(*b, View(x), &out_b).ok());
  for (const char* name : {"x", "a"}) {
    ASSERT_NE(comparison.Find(name), nullptr) << name;
    EXPECT_EQ(comparison.Find(name)->relative_rms(), 0) << name;
  }
  EXPECT_EQ(comparison.Find("a")->count(), 5 * 48);
  EXPECT_EQ(comparison.Find("a")->rows(), 5);
  EXPECT_EQ(comparison.Find("nothing"), nullptr);
  ASSERT_EQ(out_a.size(), 1u);
  ASSERT_EQ(out_b.size(), 1u);
  EXPECT_EQ(out_a[0].shape(), (std::vector<int64_t>{5, 2, 4}));
}

TEST(EngineComparison, ComparesCodesAndHalvesAsReals) {
  const auto exact = Make("FP32");
  for (const char* precision : {"BF16", "INT8"}) {
    const auto reduced = Make(precision);
    EngineComparison comparison;
    for (uint32_t run = 0; run < 3; ++run) {
      const Tensor x = Random({4, 32}, 10 + run);
      ASSERT_TRUE(comparison.Record(*exact, View(x)).ok());
      ASSERT_TRUE(comparison.Compare(*reduced, View(x)).ok());
    }
    const quant::Comparison* a = comparison.Find("a");
    ASSERT_NE(a, nullptr) << precision;
    EXPECT_EQ(a->count(), 3 * 4 * 48);
    // The range of INT8 cuts what lies beyond 4; halves are within a few thousandths.
    EXPECT_LT(a->relative_rms(), std::string(precision) == "BF16" ? 0.01 : 0.7) << precision;
  }
}

TEST(EngineComparison, LeavesOutWhatWasNotRecordedAlike) {
  const auto a = Make("FP32"), b = Make("FP32");
  const Tensor x = Random({5, 32}, 3), fewer = Random({4, 32}, 3);
  EngineComparison comparison;
  ASSERT_TRUE(comparison.Compare(*b, View(x)).ok());
  EXPECT_EQ(comparison.Find("a"), nullptr);
  ASSERT_TRUE(comparison.Record(*a, View(x)).ok());
  ASSERT_TRUE(comparison.Compare(*b, View(fewer)).ok());
  EXPECT_EQ(comparison.Find("a"), nullptr);
}

TEST(GuardAccuracy, SeesOutputsThatOnlyViewALayer) {
  const std::vector<std::vector<Tensor>> samples = {{Random({4, 32}, 7)}};
  Numerics numerics;
  numerics.precision = "INT8";
  for (const char* name : {"x", "a", "b"}) numerics.ranges[name] = {-4, 4};
  AccuracyBudget budget;
  budget.max_error = 1e-6;
  auto report = GuardAccuracy(TwoLayers(), samples, budget, EngineOptions{.threads = 1}, &numerics, nullptr);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->outputs.size(), 1u);
  EXPECT_TRUE(report->within_budget);
  EXPECT_EQ(numerics.limits.size(), 2u);  // both layers are FP32 now
}

TEST(GuardAccuracy, JudgesIndicesByTheirScores) {
  auto network = ParseNetwork(R"(network {
    input %x: f32[batch,32]
    const %w: f32[32,8] @0
    %a: f32[batch,8] = matmul(%x, %w) {} "a"
    %i: i32[batch] = arg_reduce(%a) {axis=1, dtype=3, kind="max"} "i"
    return %i
  })", {std::make_shared<Tensor>(Random({32, 8}, 1))});
  ASSERT_TRUE(network.ok()) << network.status().ToString();
  Numerics numerics;
  numerics.precision = "INT8";
  numerics.ranges["x"] = {-0.1f, 0.1f};  // cuts nearly everything off
  auto report = GuardAccuracy(*network, {{Random({200, 32}, 7)}}, AccuracyBudget(), EngineOptions{.threads = 1}, &numerics, nullptr);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  ASSERT_EQ(report->outputs.size(), 1u);
  EXPECT_EQ(report->outputs[0].name, "a");
  EXPECT_EQ(report->outputs[0].rows, 200);
  EXPECT_EQ(report->raised, 1);
  EXPECT_TRUE(report->within_budget);
}

TEST(ToReals, ReadsEveryFloatingPointTypeAndCodes) {
  std::vector<float> out;
  const double f64[] = {1.5, -2};
  ASSERT_TRUE(ToReals(DType::kFloat64, {}, f64, 2, &out));
  EXPECT_EQ(out, (std::vector<float>{1.5f, -2}));
  const uint16_t f16[] = {0x3e00, 0xc000}, bf16[] = {0x3fc0, 0xc000};
  ASSERT_TRUE(ToReals(DType::kFloat16, {}, f16, 2, &out));
  EXPECT_EQ(out, (std::vector<float>{1.5f, -2}));
  ASSERT_TRUE(ToReals(DType::kBfloat16, {}, bf16, 2, &out));
  EXPECT_EQ(out, (std::vector<float>{1.5f, -2}));
  const uint8_t codes[] = {131, 124};
  ASSERT_TRUE(ToReals(DType::kUint8, {0.5f, 128}, codes, 2, &out));
  EXPECT_EQ(out, (std::vector<float>{1.5f, -2}));
  const uint8_t e4m3[] = {0x44, 0xc8};
  ASSERT_TRUE(ToReals(DType::kFloat8E4m3, {0.5f, 0}, e4m3, 2, &out));
  EXPECT_EQ(out, (std::vector<float>{1.5f, -2}));
  EXPECT_FALSE(ToReals(DType::kUint8, {}, codes, 2, &out));
}

}  // namespace
}  // namespace tfengine
