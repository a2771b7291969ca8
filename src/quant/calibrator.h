// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "quant/histogram.h"
#include "quant/range.h"
#include "quant/table.h"
#include "tfengine/status.h"

namespace tfengine::quant {

// Gathers the distributions of one engine's values while it runs on representative data: about 64 KiB per value.
// Thread-safe; what is gathered does not depend on the order of the calls.
class Calibrator {
 public:
  void Observe(const std::string& value, const float* data, int64_t n);
  // Once per run of the engine, with its batch size.
  void CountRun(int64_t samples);

  int64_t samples() const;
  // A snapshot; nullptr if the value was never observed.
  std::unique_ptr<Histogram> Find(const std::string& value) const;

  // The engine's part of a table, without fingerprint. Values that were never finite are left out. `notices` (optional)
  // gets a line for whatever makes a range doubtful: NaN and infinities, a single run, too few elements for the method.
  // Error kCalibrationEmpty: nothing finite was observed.
  Result<EngineCalibration> Finish(const RangeOptions& options, std::vector<std::string>* notices = nullptr) const;

 private:
  struct Entry {
    std::mutex mu;
    Histogram histogram;
  };
  mutable std::mutex mu_;  // guards the map and the counts, not the histograms
  std::map<std::string, std::unique_ptr<Entry>> entries_;
  int64_t samples_ = 0, runs_ = 0;
};

}  // namespace tfengine::quant
