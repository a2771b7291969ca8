// SPDX-License-Identifier: Apache-2.0
#include "c_api.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "build_queue.h"
#include "engine_directory.h"
#include "fault_injection.h"

namespace tfengine {
namespace {

std::atomic<bool> fail_engines{false};

}  // namespace

bool EnginesMadeToFail() { return fail_engines.load(std::memory_order_relaxed); }

}  // namespace tfengine

char* tfengine_tf_engine_stats() {
  return strdup(tfengine::EngineDirectory::Global().StatsJson().c_str());
}

void tfengine_tf_free(char* text) { std::free(text); }

int tfengine_tf_wait_for_engines(double seconds) {
  return tfengine::BuildQueue::Global().WaitIdle(std::chrono::duration<double>(seconds)) ? 1 : 0;
}

void tfengine_tf_fail_engines(int fail) {
  tfengine::fail_engines.store(fail != 0, std::memory_order_relaxed);
}
