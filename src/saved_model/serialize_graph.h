// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "saved_model/protos.h"
#include "tfengine/status.h"
#include "tfgraph/graph.h"

namespace tfengine::saved_model {

// An entry of a map<string, message> (or map<string, string> if `text`).
void AddMapEntry(protozero::pbf_writer* parent, uint32_t field, std::string_view key,
                 std::string_view value, bool text);

// Spells a flat graph as NodeDefs. Holds references: graph, ops and library must outlive it.
class GraphSerializer {
 public:
  GraphSerializer(const tfgraph::Graph& graph, const OpTable& ops, const FunctionLibrary& library,
                  bool strip_defaults);

  // A serialized NodeDef. arg_tensors: the function's argument names; null for main-graph nodes
  // ("node:1").
  Result<std::string> NodeBytes(int index, const std::vector<std::string>* arg_tensors) const;

  // The fields node_def, ret and control_ret of a FunctionDef.
  struct Body {
    std::string fields;
    std::vector<std::string> control_outputs;
    bool stateful = false;
  };
  Result<Body> FunctionBody(const std::vector<std::string>& arg_tensors,
                            const std::vector<std::string>& return_names) const;

 private:
  const OpDef* FindOp(const tfgraph::Node& node) const;
  Result<std::string> FunctionTensor(tfgraph::TensorId t,
                                     const std::vector<std::string>& arg_tensors) const;
  std::optional<tfgraph::AttrValue> Colocation(const tfgraph::AttrValue& value) const;

  const tfgraph::Graph& graph_;
  const OpTable& ops_;
  const FunctionLibrary& library_;
  bool strip_defaults_;
  std::vector<bool> is_arg_;
  std::unordered_set<std::string> names_;
};

}  // namespace tfengine::saved_model
