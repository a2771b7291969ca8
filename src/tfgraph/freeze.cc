// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/freeze.h"

#include <algorithm>
#include <optional>

#include "base/errors.h"
#include "base/status_macros.h"
#include "tfgraph/handle_flow.h"
#include "tfgraph/transform.h"
#include "tfgraph/variable_keys.h"

namespace tfengine::tfgraph {
namespace {

using saved_model::MetaGraph;
using saved_model::NodeDef;
using saved_model::SavedModel;

bool IsRefVariable(const Node& node) { return node.op == "VariableV2" || node.op == "Variable"; }
bool IsVariable(const Node& node) { return node.op == "VarHandleOp" || IsRefVariable(node); }

struct Variable {
  std::string id;
  std::string name;  // of the node, for messages
  DType dtype = DType::kInvalid;
  PartialShape shape;  // as declared
  int arg = -1;        // argument index if it is one
};

class Freezer {
 public:
  Freezer(const SavedModel& model, const MetaGraph& meta, SignatureGraph* signature)
      : model_(model), meta_(meta), signature_(*signature), graph_(signature->graph) {}

  Result<FreezeReport> Run() {
    CollectVariables();
    if (variables_.empty()) return report_;
    HandleFlowAnalysis analysis(meta_.functions, meta_.ops);
    TFE_ASSIGN_OR_RETURN(HandleFlow flow, analysis.Run(graph_, seeds_));
    TFE_ASSIGN_OR_RETURN(keys_, KeysFromSaver(meta_));
    const size_t nodes = graph_.nodes.size();
    for (size_t i = 0; i < nodes; ++i) {
      int v = ReadBy(static_cast<int>(i), flow);
      if (v < 0) continue;
      TFE_ASSIGN_OR_RETURN(auto value, Value(v, flow));
      if (value == nullptr) continue;
      if (graph_.nodes[i].op == "ResourceGather") {
        SplitGather(static_cast<int>(i), value);
      } else {
        SetFrozen(&graph_.nodes[i], value);
      }
      ++report_.frozen_reads;
    }
    if (graph_.nodes.size() != nodes) TFE_RETURN_IF_ERROR(SortTopologically(graph_));
    return std::move(report_);
  }

 private:
  static void SetFrozen(Node* node, const std::shared_ptr<const Tensor>& value) {
    node->frozen = value;
    node->output_shapes = {{true, value->shape()}};
  }

  int AddVariable(const Node& node) {
    std::string id = VariableId(node);
    auto [it, inserted] = by_id_.try_emplace(id, static_cast<int>(variables_.size()));
    if (inserted) {
      Variable v{id, node.name, DType::kInvalid, {}, -1};
      if (const AttrValue* a = node.attr("dtype")) v.dtype = a->type().value_or(DType::kInvalid);
      if (const AttrValue* a = node.attr("shape")) v.shape = a->shape().value_or(PartialShape());
      variables_.push_back(std::move(v));
    }
    return it->second;
  }

  void CollectVariables() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (IsVariable(graph_.nodes[i]))
        seeds_.push_back({{static_cast<int>(i), 0}, AddVariable(graph_.nodes[i])});
    }
    for (size_t i = 0; i < signature_.args.size(); ++i) {
      const ArgBinding& binding = signature_.args[i];
      const NodeDef* def =
          binding.kind == ArgBinding::Kind::kCapture ? meta_.FindNode(binding.node) : nullptr;
      if (def == nullptr || def->op != "VarHandleOp") continue;
      Node node;
      node.name = def->name;
      for (const auto& [key, bytes] : def->attrs)
        node.attrs[std::string(key)] = AttrValue(std::string(bytes));
      int v = AddVariable(node);
      variables_[static_cast<size_t>(v)].arg = static_cast<int>(i);
      seeds_.push_back({{graph_.args[i], 0}, v});
    }
  }

