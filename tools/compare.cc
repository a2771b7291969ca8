// SPDX-License-Identifier: Apache-2.0
#include "tfengine/compare.h"

#include <fmt/format.h>

#include "api/choose_signature.h"
#include "api/data_batches.h"
#include "api/manifest.h"
#include "base/status_macros.h"
#include "command.h"
#include "flags.h"
#include "progress.h"

namespace tfengine::cli {
namespace {

class CompareCommand : public Command {
 public:
  void DefineFlags(CLI::App& app) override {
    app.add_option("A", a_, "Converted SavedModel directory, the reference (FP32, say)")->required();
    app.add_option("B", b_, "Another conversion of the same SavedModel (INT8, say)")->required();
    app.add_option("--data", data_,
                   "Samples: a .npz file with arrays named after the inputs, a .npy file, or a "
                   "directory of such files; may be repeated")
        ->required();
    app.add_option("--signature", options_.signature,
                   "Signature to run (default: serving_default, or the only one)");
    app.add_option("--threshold", options_.threshold_db,
                   "Signal-to-noise ratio in dB that layers should have")
        ->capture_default_str();
    app.add_option("--batch", batch_, "Most samples per run; all values of a run are kept in memory")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--samples", max_samples_, "Stop after this many; 0: all")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--threads", options_.threads, "Threads; 0: all CPUs")
        ->check(CLI::NonNegativeNumber);
    DefineDeviceFlags(app, &engine_);
    app.add_option("--reference-device", options_.reference_device,
                   "Where A runs (default: on --device too)");
    app.add_flag("--json", json_, "Print JSON, with all layers");
  }

  Status Run() override {
    TFE_ASSIGN_OR_RETURN(const Manifest manifest, Manifest::Load(a_));
    std::vector<SignatureInfo> signatures;
    for (const auto& signature : manifest.signatures) signatures.push_back(signature.info);
    TFE_ASSIGN_OR_RETURN(const SignatureInfo* signature,
                         ChooseSignature(signatures, options_.signature));
    TFE_ASSIGN_OR_RETURN(DataBatches data,
                         DataBatches::Open(data_, signature->inputs, batch_, max_samples_));
    options_.device = engine_.device;
    options_.kernel_cache = engine_.kernel_cache;
    options_.tf32 = engine_.tf32;
    Result<CompareReport> report = [&] {
      ProgressLine progress;
      return CompareModels(a_, b_, options_, [&](TensorMap* batch) {
        progress.Update("comparing", data.fraction());
        return data.Next(batch);
      });
    }();
    TFE_RETURN_IF_ERROR(report.status());
    fmt::print("{}{}", json_ ? report->json : report->text, json_ ? "\n" : "");
    return OkStatus();
  }

 private:
  std::string a_, b_;
  std::vector<std::string> data_;
  CompareOptions options_;
  EngineOptions engine_;  // of both
  int64_t batch_ = 8, max_samples_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewCompareCommand() { return std::make_unique<CompareCommand>(); }

}  // namespace tfengine::cli
