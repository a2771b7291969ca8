// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tfengine/engine.h"

namespace tfengine {

// One engine as the ops see it: not there yet, being made, ready, or failed, with its statistics.
// Thread-safe. The engine is published once and never replaced, so reading it takes no lock.
class EngineState {
 public:
  enum class Phase { kIdle, kBuilding, kReady, kFailed };

  // `source`: the engine file it comes from, or "" if it is built from a native segment.
  EngineState(std::string name, std::string source)
      : name_(std::move(name)), source_(std::move(source)) {}

  const std::string& name() const { return name_; }
  const std::string& source() const { return source_; }

  // The engine, or nullptr if there is none (yet). Lives as long as this object.
  Engine* engine() const { return published_.load(std::memory_order_acquire); }

  // kIdle → kBuilding; false in any other phase. The caller must then see to SetReady, SetFailed or
  // ResetToIdle.
  bool TryBeginBuild();
  void SetReady(std::shared_ptr<Engine> engine);
  void SetFailed(std::string reason);
  void ResetToIdle();
  // Blocks while the phase is kBuilding.
  void WaitWhileBuilding();

  void CountRun() { runs_.fetch_add(1, std::memory_order_relaxed); }
  // Returns true if this fallback should be logged (the first few are).
  bool CountNativeRun(const std::string& reason);
  // Remembers a set of input shapes that a request came with while shapes were being collected.
  void RecordShapes(const std::vector<std::vector<int64_t>>& shapes);
  bool failed() const;
  // Why there is no engine: "being built", the error of a failed build, ...
  std::string Describe() const;
  // An object with name, state, source, runs, native_runs, last_fallback_reason, error, shapes.
  std::string StatsJson() const;

 private:
  static constexpr int kLoggedFallbacks = 5;
  static constexpr size_t kMaxRecordedShapes = 1024;

  const std::string name_;
  const std::string source_;
  std::atomic<Engine*> published_{nullptr};
  std::atomic<int64_t> runs_{0};
  std::atomic<int64_t> native_runs_{0};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Phase phase_ = Phase::kIdle;
  std::shared_ptr<Engine> engine_;
  std::string error_;
  std::string last_fallback_;
  std::set<std::vector<std::vector<int64_t>>> shapes_;
};

}  // namespace tfengine