  // The variable whose value node i yields or gathers from, or -1.
  int ReadBy(int i, const HandleFlow& flow) const {
    const Node& node = graph_.nodes[static_cast<size_t>(i)];
    if (IsRefVariable(node)) return flow.Exact({i, 0});
    if (node.op == "Identity" && !node.inputs.empty()) {
      TensorId t = node.inputs[0];
      return IsRefVariable(graph_.nodes[static_cast<size_t>(t.node)]) ? flow.Exact(t) : -1;
    }
    if (node.op == "ReadVariableOp" || node.op == "ResourceGather")
      return flow.Exact(node.inputs[0]);
    return -1;
  }

  // The value of a variable, or null (with a row in the report) if it must stay one.
  Result<std::shared_ptr<const Tensor>> Value(int v, const HandleFlow& flow) {
    auto [it, inserted] = values_.try_emplace(v);
    if (!inserted) return it->second;
    const Variable& variable = variables_[static_cast<size_t>(v)];
    auto keep = [&](std::string reason) {
      report_.kept.push_back({variable.name, std::move(reason)});
      return std::shared_ptr<const Tensor>();
    };
    if (auto w = flow.written.find(v); w != flow.written.end())
      return keep("assigned by " + w->second);
    if (DTypeSize(variable.dtype) == 0)
      return keep(fmt::format("holds {}", DTypeName(variable.dtype)));
    TFE_ASSIGN_OR_RETURN(std::optional<CheckpointKey> key, FindKey(variable));
    Status missing;
    if (key) {
      TFE_ASSIGN_OR_RETURN(auto bundle, model_.variables());
      auto value =
          key->slice.empty() ? bundle->Read(key->key) : bundle->ReadSlice(key->key, key->slice);
      if (value.ok()) {
        TFE_RETURN_IF_ERROR(CheckValue(variable, *key, **value));
        return values_[v] = *value;
      }
      missing = value.status();
      if (missing.error_id() != static_cast<int>(ErrorId::kVariableMissing)) return missing;
    } else {
      missing = Error(ErrorId::kVariableMissing,
                      "{}: expected the restore op or the object graph to name a checkpoint key "
                      "for this variable",
                      model_.dir());
    }
    TFE_ASSIGN_OR_RETURN(std::string initializer, InitializedBy(variable));
    if (!initializer.empty()) return keep("initialised by " + initializer);
    return missing.WithContext("variable \"" + variable.name + "\"");
  }

  Result<std::optional<CheckpointKey>> FindKey(const Variable& variable) {
    if (auto it = keys_.find(variable.id); it != keys_.end()) return std::optional(it->second);
    // Keras 3 saves every variable twice and its restore op may assign the copy that the signature
    // does not read; the objects tell which tensor it is.
    if (variable.arg < 0 || signature_.kind != SignatureGraph::Kind::kFunction) {
      return std::optional<CheckpointKey>();
    }
    if (!object_keys_) {
      TFE_ASSIGN_OR_RETURN(object_keys_, KeysFromObjects(model_, meta_, signature_.function));
    }
    auto it = object_keys_->find(variable.arg);
    return it == object_keys_->end() ? std::optional<CheckpointKey>() : std::optional(it->second);
  }

  Status CheckValue(const Variable& variable, const CheckpointKey& key, const Tensor& value) const {
    bool fits = value.dtype() == variable.dtype;
    if (variable.shape.known_rank) {
      fits = fits && variable.shape.dims.size() == value.shape().size();
      for (size_t d = 0; fits && d < value.shape().size(); ++d)
        fits = variable.shape.dims[d] < 0 || variable.shape.dims[d] == value.shape()[d];
    }
    if (fits) return OkStatus();
    return Error(ErrorId::kCheckpointCorrupt,
                 "variable \"{}\": expected {}{}, the checkpoint has {}{} as \"{}\"", variable.name,
                 DTypeName(variable.dtype),
                 variable.shape.known_rank ? ShapeToString(variable.shape.dims) : "",
                 DTypeName(value.dtype()), ShapeToString(value.shape()), key.key);
  }

