// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/walk.h"

namespace tfengine::convert {

Result<Conversion> Analyze(const tfgraph::Graph& graph, const Exclusions& exclusions) {
  Walk walk(graph, exclusions);
  TFE_RETURN_IF_ERROR(walk.Run());
  for (const tfgraph::Graph::Return& r : graph.returns) {
    if (walk.results()[r.tensor.node].verdict.ok()) walk.network().MarkOutput(walk.ValueOf(r.tensor));
  }
  std::vector<tfgraph::TensorId> inputs = walk.InputTensors();
  // Node numbers of the network are not referred to, so what failed half-way can go.
  walk.network().Compact();
  return Conversion{std::move(walk.network()), std::move(inputs), std::move(walk.results())};
}

Result<Network> LowerSegment(const tfgraph::Graph& segment) {
  const Exclusions none;
  Walk walk(segment, none);
  TFE_RETURN_IF_ERROR(walk.Run());
  std::vector<bool> is_arg(segment.nodes.size(), false);
  for (int a : segment.args) is_arg[a] = true;
  for (size_t i = 0; i < segment.nodes.size(); ++i) {
    const Verdict& verdict = walk.results()[i].verdict;
    const tfgraph::Node& node = segment.nodes[i];
    if (is_arg[i]) {
      if (node.output_types.empty() || node.output_types[0] == DType::kResource) continue;
      if (walk.info({static_cast<int>(i), 0}).known_rank) continue;
      return Error(ErrorId::kSegmentNotConvertible, "argument \"{}\": expected a tensor of numbers of known rank, got {}",
                   node.name, DTypeName(node.output_types[0]));
    }
    if (verdict.ok() || node.op == "NoOp") continue;
    return Error(ErrorId::kSegmentNotConvertible, "node \"{}\" ({}): {}{}{}", node.name, node.op,
                 ReasonName(verdict.reason), verdict.detail.empty() ? "" : ": ", verdict.detail);
  }
  for (const tfgraph::Graph::Return& r : segment.returns) {
    ValueId v = walk.ValueOf(r.tensor);
    if (v == kNoValue) {
      return Error(ErrorId::kSegmentNotConvertible, "return \"{}\" is an argument without a known shape", r.name);
    }
    walk.network().MarkOutput(v);
  }
  walk.network().Compact();
  return std::move(walk.network());
}

std::vector<std::string> ConverterNames() {
  std::vector<std::string> names;
  for (const Row& row : Converters()) names.emplace_back(row.op);
  return names;
}

}  // namespace tfengine::convert
