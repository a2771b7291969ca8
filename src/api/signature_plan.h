// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "convert/convert.h"
#include "partition/explain.h"
#include "partition/partition.h"
#include "saved_model/saved_model.h"
#include "tfengine/convert.h"
#include "tfengine/status.h"
#include "tfgraph/build.h"

namespace tfengine {

// What a conversion does with one signature, decided but not built.
struct SignaturePlan {
  std::string name;
  const saved_model::SignatureDef* def = nullptr;
  tfgraph::SignatureGraph source;  // variables frozen
  convert::Conversion conversion;  // of source.graph, like the rest
  partition::Partition partition;
  std::vector<partition::Segment> segments;
  partition::Explanation explanation;
};

// Reads, freezes, analyses and partitions a signature. `fed_elsewhere`: main-graph nodes that other
// signatures feed; no segment may hide them. Errors: 1xx, 2xx.
Result<SignaturePlan> PlanSignature(const saved_model::SavedModel& model,
                                    const saved_model::MetaGraph& meta,
                                    const std::string& signature,
                                    const std::vector<std::string>& fed_elsewhere,
                                    const ConvertOptions& options);

}  // namespace tfengine
