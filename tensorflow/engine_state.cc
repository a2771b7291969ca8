// SPDX-License-Identifier: Apache-2.0
#include "engine_state.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace tfengine {
namespace {

const char* PhaseName(EngineState::Phase phase) {
  switch (phase) {
    case EngineState::Phase::kIdle:
      return "idle";
    case EngineState::Phase::kBuilding:
      return "building";
    case EngineState::Phase::kReady:
      return "ready";
    case EngineState::Phase::kFailed:
      return "failed";
  }
  return "";
}

}  // namespace

bool EngineState::TryBeginBuild() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (phase_ != Phase::kIdle) return false;
  phase_ = Phase::kBuilding;
  return true;
}

void EngineState::SetReady(std::shared_ptr<Engine> engine) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (phase_ == Phase::kReady) return;
  engine_ = std::move(engine);
  phase_ = Phase::kReady;
  published_.store(engine_.get(), std::memory_order_release);
  changed_.notify_all();
}

void EngineState::SetFailed(std::string reason) {
  std::lock_guard<std::mutex> lock(mutex_);
  error_ = std::move(reason);
  phase_ = Phase::kFailed;
  changed_.notify_all();
}

void EngineState::ResetToIdle() {
  std::lock_guard<std::mutex> lock(mutex_);
  phase_ = Phase::kIdle;
  changed_.notify_all();
}

void EngineState::WaitWhileBuilding() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return phase_ != Phase::kBuilding; });
}

bool EngineState::CountNativeRun(const std::string& reason) {
  const int64_t earlier = native_runs_.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard<std::mutex> lock(mutex_);
  last_fallback_ = reason;
  return earlier < kLoggedFallbacks;
}

void EngineState::RecordShapes(const std::vector<std::vector<int64_t>>& shapes) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (shapes_.size() < kMaxRecordedShapes) shapes_.insert(shapes);
}

bool EngineState::failed() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return phase_ == Phase::kFailed;
}

std::string EngineState::Describe() const {
  std::lock_guard<std::mutex> lock(mutex_);
  switch (phase_) {
    case Phase::kIdle:
      return "there is no engine";
    case Phase::kBuilding:
      return "the engine is still being built";
    case Phase::kReady:
      return "the engine is ready";
    case Phase::kFailed:
      return "the engine could not be built: " + error_;
  }
  return "";
}

std::string EngineState::StatsJson() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return nlohmann::json{{"name", name_},
                        {"state", PhaseName(phase_)},
                        {"source", source_},
                        {"runs", runs_.load(std::memory_order_relaxed)},
                        {"native_runs", native_runs_.load(std::memory_order_relaxed)},
                        {"last_fallback_reason", last_fallback_},
                        {"error", error_},
                        {"shapes", shapes_}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace tfengine
