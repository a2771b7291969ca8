// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "partition/partition.h"
#include "tfgraph/graph.h"

namespace tfengine::partition {

// What a partition does, for people and machines.
struct Explanation {
  struct OpCount {
    std::string op;
    int count = 0;
  };
  struct SegmentSummary {
    int nodes = 0;     // that compute
    int absorbed = 0;  // copies of constants, identities and size arithmetic
    double macs = 0;   // unknown sizes taken as 1
    std::vector<OpCount> ops;  // of nodes that compute, most frequent first
  };
  // Native nodes with the same reason and op.
  struct NativeGroup {
    Reason reason = Reason::kNoConverter;
    std::string op;
    std::vector<int> nodes;
    std::string detail;  // of the first node
  };
  struct NodeLine {
    std::string name;
    std::string op;
    Reason reason = Reason::kConverted;
    std::string detail;
    int segment = -1;
  };
  std::string title;  // the signature
  std::vector<SegmentSummary> segments;
  std::vector<NativeGroup> natives;  // most frequent first; constants, identities and the graph's boundary left out
  std::vector<NodeLine> nodes;
  // Nodes that compute: all but constants, variable reads, identities, arguments, returns and NoOps.
  int compute_nodes = 0;
  int converted_nodes = 0;
  double share() const { return compute_nodes ? static_cast<double>(converted_nodes) / compute_nodes : 1.0; }
};

Explanation Explain(const tfgraph::Graph& graph, const Partition& partition, const std::string& title = "");

// At most `max_names` node names per group of natives.
std::string ToText(const Explanation& explanation, int max_names = 3);
std::string ToJson(const Explanation& explanation);

}  // namespace tfengine::partition
