// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "engine_state.h"

namespace tfengine {

// Makes engines outside requests: one background thread, started with the first job, works them off
// in order. Thread-safe.
class BuildQueue {
 public:
  using Build = std::function<Result<std::shared_ptr<Engine>>()>;

  static BuildQueue& Global();
  ~BuildQueue();

  // `state` must be in phase kBuilding; it becomes ready or failed.
  void Submit(std::shared_ptr<EngineState> state, Build build);
  // After this no build for `state` runs: a queued one is dropped (back to kIdle), a running one is
  // waited for.
  void Cancel(const std::shared_ptr<EngineState>& state);
  // Waits until the queue is empty and idle; false after `timeout`.
  bool WaitIdle(std::chrono::duration<double> timeout);

 private:
  struct Job {
    std::shared_ptr<EngineState> state;
    Build build;
  };
  void Loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  const EngineState* running_ = nullptr;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace tfengine
