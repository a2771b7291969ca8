// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "saved_model/protos.h"
#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {

// Attributes a polymorphic function is instantiated with.
using AttrMap = std::map<std::string, AttrValue>;

// Turns NodeDefs into the nodes of a Graph: names resolved to indices and ports, default attributes
// filled in, output types and stated shapes set. Calls stay calls. Node order is that of the
// source, not topological.
class FlatBuilder {
 public:
  FlatBuilder(const saved_model::FunctionLibrary& library, const saved_model::OpTable& ops)
      : library_(library), ops_(ops) {}

  // A function body. One _Arg node per argument tensor comes first.
  // Control returns: those the function lists; for functions of TensorFlow 1, which list none,
  // every stateful node.
  Result<Graph> Function(const saved_model::FunctionDef& function, const AttrMap& instantiation);

  // Main-graph nodes. References to nodes that are not among them are errors, unless the node is in
  // `cut`: then its inputs are dropped.
  Result<Graph> Nodes(const std::vector<const saved_model::NodeDef*>& nodes,
                      const std::unordered_map<std::string_view, bool>& cut);

 private:
  // The tensors one name stands for: an argument or one output argument of a node.
  struct Symbol {
    int node = -1;
    // Output arguments by name: first port and number of ports. Arguments have one, under "".
    std::vector<std::pair<std::string_view, std::pair<int, int>>> outputs;
    std::vector<int> arg_nodes;  // arguments: one node per tensor
  };

  // Appends a node without its inputs.
  Status AddNode(const saved_model::NodeDef& def, const AttrMap& instantiation, Symbol* symbol);
  Status AddArg(const saved_model::FunctionDef& function, size_t index,
                const AttrMap& instantiation, Symbol* symbol);
  // The data inputs of node i must be those its op wants, in number and types.
  Status CheckInputs(const Node& node) const;
  const saved_model::OpDef* FindOp(std::string_view name) const;
  Status ResolveFunctionInput(std::string_view input, std::vector<TensorId>* to) const;

  const saved_model::FunctionLibrary& library_;
  const saved_model::OpTable& ops_;
  Graph graph_;
  std::unordered_map<std::string_view, Symbol> symbols_;
};

}  // namespace tfengine::tfgraph
