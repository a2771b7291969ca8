// SPDX-License-Identifier: Apache-2.0
#include "api/signature_plan.h"

#include "base/status_macros.h"
#include "tfgraph/freeze.h"
#include "tfgraph/transform.h"

namespace tfengine {
Result<SignaturePlan> PlanSignature(const saved_model::SavedModel& model,
                                    const saved_model::MetaGraph& meta,
                                    const std::string& signature,
                                    const std::vector<std::string>& fed_elsewhere,
                                    const ConvertOptions& options) {
  SignaturePlan plan;
  plan.name = signature;
  TFE_ASSIGN_OR_RETURN(plan.def, meta.FindSignature(signature));
  TFE_ASSIGN_OR_RETURN(plan.source, tfgraph::BuildSignatureGraph(meta, signature));
  TFE_RETURN_IF_ERROR(tfgraph::FreezeVariables(model, meta, &plan.source).status());
  tfgraph::Graph& graph = plan.source.graph;
  tfgraph::RemoveIdleControlEdges(graph);
  tfgraph::Prune(graph);

  convert::Exclusions exclusions;
  exclusions.ops.insert(options.excluded_ops.begin(), options.excluded_ops.end());
  exclusions.nodes.insert(options.excluded_nodes.begin(), options.excluded_nodes.end());
  exclusions.nodes.insert(fed_elsewhere.begin(), fed_elsewhere.end());
  partition::PartitionOptions partition_options;
  partition_options.minimum_segment_size = options.minimum_segment_size;
  partition_options.max_engines = options.max_engines;
  TFE_ASSIGN_OR_RETURN(plan.conversion, convert::Analyze(graph, exclusions));
  plan.partition = partition::PartitionGraph(graph, plan.conversion, partition_options);
  plan.segments = partition::ExtractSegments(graph, plan.conversion, plan.partition);
  plan.explanation = partition::Explain(graph, plan.partition, "signature " + signature);
  return plan;
}

}  // namespace tfengine
