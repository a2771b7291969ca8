// SPDX-License-Identifier: Apache-2.0
#include "segment_build.h"

#include <string>
#include <utility>

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
FunctionDef MissingShapes(const FunctionDef& definition, const InputShapes& shapes,
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
    if (k < shapes.declared.size() && !shapes.declared[k].unknown_rank()) {
      shape = shapes.declared[k];
    } else if (k < shapes.seen.size()) {
      shape = Generalise(shapes.seen[k], generality);
      *guessed = true;
    }
    auto* list = (*attrs.mutable_attr())[kShapesAttr].mutable_list();
    list->clear_shape();
    shape.AsProto(list->add_shape());
    (*missing.mutable_arg_attr())[i] = std::move(attrs);
  }
  return missing;
}

}  // namespace

Result<std::shared_ptr<Engine>> BuildFromSegment(const SegmentSource& segment,
                                                 const InputShapes& shapes,
                                                 const EngineOptions& options) {
  const SegmentSource::Serialized source = segment.Serialize();
  Result<std::shared_ptr<Engine>> engine = EngineFailed("not built");
  for (const Generality generality :
       {Generality::kAnySizes, Generality::kAnyBatch, Generality::kAsSeen}) {
    bool guessed = false;
    // Concatenated messages are merged, so that the constants need not be copied.
    const std::string definition =
        source.function +
        MissingShapes(segment.definition(), shapes, generality, &guessed).SerializeAsString();
    engine = BuildSegmentEngine(definition, source.library, source.op_list, options);
    if (engine.ok() || !guessed) break;
  }
  return engine;
}

}  // namespace tfengine
