// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/layer_norm.h"
#include "backends/cpu/kernels/softmax.h"
#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {
namespace {

bool AllF32(const ConcreteNode& node) {
  for (const Operand& o : node.inputs)
    if (o.present && !IsF32(o)) return false;
  return IsF32(node.outputs[0]);
}

// Rows and columns of a tensor seen as [product of leading dims, last dim].
int64_t Rows(const Operand& o) { return Product(o.shape, 0, o.shape.size() - 1); }

}  // namespace

LowerResult LowerLayerNorm(const LowerContext& c) {
  if (!AllF32(c.node) || c.node.inputs[0].shape.empty()) return std::optional<Lowered>();
  LayerNormArgs base;
  base.rows = Rows(c.node.inputs[0]);
  base.cols = c.node.inputs[0].shape.back();
  base.epsilon = static_cast<float>(c.node.attrs.Float("epsilon"));
  std::vector<int> in = {0};
  int at[4] = {0, -1, -1, -1};  // where gamma, beta and residual are among the kernel's operands
  for (int i = 1; i < 4; ++i) {
    if (!c.node.has_input(static_cast<size_t>(i))) continue;
    at[i] = static_cast<int>(in.size());
    in.push_back(i);
  }
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    LayerNormArgs args = base;
    args.x = F32(in[0]);
    if (at[1] > 0) args.gamma = F32(in[at[1]]);
    if (at[2] > 0) args.beta = F32(in[at[2]]);
    if (at[3] > 0) args.residual = F32(in[at[3]]);
    args.y = F32(out[0]);
    LayerNorm(args, gang);
    return OkStatus();
  };
  return MakeLowered("rows", std::move(in), std::move(run), 0);
}

LowerResult LowerBatchNorm(const LowerContext& c) {
  if (!AllF32(c.node) || c.node.inputs[0].shape.empty()) return std::optional<Lowered>();
  BatchNormArgs base;
  base.rows = Rows(c.node.inputs[0]);
  base.cols = c.node.inputs[0].shape.back();
  base.epsilon = static_cast<float>(c.node.attrs.Float("epsilon"));
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    BatchNormArgs args = base;
    args.x = F32(in[0]);
    args.scale = F32(in[1]);
    args.offset = F32(in[2]);
    args.mean = F32(in[3]);
    args.variance = F32(in[4]);
    args.y = F32(out[0]);
    BatchNorm(args, gang);
    return OkStatus();
  };
  return MakeLowered("rows", {0, 1, 2, 3, 4}, std::move(run), 0);
}

LowerResult LowerSoftmax(const LowerContext& c) {
  if (!AllF32(c.node) || c.node.inputs[0].shape.empty()) return std::optional<Lowered>();
  const int64_t rows = Rows(c.node.inputs[0]), cols = c.node.inputs[0].shape.back();
  const bool log = c.node.op == Op::kLogSoftmax;
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    (log ? LogSoftmax : Softmax)(F32(in[0]), F32(out[0]), rows, cols, gang, HostCpu().isa);
    return OkStatus();
  };
  return MakeLowered("rows", {0}, std::move(run), 0);
}

}  // namespace tfengine::cpu
