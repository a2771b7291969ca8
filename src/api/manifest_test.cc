// SPDX-License-Identifier: Apache-2.0
#include "api/manifest.h"

#include <gtest/gtest.h>

#include <random>

namespace tfengine {
namespace {

using Source = Manifest::Source;

Manifest Example() {
  Manifest manifest;
  manifest.tfengine_version = "0.1.0";
  manifest.device = "cpu";
  manifest.precision = "FP32";
  manifest.engines = {{"TRTEngineOp_000_000_0", "assets/a", 7},
                      {"TRTEngineOp_000_001_1", "assets/b", 3}};
  Manifest::Signature whole;
  whole.info = {"serving_default",
                {{"x", DType::kFloat32, {-1, 4}}, {"y", DType::kInt64, {}, false}},
                {{"a", DType::kFloat32, {}}, {"b", DType::kBool, {2}}, {"c", DType::kFloat32, {1}}},
                true,
                ""};
  whole.engines = {0, 1};
  whole.calls = {{0, {{Source::Kind::kInput, 0, 0, ""}, {Source::Kind::kUnread, 0, 0, ""}}},
                 {1, {{Source::Kind::kCall, 0, 1, ""}}}};
  whole.results = {{Source::Kind::kCall, 1, 0, ""},
                   {Source::Kind::kConstant, 0, 0, "assets.extra/c.npy"},
                   {Source::Kind::kInput, 0, 0, ""}};
  whole.defaults = {"", "assets.extra/d.npy"};
  Manifest::Signature native;
  native.info = {"words", {{"w", DType::kString, {-1}}}, {}, false, "1 native node: 1 StringLower"};
  native.defaults = {""};
  manifest.signatures = {whole, native};
  return manifest;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Manifest, RoundTrips) {
  std::string json = Example().ToJson();
  Result<Manifest> read = Manifest::FromJson(json, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->ToJson(), json);
  EXPECT_FALSE(read->signatures[0].info.inputs[1].known_rank);
  EXPECT_EQ(read->signatures[0].calls[1].inputs[0].output, 1);
}

TEST(Manifest, RejectsWhatDoesNotFitTogether) {
  const std::string good = Example().ToJson();
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"\"version\": 1", "\"version\": 2"},
                                                        {"assets/a", "/etc/passwd"},
                                                        {"assets/a", "assets/../../a"},
                                                        {"assets.extra/c.npy", ""},
                                                        {"float32", "float33"},
                                                        {"\"engine\": 1", "\"engine\": 2"},
                                                        {"\"engine\": 1", "\"engine\": -1"},
                                                        {"\"input\": 0", "\"input\": 2"},
                                                        {"\"call\": 0", "\"call\": 1"},  // itself
                                                        {"\"output\": 1", "\"output\": -1"},
                                                        {"\"whole\": true", "\"whole\": 1"},
                                                        {"\"results\"", "\"result\""},
                                                        {"-1", "-2"}}) {
    Result<Manifest> read = Manifest::FromJson(Replaced(good, from, to), "m");
    EXPECT_EQ(read.status().error_id(), 503) << from << " -> " << to;
    EXPECT_EQ(read.status().message().find('\n'), std::string::npos);
  }
}

TEST(Manifest, SurvivesRandomDamage) {
  const std::string good = Example().ToJson();
  unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 2000; ++i) {
    std::string bad = good;
    for (int k = 0; k < 3; ++k) bad[random() % bad.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bad.resize(random() % bad.size());
    Result<Manifest> read = Manifest::FromJson(bad, "m");
    if (!read.ok()) EXPECT_EQ(read.status().error_id(), 503);
  }
}

}  // namespace
}  // namespace tfengine
