// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/function_ref.h"

namespace tfengine {

// A group of threads that works through one engine run: the calling thread publishes parallel loops, helpers
// that have joined take iterations from them. Helpers are asked for by the first loop of more than one task, so a run
// that never splits its work wakes nobody. They spin between loops (a loop costs a few tenths of a microsecond, not a
// wake-up), and leave when the Gang is destroyed. A helper that is late or never comes costs nothing: the caller
// does all the work itself, so a busy thread pool slows an engine down but cannot block it.
//
// One Gang serves one thread at a time. Loops do not nest.
class Gang {
 public:
  // Runs `helper` on another thread, now or later; it may even run after the Gang is gone.
  using Spawn = std::function<void(std::function<void()> helper)>;

  // A gang of the caller alone.
  Gang() : threads_(1) {}
  // Up to `threads` threads, the caller included; asks `spawn` for threads - 1 helpers when there is work for them.
  Gang(int threads, Spawn spawn);
  ~Gang();
  Gang(const Gang&) = delete;
  Gang& operator=(const Gang&) = delete;

  // The most threads a loop can have; worker numbers are below it.
  int threads() const { return threads_; }

  // Calls fn(task, worker) once for each task in [0, tasks) and returns when all are done. No two concurrent
  // calls have the same worker, so scratch memory may be indexed by it. tasks <= 2^20.
  void Run(int64_t tasks, FunctionRef<void(int64_t task, int worker)> fn);

 private:
  struct State;
  void Call();

  int threads_;
  Spawn spawn_;
  std::shared_ptr<State> state_;  // once helpers were called
};

// A pool of own threads for use outside TensorFlow. Threads sleep between runs.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  void Schedule(std::function<void()> work);
  int threads() const { return threads_; }

 private:
  struct Impl;
  int threads_;
  std::unique_ptr<Impl> impl_;
};

// Number of CPUs this process may run on (affinity mask respected).
int AvailableCpus();

}  // namespace tfengine
