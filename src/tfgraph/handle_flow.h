// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "saved_model/protos.h"
#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {

// Where the handles of variables flow in a graph, and which of them something may write.
struct HandleFlow {
  // Per node, per output port: the variable it certainly is a handle of (directly or through
  // Identity), or -1.
  std::vector<std::vector<int>> exact;
  // Variable -> name of a node that may write it.
  std::map<int, std::string> written;

  int Exact(TensorId t) const {
    return exact[static_cast<size_t>(t.node)][static_cast<size_t>(t.port)];
  }
};

// Finds out what is written, conservatively: an op that takes a handle (or a TensorFlow 1
// reference) writes it unless it is known only to read; functions called by other ops are followed.
class HandleFlowAnalysis {
 public:
  HandleFlowAnalysis(const saved_model::FunctionLibrary& library, const saved_model::OpTable& ops)
      : library_(library), ops_(ops) {}

  // `seeds` names the outputs that hold a variable's handle or reference. Needs topological order.
  Result<HandleFlow> Run(const Graph& graph, const std::vector<std::pair<TensorId, int>>& seeds);

 private:
  // Which arguments of a function something in it may write.
  Result<std::vector<bool>> WrittenArgs(const std::string& function);
  // Marks the inputs of `node` that it may write.
  Result<std::vector<bool>> WrittenInputs(const Node& node, const std::vector<bool>& is_handle);

  const saved_model::FunctionLibrary& library_;
  const saved_model::OpTable& ops_;
  std::map<std::string, std::optional<std::vector<bool>>> written_args_;  // nullopt: being computed
};

}  // namespace tfengine::tfgraph
