// SPDX-License-Identifier: Apache-2.0
#include "passes/pipeline.h"

#include <algorithm>
#include <chrono>
#include <string_view>

#include "base/errors.h"
#include "passes/activations.h"
#include "passes/attention.h"
#include "passes/batch_norm.h"
#include "passes/constant_folding.h"
#include "passes/cse.h"
#include "passes/dead_code.h"
#include "passes/fusion.h"
#include "passes/index_wrap.h"
#include "passes/layer_norm.h"
#include "passes/pad_folding.h"
#include "passes/projections.h"
#include "passes/reshape_sinking.h"
#include "passes/scale_folding.h"
#include "passes/shared_weights.h"
#include "passes/simplify_math.h"
#include "passes/simplify_shapes.h"
#include "passes/softmax.h"
#include "passes/transpose_sinking.h"

namespace tfengine::passes {
namespace {

struct Pass {
  const char* name;
  Result<bool> (*run)(Network&);
};

constexpr char kMergeProjections[] = "merge_projections";

// The order matters: recognisers need folded constants and merged subexpressions; attention looks for plain scales and
// masks, so it comes before scales move into weights; fusion hides elementwise ops from everything else and is last.
constexpr Pass kPasses[] = {
    {"dead_code", EliminateDeadCode},
    {"constant_folding", FoldConstants},
    {"fake_quant", FoldFakeQuant},
    {"simplify_shapes", SimplifyShapes},
    {"simplify_math", SimplifyMath},
    {"simplify_shapes", SimplifyShapes},  // broadcasts that identities left
    {"reshape_sinking", SinkReshapes},
    {"simplify_shapes", SimplifyShapes},
    {"constant_folding", FoldConstants},  // moved and merged constants
    {"cse", EliminateCommonSubexpressions},
    {"index_wrap", FoldIndexWrap},
    {"activations", RecognizeActivations},
    {"layer_norm", RecognizeLayerNorm},
    {"softmax", RecognizeSoftmax},
    {"attention", RecognizeAttention},
    {"simplify_shapes", SimplifyShapes},  // the transposes around an attention
    {"transpose_sinking", SinkTransposes},
    {"batch_norm", LowerBatchNorm},
    {"constant_folding", FoldConstants},
    {"scale_folding", FoldScales},
    {"pad_folding", FoldPads},
    {"cse", EliminateCommonSubexpressions},
    {"shared_weights", MergeSharedWeights},
    {"fusion", FuseElementwise},
    {kMergeProjections, MergeProjections},
    {"dead_code", EliminateDeadCode},
};

void RunPass(const Pass& pass, Network& network, const PassOptions& options) {
  Network before = network;  // shares the constants
  auto start = std::chrono::steady_clock::now();
  Result<bool> changed = pass.run(network);
  double milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  Status status = changed.status();
  if (changed.ok() && *changed) status = Verify(network);
  if (!status.ok()) network = std::move(before);
  if (!options.trace) return;
  options.trace({.name = pass.name,
                 .changed = status.ok() && *changed,
                 .status = status,
                 .milliseconds = milliseconds,
                 .nodes_after = static_cast<int>(network.nodes().size())});
}

}  // namespace

Status RunPasses(Network& network, const PassOptions& options) {
  std::vector<std::string> names = PassNames();
  for (const std::string& name : options.disabled)
    if (std::find(names.begin(), names.end(), name) == names.end())
      return Error(ErrorId::kBadFlag, "disabled pass \"{}\": expected one of {}", name, fmt::join(names, ", "));
  for (const Pass& pass : kPasses) {
    if (std::find(options.disabled.begin(), options.disabled.end(), pass.name) != options.disabled.end()) continue;
    if (pass.run == MergeProjections && !options.merge_projections) continue;
    RunPass(pass, network, options);
  }
  return OkStatus();
}

std::vector<std::string> PassNames() {
  std::vector<std::string> names;
  for (const Pass& pass : kPasses)
    if (std::find(names.begin(), names.end(), pass.name) == names.end()) names.push_back(pass.name);
  return names;
}

}  // namespace tfengine::passes
