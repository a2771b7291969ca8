// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compiler/accuracy.h"
#include "network/network.h"
#include "tfengine/convert.h"
#include "plan/plan.h"
#include "quant/table.h"
#include "tfengine/engine.h"

namespace tfengine {

struct BuildOptions {
  Numerics numerics;
  // FP8, INT8: ranges are taken from this engine's entry; null: none. Ranges in `numerics` win.
  const quant::CalibrationTable* table = nullptr;
  std::string engine_name;
  // Inputs per run for the accuracy guard of reduced engines; empty: no guard.
  std::vector<std::vector<Tensor>> samples;
  AccuracyBudget budget;
  // "cpu", or a GPU as in EngineOptions. Without that GPU an engine file is built all the same: nothing is timed, and a
  // notice says so.
  std::string device = "cpu";
  std::string kernel_cache;  // as in EngineOptions
  bool tf32 = false;         // as in EngineOptions
  int64_t max_workspace_bytes = int64_t{1} << 62;  // as in EngineOptions
  int threads = 0;  // 0: all CPUs; tactics are timed with this many
  // Input shapes (one list per network input) at which tactics are timed; empty: every symbol is 1 if it is "batch",
  // else a guess from the network; for GPUs also with batch 32.
  std::vector<std::vector<std::vector<int64_t>>> shapes;
  std::string timing_cache;  // file to read and extend; empty: none
  int effort = 1;            // 0: the two best guesses of a layer, no batch pieces; 1: all; 2: all, timed longer
  bool time_tactics = true;  // false: the first tactic of every layer (fast; used when nobody waits for an optimum)
  Progress progress;
};

// kBadFlag for a device name that means nothing. The device need not be in this machine.
Status CheckDevice(const std::string& device);

// What became of a build.
struct BuildReport {
  std::vector<quant::LayerPrecision> layers;
  std::optional<AccuracyReport> accuracy;  // of a reduced engine, where there were samples
  std::vector<std::string> notices;        // for people
};

// Optimises `network` (passes), chooses tactics on this machine and writes the engine file to `path` (written beside,
// then renamed). The network is consumed.
Result<BuildReport> BuildEngineFile(Network network, const BuildOptions& build, const std::string& path);

// The same, kept in memory.
Result<std::shared_ptr<Engine>> BuildEngine(Network network, const BuildOptions& build, const EngineOptions& options);

}  // namespace tfengine
