// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "api/conversion.h"
#include "api/staging.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "tfengine/convert.h"

namespace tfengine {

Result<ConvertReport> ConvertSavedModel(const std::string& input_dir, const std::string& output_dir,
                                        const ConvertOptions& options) {
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Conversion> conversion,
                       Conversion::Prepare(input_dir, options));
  TFE_ASSIGN_OR_RETURN(Staging staging, Staging::Create(output_dir));
  std::filesystem::path engines = staging.directory() / "engines";
  std::error_code error;
  if (!std::filesystem::create_directory(engines, error))
    return Error(ErrorId::kOutputUnwritable, "{}: {}", engines.string(), error.message());
  TFE_RETURN_IF_ERROR(conversion->BuildEngines(engines));
  TFE_RETURN_IF_ERROR(conversion->Write(staging.directory() / "model"));
  TFE_RETURN_IF_ERROR(staging.Commit("model"));
  return conversion->Report();
}

Result<ConvertReport> ExplainSavedModel(const std::string& input_dir,
                                        const ConvertOptions& options) {
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Conversion> conversion,
                       Conversion::Prepare(input_dir, options));
  return conversion->Report();
}

}  // namespace tfengine
