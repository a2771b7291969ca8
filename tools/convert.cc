// SPDX-License-Identifier: Apache-2.0
#include "tfengine/convert.h"

#include <fmt/format.h>

#include <chrono>

#include "api/shape_sets.h"
#include "base/status_macros.h"
#include "command.h"
#include "flags.h"
#include "progress.h"

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
        "Input shapes to tune engines for, e.g. \"x=1x224x224x3,8x224x224x3\"; may be repeated");
    app.add_option("--timing-cache", options_.timing_cache,
                   "File of measured tactics, read and extended");
    app.add_option("--calibration-table", options_.calibration_table,
                   "Ranges for INT8: a table that tfengine calibrate wrote");
    app.add_option("--threads", options_.threads, "Threads; 0: all CPUs")
        ->check(CLI::NonNegativeNumber);
    app.add_flag("!--no-build", options_.build_engines,
                 "Do not time tactics: faster conversion, slower engines");
    app.add_flag("--json", json_, "Print the report as JSON");
  }

  Status Run() override {
    ApplyExclude(exclude_, &options_);
    TFE_ASSIGN_OR_RETURN(options_.build_shapes, ParseShapeSets(build_shapes_));
    auto start = std::chrono::steady_clock::now();
    Result<ConvertReport> report = [&] {
      ProgressLine progress;
      options_.progress = progress.callback();
      return ConvertSavedModel(input_, output_, options_);
    }();
    TFE_RETURN_IF_ERROR(report.status());
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (json_) {
      fmt::print("{}\n", report->json);
    } else {
      fmt::print("{}\nwrote {}: {} engine{}, {:.1f} % of compute nodes converted, {:.1f} s\n",
                 report->text, output_, report->engines, report->engines == 1 ? "" : "s",
                 100 * report->converted_share, seconds.count());
    }
    return OkStatus();
  }

 private:
  std::string input_, output_;
  ConvertOptions options_;
  std::vector<std::string> exclude_, build_shapes_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewConvertCommand() { return std::make_unique<ConvertCommand>(); }

}  // namespace tfengine::cli
