// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tfengine/export.h"
#include "tfengine/status.h"

namespace tfengine {

struct CalibrationOptions {
  std::string method = "mse";      // mse, minmax, percentile or entropy (docs/precision.md compares them)
  double percentile = 99.99;       // of the percentile method
  bool symmetric = false;          // ranges of the form [-x, x]
  // Inputs of engines that are kept for the accuracy guard, per engine; at least one run is kept.
  int64_t kept_bytes = int64_t{64} << 20;
};

// Observes the values inside every FP32 engine of this process, from Start to Stop: all engines of all models in one
// pass over the data, inside TensorFlow or without it. Engines run slower meanwhile. Thread-safe.
class TFENGINE_API Calibration {
 public:
  // Errors: kBadFlag for an option; kCalibrationActive while another one observes.
  static Result<std::shared_ptr<Calibration>> Start(const CalibrationOptions& options = {});
  virtual ~Calibration() = default;  // stops

  virtual void Stop() = 0;
  // Runs of engines observed so far.
  virtual int64_t runs() const = 0;
  // The calibration table (docs/precision.md) as JSON; `notices` (optional) gets a line for whatever makes a range
  // doubtful. Error kCalibrationEmpty: nothing was observed.
  virtual Result<std::string> Table(std::vector<std::string>* notices = nullptr) const = 0;
  // Writes the table to a file, beside first. Errors: those of Table, kOutputUnwritable.
  virtual Status Save(const std::string& path) const = 0;
};

}  // namespace tfengine
