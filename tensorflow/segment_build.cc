// SPDX-License-Identifier: Apache-2.0
#include "segment_build.h"

#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/segment.h"
#include "tensorflow/core/framework/function.pb.h"
#include "tf_util.h"

namespace tfengine {
namespace {

using ::tensorflow::FunctionDef;
using ::tensorflow::PartialTensorShape;
using ::tensorflow::TensorShape;

constexpr char kShapesAttr[] = "_output_shapes";

// How much of a seen shape an engine is built for.
enum class Generality { kAnySizes, kAnyBatch, kAsSeen };

PartialTensorShape Generalise(const TensorShape& seen, Generality generality) {
  PartialTensorShape shape = seen;
  for (int i = 0; i < seen.dims(); ++i) {
    if (generality == Generality::kAnySizes || (generality == Generality::kAnyBatch && i == 0))
      shape.set_dim(i, -1);
  }
  return shape;
}

bool HasKnownRank(const FunctionDef::ArgAttrs& attrs) {
  const auto it = attrs.attr().find(kShapesAttr);
  return it != attrs.attr().end() && it->second.list().shape_size() == 1 &&
         !it->second.list().shape(0).unknown_rank();
}

// The argument attributes that complete those of `definition`, as a message to be merged into it;
// `guessed` tells whether any of them depends on `generality`.
FunctionDef MissingShapes(const FunctionDef& definition, const SegmentInputs& inputs,
                          Generality generality, bool* guessed) {
  FunctionDef missing;
  for (int i = 0; i < definition.signature().input_arg_size(); ++i) {
    if (definition.signature().input_arg(i).type() == tensorflow::DT_RESOURCE) continue;
    FunctionDef::ArgAttrs attrs;
    const auto present = definition.arg_attr().find(i);
    if (present != definition.arg_attr().end()) attrs = present->second;
    if (HasKnownRank(attrs)) continue;
    const size_t k = static_cast<size_t>(i);
    PartialTensorShape shape;
    if (k < inputs.declared.size() && !inputs.declared[k].unknown_rank()) {
      shape = inputs.declared[k];
    } else if (k < inputs.seen.size()) {
      shape = Generalise(inputs.seen[k], generality);
      *guessed = true;
    }
    auto* list = (*attrs.mutable_attr())[kShapesAttr].mutable_list();
    list->clear_shape();
    shape.AsProto(list->add_shape());
    (*missing.mutable_arg_attr())[i] = std::move(attrs);
  }
  return missing;
}

void Rename(const std::set<std::string>& frozen, std::string* tensor) {
  if (frozen.count(*tensor) == 0) return;
  *tensor = absl::StrCat(tensor->substr(0, tensor->find(':')), ":output:0");
}

// Makes constants of the reads of variables whose values are known.
void FreezeVariables(const std::map<int, tensorflow::Tensor>& variables, FunctionDef* definition) {
  std::map<std::string, const tensorflow::Tensor*> by_name;
  for (const auto& [index, value] : variables) {
    if (index < definition->signature().input_arg_size()) {
      by_name[definition->signature().input_arg(index).name()] = &value;
    }
  }
  std::set<std::string> frozen;
  for (auto& node : *definition->mutable_node_def()) {
    if (node.op() != "ReadVariableOp" || node.input_size() == 0) continue;
    const auto variable = by_name.find(node.input(0));
    if (variable == by_name.end()) continue;
    node.set_op("Const");
    node.clear_input();
    auto& attrs = *node.mutable_attr();
    attrs.clear();
    attrs["dtype"].set_type(variable->second->dtype());
    variable->second->AsProtoTensorContent(attrs["value"].mutable_tensor());
    frozen.insert(absl::StrCat(node.name(), ":value:0"));
  }
  // The output of ReadVariableOp is called "value", that of Const "output".
  for (auto& node : *definition->mutable_node_def()) {
    for (std::string& input : *node.mutable_input()) Rename(frozen, &input);
  }
  for (auto& result : *definition->mutable_ret()) Rename(frozen, &result.second);
}

}  // namespace

Result<std::shared_ptr<Engine>> BuildFromSegment(const SegmentSource& segment,
                                                 const SegmentInputs& inputs,
                                                 const EngineOptions& options) {
  SegmentSource::Serialized source = segment.Serialize();
  if (!inputs.variables.empty()) {
    FunctionDef frozen = segment.definition();
    FreezeVariables(inputs.variables, &frozen);
    source.function = frozen.SerializeAsString();
  }
  Result<std::shared_ptr<Engine>> engine = EngineFailed("not built");
  for (const Generality generality :
       {Generality::kAnySizes, Generality::kAnyBatch, Generality::kAsSeen}) {
    bool guessed = false;
    // Concatenated messages are merged, so that the constants need not be copied.
    const std::string definition =
        source.function +
        MissingShapes(segment.definition(), inputs, generality, &guessed).SerializeAsString();
    engine = BuildSegmentEngine(definition, source.library, source.op_list, options);
    if (engine.ok() || !guessed) break;
  }
  return engine;
}

}  // namespace tfengine
