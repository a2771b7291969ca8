// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "convert/convert.h"
#include "partition/verdict.h"
#include "tfgraph/graph.h"

// Cuts a graph into segments that engines run. The pipeline is
//   Analyze (convert) -> PartitionGraph -> ExtractSegments -> LowerSegment each, build engines -> ReplaceSegments.
namespace tfengine::partition {

struct PartitionOptions {
  int minimum_segment_size = 3;  // nodes that compute: not constants, identities, or arithmetic on sizes
  int max_engines = 0;           // the largest are kept; 0: no limit
  double minimum_macs = 0;       // segments of less work (multiply-adds, unknown sizes taken as 1) stay native
};

struct SegmentNodes {
  std::vector<int> nodes;     // nodes that compute; each is in one segment only
  std::vector<int> absorbed;  // constants, identities and size arithmetic that the segment has a copy of
  double macs = 0;
};

struct Partition {
  std::vector<Verdict> verdicts;       // final, one per node
  std::vector<int> segment_of;         // segment that the node is in, or -1 (absorbed nodes too)
  std::vector<bool> absorbable;        // constants, identities, size arithmetic: copied into segments that need them
  std::vector<SegmentNodes> segments;  // ordered by their first node; node lists ascending
};

// Segments are convex (no path of data or control edges leaves one and comes back), the graph of segments and native
// nodes has no cycle, and no two segments with an edge between them could be one. Deterministic. What a segment needs
// of constants, identities and size arithmetic is copied into it, so that these never split or join segments.
Partition PartitionGraph(const tfgraph::Graph& graph, const convert::Conversion& conversion,
                         const PartitionOptions& options = {});

// One segment as a graph of its own: the native segment function, and the argument of convert::LowerSegment.
struct Segment {
  // Arguments are nodes "_Arg" named input_0, input_1 ..., returns are named output_0 ...; frozen tensors are kept.
  tfgraph::Graph body;
  std::vector<tfgraph::TensorId> inputs;   // outside tensors, one per argument; resource handles of variables too
  std::vector<tfgraph::TensorId> outputs;  // inner tensors that the outside uses, one per return
  std::vector<int> control_inputs;         // outside nodes that must run first, ascending
};

// Requires the graph and conversion that the partition was made of. Segments in the order of the partition.
std::vector<Segment> ExtractSegments(const tfgraph::Graph& graph, const convert::Conversion& conversion,
                                     const Partition& partition);

// The node that stands for a segment.
struct EngineNode {
  std::string name;
  std::string op = "TRTEngineOp";
  std::string device;
  std::map<std::string, tfgraph::AttrValue> attrs;
};

// The graph with each segment replaced by its engine node, in topological order. Arguments, returns, control returns
// and native nodes stay; control edges of segment nodes go to the engine node; copies of absorbed nodes that nothing
// outside needs are gone. `engines` has one entry per segment.
// Errors: kGraphInvalid if the partition does not fit the graph.
Result<tfgraph::Graph> ReplaceSegments(const tfgraph::Graph& graph, const Partition& partition,
                                       const std::vector<Segment>& segments, const std::vector<EngineNode>& engines);

}  // namespace tfengine::partition
