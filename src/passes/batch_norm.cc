// SPDX-License-Identifier: Apache-2.0
#include "passes/batch_norm.h"

#include <cmath>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

Result<bool> LowerNode(Rewriter& r, int index) {
  if (r.node(index).op != Op::kBatchNorm) return false;
  const Node node = r.node(index);
  const Shape& shape = r.shape(node.outputs[0]);
  if (!shape.back().is_const()) return false;
  std::vector<std::vector<float>> parameters;  // gamma, beta, mean, variance
  for (int slot = 1; slot < 5; ++slot) {
    std::optional<std::vector<float>> p = PerChannel(r.network(), node.inputs[slot], shape);
    if (!p) return false;
    parameters.push_back(*std::move(p));
  }
  const auto &gamma = parameters[0], &beta = parameters[1], &mean = parameters[2], &variance = parameters[3];
  double epsilon = node.attrs.Float("epsilon");
  size_t channels = gamma.size();
  std::vector<float> scale(channels), shift(channels);
  for (size_t c = 0; c < channels; ++c) {
    double s = gamma[c] / std::sqrt(variance[c] + epsilon);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(beta[c] - mean[c] * s);
    if (!std::isfinite(scale[c]) || !std::isfinite(shift[c])) return false;
  }
  std::vector<int64_t> dims{static_cast<int64_t>(channels)};
  ValueId s = r.AddConstant(node.name + "/scale", FloatTensor(dims, scale));
  ValueId t = r.AddConstant(node.name + "/shift", FloatTensor(dims, shift));
  TFE_ASSIGN_OR_RETURN(ValueId scaled, r.AddBinary(BinaryKind::k_mul, node.name, node.inputs[0], s));
  TFE_ASSIGN_OR_RETURN(ValueId result, r.AddBinary(BinaryKind::k_add, node.name, scaled, t));
  return r.Replace(node.outputs[0], result);
}

}  // namespace

Result<bool> LowerBatchNorm(Network& network) { return RewriteAll(network, LowerNode); }

}  // namespace tfengine::passes
