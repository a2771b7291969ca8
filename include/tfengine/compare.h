// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tfengine/convert.h"
#include "tfengine/export.h"
#include "tfengine/status.h"

namespace tfengine {

struct CompareOptions {
  std::string signature;     // empty: serving_default or the only one
  double threshold_db = 30;  // of CompareReport::first_below
  int threads = 0;           // 0: all CPUs
  // "cpu", "cuda" or "cuda:<index>", and what belongs to it (EngineOptions), of both models; A can have another.
  std::string device = "cpu";
  std::string reference_device;  // empty: `device`
  std::string kernel_cache;
  bool tf32 = false;
};

// How far a value of model B is from the same value of model A, over all the data.
struct ComparedValue {
  std::string name;
  std::string op;                        // of layers: what computes it; empty for outputs
  std::string precision_a, precision_b;  // of layers: "FP32", "BF16", "FP16", "FP8", "INT8"; empty: elements are only moved
  double snr_db = 0;                     // 10 log10(|value|^2 / |error|^2), in [-200, 200]
  double relative_rms = 0;               // |error| / |value|
  double max_abs_error = 0;
  double cosine = 1;                     // of the angle between the two
  double top1_agreement = 1;             // share of rows (of the last axis) whose greatest element is at the same place
  int64_t rows = 0;                      // 0: not compared by rows
  // Outputs that are not floating point: the share of equal elements. Of them nothing above is set but `name`.
  bool discrete = false;
  double equal = 1;
};

struct TFENGINE_API CompareReport {
  std::string signature;
  int64_t runs = 0;
  std::vector<ComparedValue> outputs;  // of the signature, by name
  std::vector<ComparedValue> layers;   // values that the engines of both models have, in the order they are computed
  int first_below = -1;                // of `layers`, the first whose snr_db is below the threshold; -1: none
  std::vector<int> Worst(size_t count) const;  // indices of `layers`, least snr_db first

  std::string text;  // for people: the outputs, the first layer below the threshold, the ten worst layers
  std::string json;  // for machines: everything
};

// Runs the same data through two converted models and compares every value that both have. They must come from the same
// SavedModel, converted with the same choice of nodes (FP32 and INT8, say), and run without TensorFlow. A is the
// reference; errors carry on from layer to layer as they do in B. The values of one batch are kept in memory.
// Errors: those of Model::Load and Model::Run, kBadFlag if the models do not match, kInputMismatch without data.
TFENGINE_API Result<CompareReport> CompareModels(const std::string& a, const std::string& b,
                                                 const CompareOptions& options, const BatchSource& next);

}  // namespace tfengine
