// SPDX-License-Identifier: Apache-2.0
#include "build_queue.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensorflow/core/platform/logging.h"

namespace tfengine {

BuildQueue& BuildQueue::Global() {
  static BuildQueue queue;  // its destructor waits for the running build at process exit
  return queue;
}

BuildQueue::~BuildQueue() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    jobs_.clear();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void BuildQueue::Submit(std::shared_ptr<EngineState> state, Build build) {
  std::lock_guard<std::mutex> lock(mutex_);
  jobs_.push_back({std::move(state), std::move(build)});
  if (!thread_.joinable()) thread_ = std::thread([this] { Loop(); });
  changed_.notify_all();
}

void BuildQueue::Cancel(const std::shared_ptr<EngineState>& state) {
  std::unique_lock<std::mutex> lock(mutex_);
  auto job =
      std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& j) { return j.state == state; });
  if (job != jobs_.end()) {
    jobs_.erase(job);
    state->ResetToIdle();
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return running_ != state.get(); });
}

bool BuildQueue::WaitIdle(std::chrono::duration<double> timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto idle = [this] { return jobs_.empty() && running_ == nullptr; };
  constexpr double kForever = 1e8;  // seconds; larger values overflow the clock
  if (!(timeout.count() < kForever)) {
    changed_.wait(lock, idle);
    return true;
  }
  return changed_.wait_for(lock, timeout, idle);
}

void BuildQueue::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    running_ = job.state.get();
    lock.unlock();
    Result<std::shared_ptr<Engine>> engine = job.build();
    if (engine.ok()) {
      job.state->SetReady(std::move(*engine));
      LOG(INFO) << job.state->name() << ": the engine is ready";
    } else {
      LOG(WARNING) << job.state->name()
                   << ": no engine, TensorFlow runs this segment: " << engine.status().ToString();
      job.state->SetFailed(engine.status().ToString());
    }
    job.build = nullptr;
    lock.lock();
    running_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace tfengine
