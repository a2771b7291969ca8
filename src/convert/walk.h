// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "convert/context.h"
#include "convert/convert.h"

namespace tfengine::convert {

// Walks a graph in topological order and lowers what can be lowered into one network.
class Walk {
 public:
  Walk(const tfgraph::Graph& graph, const Exclusions& exclusions) : graph_(graph), exclusions_(exclusions) {}

  // Errors: kGraphInvalid. Visit every node; results then hold one entry per node.
  Status Run();

  Network& network() { return network_; }
  std::vector<NodeResult>& results() { return results_; }
  TensorInfo& info(tfgraph::TensorId t) { return infos_[t.node][t.port]; }
  // The network value of a lowered tensor, an argument or a constant.
  ValueId ValueOf(tfgraph::TensorId t);
  // For every network input, the graph tensor it is.
  std::vector<tfgraph::TensorId> InputTensors() const;

 private:
  Status CheckNode(int index) const;
  void Argument(int index);
  // The sizes in kDimsAttr, if the argument has it and it can be read.
  std::optional<Shape> AnnotatedShape(const tfgraph::Node& node);
  Verdict Lower(int index);
  // Computes the outputs of a node whose inputs are all constant from the network nodes [first, end).
  void Fold(int index, size_t first);
  Verdict Unsupported(const tfgraph::Node& node) const;
  Verdict CheckInputs(const tfgraph::Node& node, unsigned types) const;
  // Makes the outputs of a node that is not lowered known by what the graph says of them.
  void Hole(int index);
  Dim UnknownDim(const std::string& base, int axis);

  const tfgraph::Graph& graph_;
  const Exclusions& exclusions_;
  Network network_;
  std::vector<std::vector<TensorInfo>> infos_;
  std::vector<std::vector<bool>> used_;
  std::vector<NodeResult> results_;
  std::vector<bool> is_arg_;
  std::map<ValueId, tfgraph::TensorId> frozen_inputs_;  // network inputs of arguments whose value is known
  std::map<std::string, std::string> symbol_owner_;  // symbol base -> the node it belongs to
};

}  // namespace tfengine::convert
