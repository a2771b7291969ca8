// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "compiler/specialize.h"
#include "compiler/timing_cache.h"
#include "network/network.h"

namespace tfengine {

struct TacticOptions {
  int threads = 1;
  int patience = 1;       // runs per candidate, as a multiple of the usual
  int max_candidates = 0;  // best guesses to time; 0: all
  std::vector<int64_t> symbols;  // sizes at which layers are timed
  TimingCache* cache = nullptr;  // may be null
  Gang* gang = nullptr;          // runs the candidates
  size_t cache_bytes = size_t{16} << 20;  // weights beyond this will not be found in a cache
  std::function<void(double fraction)> progress;
};

// Times every candidate of every layer that has more than one, equal layers once, and returns the winners. When the
// network's weights exceed the last-level cache, a layer's packed weights are evicted before each timed run, because
// that is how it will find them.
Result<TacticMap> ChooseTactics(const Network& network, const CompileBackend& backend, const TacticOptions& options);

}  // namespace tfengine
