// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tfengine/export.h"
#include "tfengine/status.h"

namespace tfengine {

// Called now and then while something takes time: what is being done, and the share done in [0, 1].
using Progress = std::function<void(const std::string& stage, double fraction)>;

// One set of input shapes, by signature input name.
using ShapeMap = std::map<std::string, std::vector<int64_t>>;

struct ConvertOptions {
  std::vector<std::string> tags = {"serve"};
  // Signatures to convert; empty: all of them. The others are kept as they are.
  std::vector<std::string> signatures;
  std::string precision = "FP32";
  std::string device = "cpu";
  int minimum_segment_size = 3;
  int max_engines = 0;                       // per signature; 0: no limit
  std::vector<std::string> excluded_ops;     // op types that stay native
  std::vector<std::string> excluded_nodes;   // node names that stay native
  std::vector<ShapeMap> build_shapes;        // tactics are timed at these; empty: batch 1 (other unknown sizes guessed)
  bool build_engines = true;                 // false: engines are built when first loaded
  bool allow_build_at_runtime = true;        // written to the engine ops
  int maximum_cached_engines = 16;
  int64_t max_workspace_size_bytes = int64_t{1} << 62;
  int threads = 0;                           // 0: all CPUs
  std::string timing_cache;                  // file to read and extend; empty: none
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

// The partition and the reason for every node, without building anything.
TFENGINE_API Result<ConvertReport> ExplainSavedModel(const std::string& input_dir, const ConvertOptions& options = {});

}  // namespace tfengine
