// SPDX-License-Identifier: Apache-2.0
#include "tfengine/convert.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "api/calibrate_files.h"
#include "api/shape_sets.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "command.h"
#include "flags.h"
#include "progress.h"
#include "quant/range.h"

namespace tfengine::cli {
namespace {

class ConvertCommand : public Command {
 public:
  void DefineFlags(CLI::App& app) override {
    app.add_option("IN", input_, "SavedModel directory")->required();
    app.add_option("OUT", output_, "Directory to write; must not exist")->required();
    DefinePartitionFlags(app, &options_, &exclude_);
    app.add_option(
        "--build-shapes", build_shapes_,
        "Input shapes to tune engines for, e.g. \"x=1x224x224x3,8x224x224x3\"; may be repeated; "
        "without it: batch 1, on GPUs also 32");
    app.add_option("--timing-cache", options_.timing_cache,
                   "File of measured tactics, read and extended");
    app.add_option("--effort", options_.effort, "How long to look for the fastest engine: fast, default or max")
        ->capture_default_str();
    DefineCalibrationFlags(app);
    app.add_option("--threads", options_.threads, "Threads; 0: all CPUs")
        ->check(CLI::NonNegativeNumber);
    app.add_flag("!--no-build", options_.build_engines,
                 "Do not time tactics: faster conversion, slower engines");
    app.add_flag("--json", json_, "Print the report as JSON");
  }

  Status Run() override {
    ApplyExclude(exclude_, &options_);
    TFE_RETURN_IF_ERROR(CheckCalibrationFlags());
    TFE_ASSIGN_OR_RETURN(options_.build_shapes, ParseShapeSets(build_shapes_));
    auto start = std::chrono::steady_clock::now();
    std::vector<std::string> notices;
    Result<ConvertReport> report = [&]() -> Result<ConvertReport> {
      ProgressLine progress;
      options_.progress = progress.callback();
      if (!files_.paths.empty()) TFE_RETURN_IF_ERROR(Calibrate(&notices));
      return ConvertSavedModel(input_, output_, options_);
    }();
    TFE_RETURN_IF_ERROR(report.status());
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (json_) {
      PrintJson(report->json, notices);
      return OkStatus();
    }
    fmt::print("{}\n", report->text);
    for (const std::string& notice : notices) fmt::print("notice: {}\n", Printable(notice));
    fmt::print("wrote {}: {} engine{}, {:.1f} % of compute nodes converted, {:.1f} s\n", output_,
               report->engines, report->engines == 1 ? "" : "s", 100 * report->converted_share,
               seconds.count());
    return OkStatus();
  }

 private:
  void DefineCalibrationFlags(CLI::App& app) {
    auto* calibrate = app.add_option(
        "--calibrate", files_.paths,
        "INT8, FP8: sample data, as tfengine calibrate takes it, which also checks the accuracy; may be repeated");
    auto* method = app.add_option("--calibration-method", calibration_.method, quant::MethodNames())
                       ->capture_default_str();
    auto* table = app.add_option("--calibration-table", options_.calibration_table,
                                 "INT8, FP8: ranges from this table instead; no check of the accuracy");
    table->excludes(calibrate);
    calibration_flags_ = {calibrate, table};
    CLI::Option* need_data[] = {
        method,
        app.add_option("--calibration-percentile", calibration_.percentile,
                       "Of the method percentile")
            ->capture_default_str(),
        app.add_option("--calibration-signature", files_.signature,
                       "Signature to run (default: serving_default, or the only one)"),
        app.add_option("--calibration-batch", files_.batch, "Most samples per run")
            ->capture_default_str()
            ->check(CLI::PositiveNumber),
        app.add_option("--calibration-samples", files_.max_samples, "Stop after this many; 0: all")
            ->capture_default_str()
            ->check(CLI::NonNegativeNumber),
        app.add_option("--save-calibration-table", save_table_, "Also write the ranges to this file"),
        app.add_option("--max-error", options_.max_error,
                       "Most |error| / |output| of any output against FP32, before layers are raised")
            ->capture_default_str()
            ->check(CLI::NonNegativeNumber),
        app.add_option("--max-top1-drop", options_.max_top1_drop,
                       "Most share of rows whose greatest element moves (default: 0.01 for results "
                       "of a softmax, else no limit)")
            ->check(CLI::Range(0.0, 1.0))};
    for (CLI::Option* option : need_data) {
      option->needs(calibrate);
      calibration_flags_.push_back(option);
    }
  }

  Status CheckCalibrationFlags() const {
    const std::string precision = CLI::detail::to_lower(options_.precision);
    if (precision == "int8" || precision == "fp8") return OkStatus();
    for (const CLI::Option* option : calibration_flags_)
      if (option->count() > 0)
        return Error(ErrorId::kBadFlag, "{}: only for --precision INT8 or FP8, got {}", option->get_name(),
                     options_.precision);
    return OkStatus();
  }

  Status Calibrate(std::vector<std::string>* notices) {
    for (const std::string& path : {output_, save_table_})
      if (std::error_code error; !path.empty() && std::filesystem::exists(path, error))
        return Error(ErrorId::kOutputExists, "{} exists already; choose another path or remove it", path);
    if (files_.signature.empty() && options_.signatures.size() == 1)
      files_.signature = options_.signatures[0];
    TFE_ASSIGN_OR_RETURN(options_.calibration,
                         CalibrateOnFiles(input_, options_, calibration_, files_, notices));
    return save_table_.empty() ? OkStatus() : options_.calibration->Save(save_table_);
  }

  static void PrintJson(const std::string& report, const std::vector<std::string>& notices) {
    if (notices.empty()) {
      fmt::print("{}\n", report);
      return;
    }
    auto json = nlohmann::ordered_json::parse(report);
    json["calibration_notices"] = notices;
    fmt::print("{}\n", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  }

  std::string input_, output_, save_table_;
  ConvertOptions options_;
  CalibrationOptions calibration_;
  CalibrationFiles files_;
  std::vector<const CLI::Option*> calibration_flags_;
  std::vector<std::string> exclude_, build_shapes_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewConvertCommand() { return std::make_unique<ConvertCommand>(); }

}  // namespace tfengine::cli
