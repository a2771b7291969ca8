// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "network/network.h"
#include "plan/plan.h"
#include "quant/compare.h"
#include "tfengine/engine.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

// What a reduced engine may lose against its FP32 form, over the samples.
struct AccuracyBudget {
  double max_error = 0.1;       // of every output: |error| / |output|, root mean square
  // Share of rows (of the last axis) whose greatest element moves, of any output of rank 2 or more. Below 0: 0.01 for
  // results of a softmax and scores of an argmax, else no limit (of hidden states and embeddings the greatest element
  // means nothing).
  double max_top1_drop = -1;
};

struct ValueAccuracy {
  std::string name;
  double snr_db = 0, cosine = 1, relative_rms = 0, top1_agreement = 1;
  int64_t rows = 0;
};

struct AccuracyReport {
  std::vector<ValueAccuracy> outputs;
  std::vector<ValueAccuracy> values;  // inside the engine, in its order; those that the two forms share
  int raised = 0;                     // layers
  bool within_budget = true;
  int64_t runs = 0;
};

// Runs the FP32 and the reduced form of `network` on options.device and `samples` (inputs per run) and compares what they share.
// `numerics.limits` is extended: the layers that lose most signal are raised, step by step, until the outputs keep the
// budget. Source of the idea: sensitivity-ordered mixed precision, as in post-training quantization toolkits; here a
// layer's loss is how far the signal-to-noise ratio of its result lies below the worst of its inputs.
Result<AccuracyReport> GuardAccuracy(const Network& network, const std::vector<std::vector<Tensor>>& samples,
                                     const AccuracyBudget& budget, const EngineOptions& options, Numerics* numerics,
                                     const std::function<void(double)>& progress);

}  // namespace tfengine
