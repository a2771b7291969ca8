// SPDX-License-Identifier: Apache-2.0
#include "backends/ref/ref.h"

#include <new>

#include "backends/ref/ops.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine::ref {
namespace {

Routine RoutineOf(Op op) {
  switch (op) {
    case Op::kConv2d: return RunConv2d;
    case Op::kConv2dTranspose: return RunConv2dTranspose;
    case Op::kMatMul: return RunMatMul;
    case Op::kAttention: return RunAttention;
    case Op::kBatchNorm: return RunBatchNorm;
    case Op::kLayerNorm: return RunLayerNorm;
    case Op::kSoftmax: case Op::kLogSoftmax: return RunSoftmax;
    case Op::kPool: return RunPool;
    case Op::kReduce: return RunReduce;
    case Op::kArgReduce: return RunArgReduce;
    case Op::kTopK: return RunTopK;
    case Op::kUnary: return RunUnary;
    case Op::kBinary: return RunBinary;
    case Op::kSelect: return RunSelect;
    case Op::kConvert: return RunConvert;
    case Op::kFakeQuant: return RunFakeQuant;
    case Op::kCast: return RunCast;
    case Op::kReshape: return RunReshape;
    case Op::kTranspose: return RunTranspose;
    case Op::kBroadcast: return RunBroadcast;
    case Op::kConcat: return RunConcat;
    case Op::kSlice: return RunSlice;
    case Op::kPad: return RunPad;
    case Op::kGather: return RunGather;
    case Op::kGatherNd: return RunGatherNd;
    case Op::kOneHot: return RunOneHot;
    case Op::kTile: return RunTile;
    case Op::kResize: return RunResize;
    case Op::kDepthToSpace: case Op::kSpaceToDepth: return RunDepthSpace;
    case Op::kCumulative: return RunCumulative;
    case Op::kDims: return RunDims;
    case Op::kRange: return RunRange;
  }
  return nullptr;
}

// Allocates a result; sizes come from the caller's shapes and may be anything.
Result<Tensor> Allocate(DType dtype, const std::vector<int64_t>& shape, const std::string& name) {
  int64_t bytes = static_cast<int64_t>(DTypeSize(dtype));
  for (int64_t d : shape) {
    if (d < 0)
      return Error(ErrorId::kShapeUnsupported, "\"{}\" would have shape {} at these input shapes", name,
                   ShapeToString(shape));
    if (__builtin_mul_overflow(bytes, d, &bytes))
      return Error(ErrorId::kOutOfMemory, "\"{}\" of shape {} cannot be allocated", name, ShapeToString(shape));
  }
  try {
    return Tensor(dtype, shape);
  } catch (const std::bad_alloc&) {
    return Error(ErrorId::kOutOfMemory, "\"{}\" of shape {} cannot be allocated", name, ShapeToString(shape));
  }
}

}  // namespace

Status RunNode(Op op, const Attrs& attrs, const std::vector<const Tensor*>& inputs,
               const std::vector<Tensor*>& outputs, const std::vector<Quant>& quants) {
  const Call call{op, attrs, inputs, outputs};
  return IsTyped(call, quants) ? RunTyped(RoutineOf(op), call, quants) : RoutineOf(op)(call);
}

Result<std::vector<Tensor>> Execute(const Network& network, const std::vector<Tensor>& inputs) {
  std::vector<std::vector<int64_t>> shapes;
  for (const Tensor& t : inputs) shapes.push_back(t.shape());
  TFE_ASSIGN_OR_RETURN(const std::vector<int64_t> symbols, network.BindSymbols(shapes));

  std::vector<Tensor> values(network.values().size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& input = network.value(network.inputs()[i]);
    if (inputs[i].dtype() != input.dtype)
      return Error(ErrorId::kInputMismatch, "input \"{}\": expected element type {}, got {}", input.name,
                   DTypeName(input.dtype), DTypeName(inputs[i].dtype()));
    values[network.inputs()[i]] = inputs[i];
  }
  for (size_t v = 0; v < values.size(); ++v)
    if (network.value(static_cast<ValueId>(v)).constant) values[v] = *network.value(static_cast<ValueId>(v)).constant;

  std::vector<int> uses = network.UseCounts();
  for (const Node& node : network.nodes()) {
    TFE_ASSIGN_OR_RETURN(const Attrs attrs, ConcreteAttrs(node, network.dims(), symbols));
    std::vector<const Tensor*> in;
    std::vector<Quant> quants;
    for (ValueId v : node.inputs) {
      in.push_back(v == kNoValue ? nullptr : &values[v]);
      quants.push_back(v == kNoValue ? Quant() : network.value(v).quant);
    }
    std::vector<Tensor*> out;
    for (ValueId v : node.outputs) {
      const Value& value = network.value(v);
      TFE_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, EvalShape(network.dims(), value.shape, symbols));
      TFE_ASSIGN_OR_RETURN(values[v], Allocate(value.dtype, shape, value.name));
      out.push_back(&values[v]);
    }
    if (Status s = RunNode(node.op, attrs, in, out, quants); !s.ok())
      return s.WithContext(fmt::format("node \"{}\" ({})", node.name, OpName(node.op)));
    for (ValueId v : node.inputs)
      if (v != kNoValue && --uses[v] == 0) values[v] = Tensor();
  }
  std::vector<Tensor> results;
  for (ValueId v : network.outputs()) results.push_back(values[v]);
  return results;
}

}  // namespace tfengine::ref
