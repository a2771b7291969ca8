// SPDX-License-Identifier: Apache-2.0
#include "quant/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <thread>

#include "base/errors.h"
#include "quant/calibrator.h"

namespace tfengine::quant {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

CalibrationTable Example() {
  CalibrationTable table;
  table.method = "entropy";
  table.samples = 128;
  table.engines["e"] = {"crc32c:00000001",
                        {{"a \"b\"", {.lo = -0.1f, .hi = 5.3f, .min = -0.2f, .max = 1e30f, .method = "entropy", .count = 9, .nan = 1, .inf = 2}},
                         {"c", {.lo = 0, .hi = 0}}}};
  return table;
}

TEST(CalibrationTable, SurvivesSavingAndLoading) {
  const std::string path = ::testing::TempDir() + "table.json";
  ASSERT_TRUE(Example().Save(path).ok());
  Result<CalibrationTable> loaded = CalibrationTable::Load(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  EXPECT_EQ(*loaded, Example());
  EXPECT_FALSE(std::ifstream(path + ".partial").good());
  EXPECT_THAT(Example().ToJson(), HasSubstr("\"hi\": 5.3,"));
  std::remove(path.c_str());
}

TEST(CalibrationTable, TakesEntriesWrittenByHand) {
  Result<CalibrationTable> table = CalibrationTable::Parse(
      R"({"format": 1, "engines": {"e": {"values": {"a": {"lo": -1, "hi": 2.5}}}}})", "t.json");
  ASSERT_TRUE(table.ok()) << table.status().ToString();
  EXPECT_EQ(table->engines["e"].values["a"].method, "manual");
  EXPECT_EQ(table->engines["e"].values["a"].hi, 2.5f);
}

TEST(CalibrationTable, SaysWhatIsWrongWithAFile) {
  auto value = [](const std::string& entry) {
    return R"({"format": 1, "engines": {"e": {"values": {"a": )" + entry + "}}}}";
  };
  const struct {
    std::string text;
    std::vector<std::string> expected;
  } cases[] = {
      {"", {"t.json", "\"format\": 1"}},
      {"[1]", {"JSON object"}},
      {R"({"engines": {}})", {"\"format\": 1"}},
      {R"({"format": 2, "engines": {}})", {"format: expected 1, got 2", "this version"}},
      {R"({"format": 1})", {"engines: expected an object, got nothing"}},
      {R"({"format": 1, "engines": []})", {"engines: expected an object, got []"}},
      {R"({"format": 1, "engines": {}, "sample": 3})", {"sample: expected one of", "samples", "unknown key"}},
      {R"({"format": 1, "engines": {"e": 3}})", {"engine \"e\": expected an object, got 3"}},
      {R"({"format": 1, "engines": {"e": {}}})", {"engine \"e\": values: expected an object"}},
      {value("[]"), {"value \"a\": expected an object"}},
      {value(R"({"lo": 0})"), {"value \"a\": hi: expected a number, got nothing"}},
      {value(R"({"lo": 0, "hi": "3"})"), {"hi: expected a finite number, got \"3\""}},
      {value(R"({"lo": 0, "hi": 1e300})"), {"hi: expected a finite number"}},
      {value(R"({"lo": 1, "hi": 2})"), {"expected lo <= 0 <= hi, got lo = 1, hi = 2"}},
      {value(R"({"lo": 0, "hi": 2, "min": 3, "max": 2})"), {"min <= max"}},
      {value(R"({"lo": 0, "hi": 2, "count": -3})"), {"count: expected a whole number"}},
      {value(R"({"lo": 0, "hi": 2, "method": "best"})"), {"method: expected one of manual, entropy", "\"best\""}},
      {value(R"({"lo": 0, "hi": 2, "high": 2})"), {"high: expected one of", "unknown key"}},
  };
  for (const auto& c : cases) {
    const Status status = CalibrationTable::Parse(c.text, "t.json").status();
    EXPECT_EQ(status.error_id(), static_cast<int>(ErrorId::kCalibrationInvalid)) << c.text;
    for (const std::string& part : c.expected) EXPECT_THAT(status.message(), HasSubstr(part)) << c.text;
  }
  EXPECT_EQ(CalibrationTable::Load("/nowhere/t.json").status().error_id(), static_cast<int>(ErrorId::kFileMissing));
  EXPECT_EQ(Example().Save("/nowhere/t.json").error_id(), static_cast<int>(ErrorId::kOutputUnwritable));
}

TEST(CalibrationTable, IsCheckedAgainstAnEngine) {
  const CalibrationTable table = Example();
  EXPECT_THAT(CheckCalibration(table, "e", "crc32c:00000001", {"a \"b\"", "c"}), IsEmpty());
  EXPECT_THAT(CheckCalibration(table, "f", "crc32c:00000001", {}), ElementsAre(HasSubstr("no ranges for this engine")));
  EXPECT_THAT(CheckCalibration(table, "e", "crc32c:00000002", {"c", "d1", "d2", "d3", "d4", "d5", "d6"}),
              ElementsAre(HasSubstr("another network"),
                          AllOf(HasSubstr("6 values have no"), HasSubstr("d1, d2, d3, d4, d5 and 1 more")),
                          HasSubstr("1 values that the network does not: a \"b\"")));
  EXPECT_EQ(Fingerprint("123456789"), "crc32c:e3069283");
}

TEST(Calibrator, MakesTheEnginesPartOfTheTable) {
  Calibrator calibrator;
  std::vector<float> ramp(10'000);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i) / 1000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int k = 0; k < 10; ++k) calibrator.Observe(k % 2 ? "odd" : "even", ramp.data(), 10'000);
    });
  for (std::thread& thread : threads) thread.join();
  calibrator.CountRun(32);
  calibrator.CountRun(8);
  std::vector<std::string> notices;
  Result<EngineCalibration> engine = calibrator.Finish({.method = Method::kMinMax}, &notices);
  ASSERT_TRUE(engine.ok());
  EXPECT_THAT(notices, IsEmpty());
  EXPECT_EQ(calibrator.samples(), 40);
  ASSERT_EQ(engine->values.size(), 2u);
  EXPECT_EQ(engine->values["odd"].count, 200'000);
  EXPECT_EQ(engine->values["odd"].hi, ramp.back());
  EXPECT_EQ(engine->values["odd"], engine->values["even"]);
  EXPECT_EQ(calibrator.Find("odd")->count(), 200'000);
  EXPECT_EQ(calibrator.Find("none"), nullptr);
}

TEST(Calibrator, ReportsDoubtfulRanges) {
  Calibrator calibrator;
  EXPECT_EQ(calibrator.Finish({}).status().error_id(), static_cast<int>(ErrorId::kCalibrationEmpty));
  const float bad[] = {std::nanf(""), INFINITY}, good[] = {1, 2, 0, std::nanf("")};
  calibrator.Observe("bad", bad, 2);
  calibrator.CountRun(1);
  EXPECT_EQ(calibrator.Finish({}).status().error_id(), static_cast<int>(ErrorId::kCalibrationEmpty));
  calibrator.Observe("good", good, 4);
  std::vector<std::string> notices;
  Result<EngineCalibration> engine = calibrator.Finish({}, &notices);
  ASSERT_TRUE(engine.ok());
  EXPECT_EQ(engine->values.size(), 1u);
  EXPECT_EQ(engine->values["good"].method, "minmax");
  EXPECT_EQ(engine->values["good"].hi, 2);
  EXPECT_EQ(engine->values["good"].nan, 1);
  EXPECT_THAT(notices, ElementsAre(AllOf(HasSubstr("bad: 1 NaN and 1 infinite"), HasSubstr("no range")),
                                   HasSubstr("good: 1 NaN and 0 infinite elements among 4"),
                                   HasSubstr("1 of 1 values have fewer than 256"), HasSubstr("only one batch")));
}

}  // namespace
}  // namespace tfengine::quant
