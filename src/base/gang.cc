// SPDX-License-Identifier: Apache-2.0
#include "base/gang.h"

#include <immintrin.h>
#include <sched.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/errors.h"

namespace tfengine {
namespace {

// One word holds a loop's generation, its task count and the next free task, so that claiming a task and checking
// that it belongs to the current loop is one atomic step (a slow helper can never run a task of a later loop twice).
constexpr int kTaskBits = 21;
constexpr uint64_t kTaskMask = (uint64_t{1} << kTaskBits) - 1;
constexpr int64_t kMaxTasks = int64_t{1} << 20;

uint64_t Next(uint64_t ticket) { return ticket & kTaskMask; }
uint64_t Count(uint64_t ticket) { return (ticket >> kTaskBits) & kTaskMask; }

// Spins, then gives the core away: with more runnable threads than cores a pure spin would starve the others.
class Backoff {
 public:
  void Pause() {
    if (++spins_ < 4096) {
      _mm_pause();
    } else {
      sched_yield();
    }
  }

 private:
  int spins_ = 0;
};

}  // namespace

struct Gang::State {
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<int64_t> pending{0};
  std::atomic<bool> closed{false};
  std::atomic<int> next_worker{1};
  FunctionRef<void(int64_t, int)>* fn = nullptr;  // valid while pending > 0

  // Takes tasks of the current loop until none is left. Returns the number it ran.
  int64_t Work(int worker) {
    int64_t done = 0;
    for (;;) {
      uint64_t t = ticket.load(std::memory_order_acquire);
      if (Next(t) >= Count(t)) return done;
      if (!ticket.compare_exchange_weak(t, t + 1, std::memory_order_acq_rel)) continue;
      (*fn)(static_cast<int64_t>(Next(t)), worker);
      pending.fetch_sub(1, std::memory_order_release);
      ++done;
    }
  }
};

Gang::Gang(int threads, Spawn spawn) : threads_(threads < 1 ? 1 : threads), spawn_(std::move(spawn)) {}

void Gang::Call() {
  state_ = std::make_shared<State>();
  for (int i = 1; i < threads_; ++i) {
    spawn_([state = state_] {
      if (state->closed.load(std::memory_order_acquire)) return;
      int worker = state->next_worker.fetch_add(1);
      Backoff backoff;
      while (!state->closed.load(std::memory_order_acquire)) {
        if (state->Work(worker) > 0) backoff = Backoff();
        backoff.Pause();
      }
    });
  }
}

Gang::~Gang() {
  if (state_) state_->closed.store(true, std::memory_order_release);
}

void Gang::Run(int64_t tasks, FunctionRef<void(int64_t, int)> fn) {
  TFE_CHECK(tasks <= kMaxTasks);
  if (threads_ == 1 || tasks <= 1) {
    for (int64_t i = 0; i < tasks; ++i) fn(i, 0);
    return;
  }
  if (!state_) Call();
  State& s = *state_;
  s.fn = &fn;
  s.pending.store(tasks, std::memory_order_relaxed);
  uint64_t generation = (s.ticket.load(std::memory_order_relaxed) >> (2 * kTaskBits)) + 1;
  s.ticket.store((generation << (2 * kTaskBits)) | (static_cast<uint64_t>(tasks) << kTaskBits), std::memory_order_release);
  s.Work(0);
  Backoff backoff;
  while (s.pending.load(std::memory_order_acquire) > 0) backoff.Pause();
}

// How long a pool thread looks for more work before it sleeps: engines that run back to back find their helpers awake.
constexpr int kSpinsBeforeSleep = 2000;

struct ThreadPool::Impl {
  std::atomic<int> pending{0};  // queue.size(), readable without the lock
  std::mutex mu;
  std::condition_variable wake;
  std::deque<std::function<void()>> queue;
  bool stop = false;
  std::vector<std::thread> threads;
};

ThreadPool::ThreadPool(int threads) : threads_(threads), impl_(std::make_unique<Impl>()) {
  for (int i = 0; i < threads; ++i) {
    impl_->threads.emplace_back([impl = impl_.get()] {
      for (;;) {
        for (int i = 0; i < kSpinsBeforeSleep && impl->pending.load(std::memory_order_relaxed) == 0; ++i) _mm_pause();
        std::function<void()> work;
        {
          std::unique_lock<std::mutex> lock(impl->mu);
          impl->wake.wait(lock, [&] { return impl->stop || !impl->queue.empty(); });
          if (impl->queue.empty()) return;
          work = std::move(impl->queue.front());
          impl->queue.pop_front();
          impl->pending.fetch_sub(1, std::memory_order_relaxed);
        }
        work();
      }
    });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(impl_->mu);
    impl_->stop = true;
  }
  impl_->wake.notify_all();
  for (auto& t : impl_->threads) t.join();
}

void ThreadPool::Schedule(std::function<void()> work) {
  {
    std::lock_guard<std::mutex> lock(impl_->mu);
    impl_->queue.push_back(std::move(work));
    impl_->pending.fetch_add(1, std::memory_order_relaxed);
  }
  impl_->wake.notify_one();
}

int AvailableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace tfengine
