// SPDX-License-Identifier: Apache-2.0
#include "convert/macs.h"

namespace tfengine::convert {
namespace {

double Elements(const Network& network, ValueId v) {
  const std::vector<int64_t> ones(network.dims().num_symbols(), 1);
  double n = 1;
  for (Dim d : network.value(v).shape) {
    Result<int64_t> size = network.dims().Eval(d, ones);
    n *= size.ok() && *size > 0 ? static_cast<double>(*size) : 0.0;
  }
  return n;
}

double LastDim(const Network& network, ValueId v, int from_end) {
  const Shape& shape = network.value(v).shape;
  if (static_cast<int>(shape.size()) < from_end) return 1;
  const std::vector<int64_t> ones(network.dims().num_symbols(), 1);
  Result<int64_t> size = network.dims().Eval(shape[shape.size() - from_end], ones);
  return size.ok() ? static_cast<double>(*size) : 1.0;
}

}  // namespace

double NodeMacs(const Network& network, const Node& node) {
  switch (node.op) {
    case Op::kConv2d:
    case Op::kConv2dTranspose: {
      // Filter elements per output (input) channel times positions.
      double filter = Elements(network, node.inputs[1]);
      ValueId positions = node.op == Op::kConv2d ? node.outputs[0] : node.inputs[0];
      double channels = LastDim(network, positions, 1);
      return channels > 0 ? Elements(network, positions) * filter / channels : 0.0;
    }
    case Op::kMatMul: {
      int k_axis = node.attrs.Bool("transpose_a") ? 2 : 1;
      return Elements(network, node.outputs[0]) * LastDim(network, node.inputs[0], k_axis);
    }
    case Op::kAttention:
      return 2 * Elements(network, node.inputs[0]) * LastDim(network, node.inputs[1], 3);
    case Op::kBatchNorm:
    case Op::kLayerNorm:
    case Op::kSoftmax:
    case Op::kLogSoftmax:
    case Op::kPool:
    case Op::kReduce:
    case Op::kArgReduce:
    case Op::kTopK:
    case Op::kCumulative:
      return Elements(network, node.inputs[0]);
    case Op::kUnary:
    case Op::kBinary:
    case Op::kSelect:
    case Op::kFakeQuant:
    case Op::kResize:
      return Elements(network, node.outputs[0]);
    default:
      return 0;
  }
}

}  // namespace tfengine::convert
