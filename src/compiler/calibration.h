// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "network/network.h"
#include "quant/calibrator.h"
#include "quant/table.h"
#include "tfengine/calibrate.h"
#include "tfengine/engine.h"

namespace tfengine {

// The entry of an engine in a map by engine name: the engine of that name or, where a conversion with other options has
// numbered the engines otherwise, the one whose name ends in the same checksum of what it computes.
template <typename Map>
auto FindEngine(Map& engines, const std::string& name) {
  auto found = engines.find(name);
  const std::string checksum = name.substr(std::min(name.rfind('_'), name.size()));
  for (auto it = engines.begin(); found == engines.end() && !checksum.empty() && it != engines.end(); ++it)
    if (it->first.ends_with(checksum)) found = it;
  return found;
}

class CalibrationImpl : public Calibration {
 public:
  explicit CalibrationImpl(const CalibrationOptions& options) : options_(options) {}
  ~CalibrationImpl() override { Stop(); }

  // The one that observes now, or null. Costs one atomic load where there is none.
  static std::shared_ptr<CalibrationImpl> Active();

  // What engines tell: a run begins, a value is there.
  struct EngineData;
  std::shared_ptr<EngineData> BeginRun(const std::string& engine, const Network& network, const std::vector<InputView>& inputs);
  static void Observe(EngineData& engine, const Value& value, const std::vector<int64_t>& shape, const void* data);

  void Stop() override;
  int64_t runs() const override;
  Result<std::string> Table(std::vector<std::string>* notices) const override;
  Status Save(const std::string& path) const override;

  Result<quant::CalibrationTable> MakeTable(std::vector<std::string>* notices) const;
  // Inputs of an engine that were kept, per run.
  std::vector<std::vector<Tensor>> KeptInputs(const std::string& engine) const;

 private:
  friend class Calibration;
  const CalibrationOptions options_;
  mutable std::mutex mu_;
  std::map<std::string, std::shared_ptr<EngineData>> engines_;
  int64_t runs_ = 0;
};

}  // namespace tfengine
