// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tfengine/calibrate.h"
#include "tfengine/export.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

// Called now and then while something takes time: what is being done, and the share done in [0, 1].
using Progress = std::function<void(const std::string& stage, double fraction)>;

// One set of input shapes, by signature input name.
using ShapeMap = std::map<std::string, std::vector<int64_t>>;

struct ConvertOptions {
  std::vector<std::string> tags = {"serve"};
  // Signatures to convert; empty: all of them. The others are kept as they are.
  std::vector<std::string> signatures;
  // FP32; FP16 and BF16: the 16-bit type that the device is fast in; INT8: calibrated or quantized layers, the rest as
  // in BF16; FP8: the same in E4M3, on GPUs that have it (elsewhere as in BF16).
  std::string precision = "FP32";
  // "cpu", "cuda" or "cuda:<index>": what precisions mean, what engines are built and timed for. Engine files run on other
  // devices too. Without that GPU nothing is timed.
  std::string device = "cpu";
  std::string kernel_cache;  // as in EngineOptions
  bool tf32 = false;         // as in EngineOptions: what is timed
  int minimum_segment_size = 3;
  int max_engines = 0;                       // per signature; 0: no limit
  std::vector<std::string> excluded_ops;     // op types that stay native
  std::vector<std::string> excluded_nodes;   // node names that stay native
  std::vector<ShapeMap> build_shapes;        // tactics are timed at these; empty: batch 1, on GPUs also 32 (other unknown
                                             // sizes guessed)
  // How long to look for the fastest engine: fast (the best guesses only), default or max (every candidate, timed longer).
  std::string effort = "default";
  bool build_engines = true;                 // false: engines are built when first loaded
  bool allow_build_at_runtime = true;        // written to the engine ops
  int maximum_cached_engines = 16;
  int64_t max_workspace_size_bytes = int64_t{1} << 62;
  int threads = 0;                           // 0: all CPUs
  std::string timing_cache;                  // file to read and extend; empty: none
  // INT8, FP8: the ranges to use, from a run of Calibration in this process or from its table; the former also brings inputs
  // for the accuracy guard. With neither no layer has 8 bits, unless the model quantizes explicitly.
  std::shared_ptr<const Calibration> calibration;
  std::string calibration_table;
  // What a reduced engine may lose against FP32 on those inputs, before layers are raised to a higher precision.
  double max_error = 0.1;       // |error| / |output| of any output, root mean square
  // Share of rows of an output whose greatest element moves; below 0: 0.01 for results of a softmax and scores of an
  // argmax, else no limit.
  double max_top1_drop = -1;
  Progress progress;
};

// What a conversion did, or would do (ExplainSavedModel).
struct ConvertReport {
  std::string text;  // for people
  std::string json;  // for machines: signatures → engines, nodes with verdicts, shares
  int engines = 0;
  double converted_share = 0;  // of compute nodes, over all converted signatures
};

// Reads the SavedModel in `input_dir`, replaces convertible segments of its signatures by TRTEngineOp, builds their
// engines and writes the result to `output_dir`, which must not exist; it appears complete or not at all.
// Signatures, other functions, variables, assets and tables are kept. Needs no TensorFlow.
// Errors: 1xx reading, 2xx graph, 701/702 output, 703/705 options.
TFENGINE_API Result<ConvertReport> ConvertSavedModel(const std::string& input_dir, const std::string& output_dir,
                                                     const ConvertOptions& options = {});

// Gives the next batch of a signature's inputs, by name; false: there is none.
using BatchSource = std::function<Result<bool>(std::map<std::string, Tensor>* batch)>;

// Runs the data through the FP32 form of a signature of the SavedModel in `input_dir`, which must convert whole, without
// TensorFlow, and returns what was observed: for `options.calibration` of an INT8 or FP8 conversion with the same options.
// `signature` may be empty: serving_default or the only one.
// Errors: those of ConvertSavedModel and Model::Run, kNotWhole, kCalibrationActive, kCalibrationEmpty.
TFENGINE_API Result<std::shared_ptr<Calibration>> CalibrateSavedModel(const std::string& input_dir,
                                                                      const ConvertOptions& options,
                                                                      const CalibrationOptions& calibration,
                                                                      const std::string& signature,
                                                                      const BatchSource& next);

// The partition and the reason for every node, without building anything.
TFENGINE_API Result<ConvertReport> ExplainSavedModel(const std::string& input_dir, const ConvertOptions& options = {});

}  // namespace tfengine
