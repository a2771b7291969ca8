// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tfengine/convert.h"

namespace tfengine {

// Sample data in files, as DataFiles takes them.
struct CalibrationFiles {
  std::vector<std::string> paths;
  std::string signature;    // empty: serving_default, or the only one
  int64_t batch = 16;       // most samples per run
  int64_t max_samples = 0;  // 0: all
};

// CalibrateSavedModel on files; `notices` gets lines about doubtful data and ranges. Errors: those of
// CalibrateSavedModel, DataFiles and kUnknownSignature.
Result<std::shared_ptr<Calibration>> CalibrateOnFiles(const std::string& input_dir,
                                                      const ConvertOptions& options,
                                                      const CalibrationOptions& calibration,
                                                      const CalibrationFiles& files,
                                                      std::vector<std::string>* notices);

}  // namespace tfengine
