// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "api/choose_signature.h"
#include "api/data_batches.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "command.h"
#include "flags.h"
#include "progress.h"
#include "quant/table.h"
#include "tfengine/calibrate.h"
#include "tfengine/model.h"

namespace tfengine::cli {
namespace {

class CalibrateCommand : public Command {
 public:
  void DefineFlags(CLI::App& app) override {
    app.add_option("MODEL", model_, "Converted SavedModel directory")->required();
    app.add_option("--data", data_,
                   "Samples: a .npz file with arrays named after the inputs, a .npy file, or a "
                   "directory of such files; may be repeated")
        ->required();
    app.add_option("--output", output_, "The table to write (JSON)")->required();
    app.add_option("--signature", signature_,
                   "Signature to run (default: serving_default, or the only one)");
    app.add_option("--method", options_.method, quant::MethodNames())->capture_default_str();
    app.add_option("--percentile", options_.percentile, "Of the method percentile")
        ->capture_default_str();
    app.add_flag("--symmetric", options_.symmetric, "Ranges of the form [-x, x]");
    app.add_option("--batch", batch_, "Most samples per run")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--samples", max_samples_, "Stop after this many; 0: all")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--threads", engine_.threads, "Threads; 0: all CPUs")
        ->check(CLI::NonNegativeNumber);
    DefineDeviceFlags(app, &engine_);
    app.add_flag("--json", json_, "Print JSON");
  }

  Status Run() override {
    if (std::error_code error; std::filesystem::exists(output_, error))
      return Error(ErrorId::kOutputExists, "{}: exists; choose another file or remove it", output_);
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, Model::Load(model_, engine_));
    TFE_ASSIGN_OR_RETURN(const SignatureInfo* signature, ChooseSignature(*model, signature_));
    TFE_RETURN_IF_ERROR(RequireWhole(model_, *signature));
    options_.kept_bytes = 0;
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<Calibration> calibration, Calibration::Start(options_));
    std::vector<std::string> notices;
    TFE_RETURN_IF_ERROR(RunData(*model, *signature, &notices));
    TFE_ASSIGN_OR_RETURN(std::string text, calibration->Table(&notices));
    TFE_ASSIGN_OR_RETURN(auto table, quant::CalibrationTable::Parse(text, output_));
    TFE_RETURN_IF_ERROR(table.Save(output_));
    Print(table, *signature, notices);
    return OkStatus();
  }

 private:
  // The engines observe themselves.
  Status RunData(Model& model, const SignatureInfo& signature,
                 std::vector<std::string>* notices) const {
    ProgressLine progress;
    TFE_ASSIGN_OR_RETURN(DataBatches data,
                         DataBatches::Open(data_, signature.inputs, batch_, max_samples_));
    for (TensorMap batch;;) {
      TFE_ASSIGN_OR_RETURN(const bool more, data.Next(&batch));
      if (!more) break;
      TFE_RETURN_IF_ERROR(model.Run(signature.name, batch).status());
      progress.Update("calibrating", data.fraction());
    }
    if (!data.ignored().empty())
      notices->push_back(fmt::format("arrays that are no input were ignored: {}",
                                     fmt::join(data.ignored(), ", ")));
    return OkStatus();
  }

  void Print(const quant::CalibrationTable& table, const SignatureInfo& signature,
             const std::vector<std::string>& notices) const {
    if (json_) {
      nlohmann::ordered_json json = {{"table", output_},
                                     {"signature", signature.name},
                                     {"method", table.method},
                                     {"samples", table.samples},
                                     {"engines", nlohmann::ordered_json::object()},
                                     {"notices", notices}};
      for (const auto& [name, engine] : table.engines)
        json["engines"][name] = {{"values", engine.values.size()}};
      fmt::print("{}\n", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
      return;
    }
    fmt::print("{}, signature {}: {} samples, method {}\n", model_, signature.name, table.samples,
               table.method);
    for (const auto& [name, engine] : table.engines)
      fmt::print("  {}: {} values\n", name, engine.values.size());
    for (const std::string& notice : notices) fmt::print("notice: {}\n", Printable(notice));
    fmt::print("written to {}\n", output_);
  }

  std::string model_, output_, signature_;
  std::vector<std::string> data_;
  CalibrationOptions options_;
  EngineOptions engine_;
  int64_t batch_ = 16, max_samples_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewCalibrateCommand() { return std::make_unique<CalibrateCommand>(); }

}  // namespace tfengine::cli
