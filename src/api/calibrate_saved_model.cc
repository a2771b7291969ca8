// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <cstdlib>
#include <filesystem>

#include "api/calibrate_files.h"
#include "api/choose_signature.h"
#include "api/data_batches.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "tfengine/convert.h"
#include "tfengine/model.h"

namespace tfengine {
namespace {

namespace fs = std::filesystem;

// A directory of its own that goes away with the object.
class TemporaryDirectory {
 public:
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Status Create() {
    std::error_code error;
    const fs::path parent = fs::temp_directory_path(error);
    std::string name = (parent / "tfengine-calibration-XXXXXX").string();
    if (error || mkdtemp(name.data()) == nullptr)
      return Error(ErrorId::kOutputUnwritable, "{}: cannot make a temporary directory", parent.string());
    path_ = name;
    return OkStatus();
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Makes the data's source once the signature is known.
using MakeSource = std::function<Result<BatchSource>(const SignatureInfo& signature)>;

Result<std::shared_ptr<Calibration>> Calibrate(const std::string& input_dir,
                                               const ConvertOptions& options,
                                               const CalibrationOptions& calibration_options,
                                               const std::string& signature,
                                               const MakeSource& make_source) {
  TemporaryDirectory directory;
  TFE_RETURN_IF_ERROR(directory.Create());
  ConvertOptions exact = options;
  exact.precision = "FP32";
  exact.build_engines = false;
  exact.calibration = nullptr;
  exact.calibration_table.clear();
  exact.progress = nullptr;
  const std::string converted = (directory.path() / "model").string();
  TFE_RETURN_IF_ERROR(ConvertSavedModel(input_dir, converted, exact).status());
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, Model::Load(converted, engine_options));
  TFE_ASSIGN_OR_RETURN(const SignatureInfo* info, ChooseSignature(*model, signature));
  TFE_RETURN_IF_ERROR(RequireWhole(input_dir, *info));
  TFE_ASSIGN_OR_RETURN(const BatchSource next, make_source(*info));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<Calibration> calibration, Calibration::Start(calibration_options));
  for (;;) {
    std::map<std::string, Tensor> batch;
    TFE_ASSIGN_OR_RETURN(const bool more, next(&batch));
    if (!more) break;
    TFE_RETURN_IF_ERROR(model->Run(info->name, batch).status());
  }
  calibration->Stop();
  if (calibration->runs() == 0)
    return Error(ErrorId::kCalibrationEmpty, "the data has no batch; give at least one");
  return calibration;
}

}  // namespace

Result<std::shared_ptr<Calibration>> CalibrateSavedModel(const std::string& input_dir,
                                                         const ConvertOptions& options,
                                                         const CalibrationOptions& calibration,
                                                         const std::string& signature,
                                                         const BatchSource& next) {
  return Calibrate(input_dir, options, calibration, signature,
                   [&](const SignatureInfo&) -> Result<BatchSource> { return next; });
}

Result<std::shared_ptr<Calibration>> CalibrateOnFiles(const std::string& input_dir,
                                                      const ConvertOptions& options,
                                                      const CalibrationOptions& calibration,
                                                      const CalibrationFiles& files,
                                                      std::vector<std::string>* notices) {
  DataBatches data;
  auto next = [&](std::map<std::string, Tensor>* batch) {
    Result<bool> more = data.Next(batch);
    if (options.progress) options.progress("calibrating", data.fraction());
    return more;
  };
  auto open = [&](const SignatureInfo& signature) -> Result<BatchSource> {
    TFE_ASSIGN_OR_RETURN(
        data, DataBatches::Open(files.paths, signature.inputs, files.batch, files.max_samples));
    return BatchSource(next);
  };
  for (const std::string& path : files.paths)  // before anything that takes long
    if (std::error_code error; !fs::exists(path, error))
      return Error(ErrorId::kFileMissing, "{}: no such file", path);
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<Calibration> observed,
                       Calibrate(input_dir, options, calibration, files.signature, open));
  TFE_RETURN_IF_ERROR(observed->Table(notices).status());
  if (!data.ignored().empty())
    notices->push_back(fmt::format("arrays that are no input were ignored: {}",
                                   fmt::join(data.ignored(), ", ")));
  return observed;
}

}  // namespace tfengine
