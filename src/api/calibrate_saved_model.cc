// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>

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

}  // namespace

Result<std::shared_ptr<Calibration>> CalibrateSavedModel(const std::string& input_dir,
                                                         const ConvertOptions& options,
                                                         const CalibrationOptions& calibration_options,
                                                         const std::string& signature,
                                                         const BatchSource& next) {
  TemporaryDirectory directory;
  TFE_RETURN_IF_ERROR(directory.Create());
  ConvertOptions exact = options;
  exact.precision = "FP32";
  exact.build_engines = false;
  exact.calibration = nullptr;
  exact.calibration_table.clear();
  const std::string converted = (directory.path() / "model").string();
  TFE_RETURN_IF_ERROR(ConvertSavedModel(input_dir, converted, exact).status());
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, Model::Load(converted, engine_options));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<Calibration> calibration, Calibration::Start(calibration_options));
  for (;;) {
    std::map<std::string, Tensor> batch;
    TFE_ASSIGN_OR_RETURN(const bool more, next(&batch));
    if (!more) break;
    TFE_RETURN_IF_ERROR(model->Run(signature, batch).status());
  }
  calibration->Stop();
  if (calibration->runs() == 0)
    return Error(ErrorId::kCalibrationEmpty, "the data has no batch; give at least one");
  return calibration;
}

}  // namespace tfengine
