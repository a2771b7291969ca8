// SPDX-License-Identifier: Apache-2.0
#include "quant/calibrator.h"

#include <fmt/format.h>

#include "base/errors.h"

namespace tfengine::quant {

void Calibrator::Observe(const std::string& value, const float* data, int64_t n) {
  Entry* entry;
  {
    std::lock_guard lock(mu_);
    std::unique_ptr<Entry>& slot = entries_[value];
    if (!slot) slot = std::make_unique<Entry>();
    entry = slot.get();
  }
  std::lock_guard lock(entry->mu);
  entry->histogram.Add(data, n);
}

void Calibrator::CountRun(int64_t samples) {
  std::lock_guard lock(mu_);
  samples_ += samples;
  ++runs_;
}

int64_t Calibrator::samples() const {
  std::lock_guard lock(mu_);
  return samples_;
}

std::unique_ptr<Histogram> Calibrator::Find(const std::string& value) const {
  std::lock_guard lock(mu_);
  const auto found = entries_.find(value);
  if (found == entries_.end()) return nullptr;
  std::lock_guard entry_lock(found->second->mu);
  return std::make_unique<Histogram>(found->second->histogram);
}

Result<EngineCalibration> Calibrator::Finish(const RangeOptions& options, std::vector<std::string>* notices) const {
  std::vector<std::string> ignored;
  if (!notices) notices = &ignored;
  std::lock_guard lock(mu_);
  EngineCalibration engine;
  int few = 0;
  for (const auto& [name, entry] : entries_) {
    std::lock_guard entry_lock(entry->mu);
    const Histogram& h = entry->histogram;
    if (h.nan() + h.inf() > 0)
      notices->push_back(fmt::format("{}: {} NaN and {} infinite elements among {} were ignored{}", name, h.nan(), h.inf(),
                                     h.nan() + h.inf() + h.count(), h.count() == 0 ? "; no range" : ""));
    if (h.count() == 0) continue;
    const Method method = EffectiveMethod(h, options.method);
    few += method != options.method;
    const Range range = ChooseRange(h, options);
    engine.values[name] = {.lo = range.lo,
                           .hi = range.hi,
                           .min = h.min(),
                           .max = h.max(),
                           .method = MethodName(method),
                           .count = h.count(),
                           .nan = h.nan(),
                           .inf = h.inf()};
  }
  if (engine.values.empty())
    return Error(ErrorId::kCalibrationEmpty,
                 "calibration: expected finite values of at least one run, got none; give representative inputs");
  if (few > 0)
    notices->push_back(fmt::format("{} of {} values have fewer than {} non-zero elements, too few for {}: minmax is used",
                                   few, engine.values.size(), kLeastElements, MethodName(options.method)));
  if (runs_ == 1) notices->push_back("only one batch was seen; a few hundred samples make safer ranges");
  return engine;
}

}  // namespace tfengine::quant
