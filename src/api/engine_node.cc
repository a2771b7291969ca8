// SPDX-License-Identifier: Apache-2.0
#include "api/engine_node.h"

#include <fmt/format.h>

#include "api/carriers.h"
#include "base/crc32c.h"
#include "plan/plan.h"

namespace tfengine {
namespace {

using tfgraph::AttrValue;
using tfgraph::PartialShape;
using tfgraph::TensorId;

// The crossing types and static shapes of tensors, as the attributes of the op want them.
struct Signature {
  std::vector<DType> types;
  std::vector<PartialShape> shapes;
};

Signature SignatureOf(const SignaturePlan& plan, const std::vector<TensorId>& tensors) {
  Signature signature;
  for (TensorId id : tensors) {
    DType type = plan.source.graph.type_of(id);
    PartialShape shape;
    const auto& outputs = plan.conversion.nodes[id.node].outputs;
    if (type == DType::kResource) {
      shape.known_rank = true;  // a scalar handle
    } else if (id.port < static_cast<int>(outputs.size()) && outputs[id.port].known_rank) {
      shape.known_rank = true;
      for (const Dim& dim : outputs[id.port].shape)
        shape.dims.push_back(dim.is_const() ? dim.value : -1);
    }
    signature.types.push_back(CarrierOf(type));
    signature.shapes.push_back(CarrierShape(type, std::move(shape)));
  }
  return signature;
}

}  // namespace

std::string EngineName(int signature, int segment, const Network& network) {
  uint32_t hash = Crc32c(PrintNetwork(network));
  for (const auto& constant : NetworkConstants(network))
    hash = Crc32c({constant->as<char>(), constant->num_bytes()}, hash);
  return fmt::format("TRTEngineOp_{:03}_{:03}_{:08x}", signature, segment, hash);
}

std::string NativeFunctionName(const std::string& engine_name) {
  return engine_name + "_native_segment";
}

std::string EngineAssetName(const std::string& engine_name) {
  return kEngineFilePrefix + engine_name;
}

partition::EngineNode MakeEngineNode(const SignaturePlan& plan, const partition::Segment& segment,
                                     const std::string& name, const ConvertOptions& options) {
  Signature inputs = SignatureOf(plan, segment.inputs),
            outputs = SignatureOf(plan, segment.outputs);
  partition::EngineNode node;
  node.name = name;
  node.attrs = {
      {"serialized_segment", AttrValue::String("")},
      {"segment_func", AttrValue::Func(NativeFunctionName(name))},
      {"InT", AttrValue::TypeList(inputs.types)},
      {"OutT", AttrValue::TypeList(outputs.types)},
      {"input_shapes", AttrValue::ShapeList(inputs.shapes)},
      {"output_shapes", AttrValue::ShapeList(outputs.shapes)},
      {"max_cached_engines_count", AttrValue::Int(options.maximum_cached_engines)},
      {"workspace_size_bytes", AttrValue::Int(options.max_workspace_size_bytes)},
      {"precision_mode", // The original op knows no BF16 and FP8; the engine file has the precision that counts.
       AttrValue::String(options.precision == "BF16"  ? "FP16"
                         : options.precision == "FP8" ? "INT8"
                                                      : options.precision)},
      {"use_calibration", AttrValue::Bool(false)},
      {"static_engine", AttrValue::Bool(false)},
      {"profile_strategy", AttrValue::String("range")},
      {"_use_implicit_batch", AttrValue::Bool(false)},
      {"_allow_build_at_runtime", AttrValue::Bool(options.allow_build_at_runtime)},
      {"_profile_generation_mode", AttrValue::Bool(false)},
  };
  return node;
}

}  // namespace tfengine