  // The init-op node that assigns a variable, or "".
  Result<std::string> InitializedBy(const Variable& variable) {
    if (!initialized_) {
      initialized_.emplace();
      std::vector<std::string> targets = meta_.InitOps();
      if (!targets.empty()) {
        TFE_ASSIGN_OR_RETURN(Graph init, BuildTargets(meta_, targets));
        std::vector<std::pair<TensorId, int>> seeds;
        std::vector<std::string> ids;
        for (size_t i = 0; i < init.nodes.size(); ++i) {
          if (!IsVariable(init.nodes[i])) continue;
          seeds.push_back({{static_cast<int>(i), 0}, static_cast<int>(ids.size())});
          ids.push_back(VariableId(init.nodes[i]));
        }
        HandleFlowAnalysis analysis(meta_.functions, meta_.ops);
        TFE_ASSIGN_OR_RETURN(HandleFlow flow, analysis.Run(init, seeds));
        for (const auto& [v, node] : flow.written)
          (*initialized_)[ids[static_cast<size_t>(v)]] = node;
      }
    }
    auto it = initialized_->find(variable.id);
    return it == initialized_->end() ? "" : it->second;
  }

  //   ResourceGather(handle, indices)   becomes   GatherV2(ReadVariableOp(handle), indices, axis =
  //   batch_dims)
  // so that the value has a node of its own.
  void SplitGather(int i, const std::shared_ptr<const Tensor>& value) {
    Node gather = graph_.nodes[static_cast<size_t>(i)];
    const AttrValue* batch_dims = gather.attr("batch_dims");
    Node read;
    read.name = gather.name + "/Read";
    read.op = "ReadVariableOp";
    read.device = gather.device;
    read.inputs = {gather.inputs[0]};
    read.control_inputs = gather.control_inputs;
    read.attrs["dtype"] = AttrValue::Type(value->dtype());
    read.output_types = {value->dtype()};
    read.stateful = true;
    SetFrozen(&read, value);
    Tensor axis(DType::kInt32, {});
    *axis.mutable_as<int32_t>() =
        static_cast<int32_t>(batch_dims ? batch_dims->i().value_or(0) : 0);
    Node constant;
    constant.name = gather.name + "/axis";
    constant.op = "Const";
    constant.device = gather.device;
    constant.attrs = {{"dtype", AttrValue::Type(DType::kInt32)},
                      {"value", AttrValue::TensorValue(axis)}};
    constant.output_types = {DType::kInt32};
    constant.output_shapes = {{true, {}}};
    const int first = static_cast<int>(graph_.nodes.size());
    Node& node = graph_.nodes[static_cast<size_t>(i)];
    node.op = "GatherV2";
    node.inputs = {{first, 0}, gather.inputs[1], {first + 1, 0}};
    node.stateful = false;
    node.other_fields.clear();
    std::erase_if(node.attrs, [](const auto& a) {
      return a.first == "dtype" || a.first == "validate_indices" || a.first == "_class";
    });
    node.attrs["Tparams"] = AttrValue::Type(value->dtype());
    node.attrs["Tindices"] = AttrValue::Type(graph_.type_of(gather.inputs[1]));
    node.attrs["Taxis"] = AttrValue::Type(DType::kInt32);
    if (batch_dims == nullptr) node.attrs["batch_dims"] = AttrValue::Int(0);
    graph_.nodes.push_back(std::move(read));
    graph_.nodes.push_back(std::move(constant));
  }

  const SavedModel& model_;
  const MetaGraph& meta_;
  SignatureGraph& signature_;
  Graph& graph_;
  FreezeReport report_;
  std::vector<Variable> variables_;
  std::map<std::string, int> by_id_;
  std::vector<std::pair<TensorId, int>> seeds_;
  std::map<std::string, CheckpointKey> keys_;
  std::optional<std::map<int, CheckpointKey>> object_keys_;
  std::optional<std::map<std::string, std::string>> initialized_;
  std::map<int, std::shared_ptr<const Tensor>> values_;
};

}  // namespace

Result<FreezeReport> FreezeVariables(const SavedModel& model, const MetaGraph& meta,
                                     SignatureGraph* signature) {
  return Freezer(model, meta, signature).Run();
}

}  // namespace tfengine::tfgraph
