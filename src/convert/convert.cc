// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/walk.h"

namespace tfengine::convert {

Result<Conversion> Analyze(const tfgraph::Graph& graph) {
  Walk walk(graph);
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
  Walk walk(segment);
  TFE_RETURN_IF_ERROR(walk.Run());
  std::vector<bool> is_arg(segment.nodes.size(), false);
  for (int a : segment.args) is_arg[a] = true;
  for (size_t i = 0; i < segment.nodes.size(); ++i) {
    const Verdict& verdict = walk.results()[i].verdict;
    if (is_arg[i] || verdict.ok()) continue;
    const tfgraph::Node& node = segment.nodes[i];
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
