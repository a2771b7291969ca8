// SPDX-License-Identifier: Apache-2.0
#include "tfengine/c_api.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>

namespace {

// Takes the error; its message, or "".
std::string Message(tfengine_error* error) {
  if (error == nullptr) return "";
  std::string message = tfengine_error_message(error);
  tfengine_error_free(error);
  return message;
}

TEST(CApi, OptionsStartWithDefaults) {
  tfengine_convert_options options;
  tfengine_convert_options_init(&options);
  EXPECT_EQ(options.struct_size, sizeof(options));
  EXPECT_EQ(options.minimum_segment_size, 3);
  EXPECT_EQ(options.build_engines, 1);
  EXPECT_EQ(options.tags, nullptr);
}

TEST(CApi, ErrorsHaveNumbersAndText) {
  tfengine_error* error = tfengine_convert("/no/such/model", "/no/such/output", nullptr, nullptr);
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(tfengine_error_id(error), 101);
  EXPECT_NE(Message(error).find("E-0101 not-found: /no/such/model"), std::string::npos);
  EXPECT_NE(Message(tfengine_explain("/no/such/model", nullptr, nullptr)).find("E-0101"),
            std::string::npos);
  tfengine_model* model = nullptr;
  EXPECT_NE(Message(tfengine_model_load("/no/such/model", 0, &model)).find("E-0101"),
            std::string::npos);
  EXPECT_EQ(model, nullptr);
}

TEST(CApi, MissingArgumentsAreErrors) {
  EXPECT_NE(Message(tfengine_convert(nullptr, "out", nullptr, nullptr)).find("input_dir"),
            std::string::npos);
  EXPECT_NE(Message(tfengine_convert("in", nullptr, nullptr, nullptr)).find("output_dir"),
            std::string::npos);
  EXPECT_NE(Message(tfengine_explain(nullptr, nullptr, nullptr)).find("input_dir"),
            std::string::npos);
  EXPECT_NE(Message(tfengine_model_load("in", 0, nullptr)).find("model"), std::string::npos);
  EXPECT_NE(Message(tfengine_model_run(nullptr, "s", nullptr, 0, nullptr)).find("model"),
            std::string::npos);
}

TEST(CApi, OptionsAreChecked) {
  tfengine_convert_options options{};
  EXPECT_NE(Message(tfengine_explain("in", &options, nullptr)).find("struct_size"),
            std::string::npos);
  tfengine_convert_options_init(&options);
  options.build_shapes = "x=1xfour";
  EXPECT_NE(Message(tfengine_explain("in", &options, nullptr)).find("1xfour"), std::string::npos);
  tfengine_convert_options_init(&options);
  options.precision = "INT4";
  EXPECT_NE(Message(tfengine_explain("in", &options, nullptr)).find("E-0703"), std::string::npos);
}

TEST(CApi, OptionsOfOlderProgramsHaveDefaults) {
  tfengine_convert_options options;
  std::memset(&options, 0xff, sizeof(options));
  const size_t older = offsetof(tfengine_convert_options, calibration_data);
  tfengine_convert_options_init_sized(&options, older);
  EXPECT_EQ(options.struct_size, older);
  EXPECT_EQ(reinterpret_cast<const unsigned char*>(&options)[older], 0xff);  // not theirs to write
  EXPECT_NE(Message(tfengine_explain("/no/such/model", &options, nullptr)).find("E-0101"),
            std::string::npos);
  options.struct_size = older - 8;
  EXPECT_NE(Message(tfengine_explain("in", &options, nullptr)).find("struct_size"),
            std::string::npos);
  options.struct_size = sizeof(options) + 8;
  EXPECT_NE(Message(tfengine_explain("in", &options, nullptr)).find("struct_size"),
            std::string::npos);
}

TEST(CApi, CalibrationTakesDataOrATable) {
  tfengine_convert_options options;
  tfengine_convert_options_init(&options);
  EXPECT_EQ(options.max_error, 0.1);
  EXPECT_EQ(options.max_top1_drop, -1);
  options.precision = "INT8";
  options.calibration_data = "/no/such/data.npz";
  EXPECT_NE(Message(tfengine_convert("in", "/no/such/out", &options, nullptr)).find("data.npz"),
            std::string::npos);
  options.calibration_table = "table.json";
  EXPECT_NE(Message(tfengine_convert("in", "/no/such/out", &options, nullptr)).find("one of the two"),
            std::string::npos);
}

TEST(CApi, FreeTakesNull) {
  tfengine_error_free(nullptr);
  tfengine_report_free(nullptr);
  tfengine_model_free(nullptr);
  tfengine_outputs_free(nullptr);
}

}  // namespace
