// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/layer_norm.h"
#include "backends/cpu/kernels/softmax.h"
#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {
namespace {

// Operands other than data (scales, offsets) are f32 in kernels.
bool AreF32(const ConcreteNode& node, std::initializer_list<size_t> inputs) {
  for (size_t i : inputs)
    if (node.has_input(i) && !IsF32(node.inputs[i])) return false;
  return true;
}

bool AllF32(const std::vector<Format>& formats) {
  for (const Format& f : formats)
    if (f.storage != Storage::kF32) return false;
  return true;
}

// The result may take over the buffer of input 0.
int InPlace(const ConcreteNode& node) { return node.inputs[0].dtype == node.outputs[0].dtype ? 0 : -1; }

// Rows and columns of a tensor seen as [product of leading dims, last dim].
int64_t Rows(const Operand& o) { return Product(o.shape, 0, o.shape.size() - 1); }

}  // namespace

LowerResult LowerLayerNorm(const LowerContext& c) {
  const auto formats = RealFormats(c.node, {0, 3});
  if (!formats || !AreF32(c.node, {1, 2}) || c.node.inputs[0].shape.empty()) return std::optional<Lowered>();
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
  const bool plain = AllF32(*formats);
  auto run = [=, f = *formats](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    LayerNormArgs args = base;
    if (at[1] > 0) args.gamma = F32(in[at[1]]);
    if (at[2] > 0) args.beta = F32(in[at[2]]);
    if (plain) {
      args.x = F32(in[0]);
      if (at[3] > 0) args.residual = F32(in[at[3]]);
      args.y = F32(out[0]);
      LayerNorm(args, gang);
    } else {
      LayerNorm(args, {in[0], f[0], at[3] > 0 ? in[at[3]] : nullptr, f[1], out[0], f[2]}, scratch, gang);
    }
    return OkStatus();
  };
  return MakeLowered("rows", std::move(in), std::move(run), InPlace(c.node), [plain, cols = base.cols](int threads) {
    return plain ? 0 : LayerNormScratchBytes(cols, threads);
  });
}

LowerResult LowerBatchNorm(const LowerContext& c) {
  const auto formats = RealFormats(c.node, {0});
  if (!formats || !AreF32(c.node, {1, 2, 3, 4}) || c.node.inputs[0].shape.empty()) return std::optional<Lowered>();
  BatchNormArgs base;
  base.rows = Rows(c.node.inputs[0]);
  base.cols = c.node.inputs[0].shape.back();
  base.epsilon = static_cast<float>(c.node.attrs.Float("epsilon"));
  const bool plain = AllF32(*formats);
  auto run = [=, f = *formats](const void* const* in, void* const* out, void*, Gang& gang) {
    BatchNormArgs args = base;
    args.scale = F32(in[1]);
    args.offset = F32(in[2]);
    args.mean = F32(in[3]);
    args.variance = F32(in[4]);
    if (plain) {
      args.x = F32(in[0]);
      args.y = F32(out[0]);
      BatchNorm(args, gang);
    } else {
      BatchNorm(args, {in[0], f[0], nullptr, {}, out[0], f[1]}, gang);
    }
    return OkStatus();
  };
  return MakeLowered("rows", {0, 1, 2, 3, 4}, std::move(run), InPlace(c.node));
}

LowerResult LowerSoftmax(const LowerContext& c) {
  const auto formats = RealFormats(c.node, {0});
  if (!formats || c.node.inputs[0].shape.empty()) return std::optional<Lowered>();
  const int64_t rows = Rows(c.node.inputs[0]), cols = c.node.inputs[0].shape.back();
  const bool log = c.node.op == Op::kLogSoftmax, plain = AllF32(*formats);
  auto run = [=, x = formats->front(), y = formats->back()](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    if (plain) {
      log ? LogSoftmax(F32(in[0]), F32(out[0]), rows, cols, gang) : Softmax(F32(in[0]), F32(out[0]), rows, cols, gang);
    } else {
      log ? LogSoftmax(in[0], x, out[0], y, rows, cols, scratch, gang) : Softmax(in[0], x, out[0], y, rows, cols, scratch, gang);
    }
    return OkStatus();
  };
  return MakeLowered("rows", {0}, std::move(run), InPlace(c.node),
                     [=](int threads) { return plain ? 0 : SoftmaxScratchBytes(cols, threads); });
}

}  // namespace tfengine::cpu
