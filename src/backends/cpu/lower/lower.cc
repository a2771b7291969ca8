// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/lower/lower.h"

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/lower/conv_call.h"
#include "backends/ref/ref.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace cpu {
namespace {

// The reference implementation as a kernel: every op and dtype, one thread.
class RefKernel : public Kernel {
 public:
  explicit RefKernel(const ConcreteNode& node) : op_(node.op), attrs_(node.attrs), inputs_(node.inputs), outputs_(node.outputs) {}

  Status Run(const void* const* in, void* const* out, void*, Gang&) const override {
    // Owners that own nothing: the buffers belong to the run.
    const std::shared_ptr<const void> borrowed(static_cast<const void*>(nullptr), [](const void*) {});
    std::vector<Tensor> tensors;
    tensors.reserve(inputs_.size() + outputs_.size());
    std::vector<const Tensor*> inputs;
    std::vector<Quant> quants;
    std::vector<Tensor*> outputs;
    size_t k = 0;
    for (const Operand& o : inputs_) {
      if (!o.present) {
        inputs.push_back(nullptr);
        quants.emplace_back();
        continue;
      }
      quants.push_back(o.quant);
      tensors.emplace_back(o.dtype, o.shape, in[k++], borrowed);
      inputs.push_back(&tensors.back());
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      tensors.emplace_back(outputs_[i].dtype, outputs_[i].shape, out[i], borrowed);
      outputs.push_back(&tensors.back());
    }
    return ref::RunNode(op_, attrs_, inputs, outputs, quants);
  }

 private:
  Op op_;
  Attrs attrs_;
  std::vector<Operand> inputs_, outputs_;
};

Lowered LowerToRef(const ConcreteNode& node) {
  Lowered lowered;
  lowered.kernel = std::make_shared<RefKernel>(node);
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i].present) lowered.in.push_back(static_cast<int>(i));
  lowered.tactic = "ref";
  return lowered;
}

struct Row {
  Op op;
  LowerResult (*lower)(const LowerContext&);
  bool typed = false;  // knows bf16 and quantized operands and the `out` attributes (conv2d_transpose: as blocks, quant/transposed.h)
};

// Ops without a row run on the reference kernels.
constexpr Row kRows[] = {
    {Op::kConv2d, LowerConv2d, true}, {Op::kMatMul, LowerMatMul, true},
    {Op::kAttention, LowerAttention, true}, {Op::kLayerNorm, LowerLayerNorm, true},
    {Op::kBatchNorm, LowerBatchNorm, true}, {Op::kSoftmax, LowerSoftmax, true},
    {Op::kLogSoftmax, LowerSoftmax, true}, {Op::kPool, LowerPool, true},
    {Op::kReduce, LowerReduce, true}, {Op::kArgReduce, LowerArgReduce},
    {Op::kTopK, LowerTopK}, {Op::kCumulative, LowerCumulative},
    {Op::kUnary, LowerUnary, true}, {Op::kBinary, LowerBinary, true},
    {Op::kSelect, LowerSelect, true}, {Op::kCast, LowerCast},
    {Op::kTranspose, LowerTranspose, true}, {Op::kBroadcast, LowerBroadcast, true},
    {Op::kConcat, LowerConcat, true}, {Op::kSlice, LowerSlice, true},
    {Op::kPad, LowerPad, true}, {Op::kGather, LowerGather, true},
    {Op::kGatherNd, LowerGatherNd, true}, {Op::kOneHot, LowerOneHot},
    {Op::kTile, LowerTile, true}, {Op::kResize, LowerResize, true},
    {Op::kDepthToSpace, LowerBlocks, true}, {Op::kSpaceToDepth, LowerBlocks, true},
    {Op::kConv2dTranspose, LowerConv2dTranspose, true}, {Op::kConvert, LowerConvert, true},
    {Op::kFakeQuant, LowerFakeQuant},
};

// Kernels keep shapes in fixed arrays.
bool RanksFit(const ConcreteNode& node) {
  for (const auto* list : {&node.inputs, &node.outputs})
    for (const Operand& o : *list)
      if (o.shape.size() > static_cast<size_t>(kMaxRank)) return false;
  return true;
}

class CpuBackend : public CompileBackend {
 public:
  std::string Fingerprint() const override { return HostCpu().Fingerprint(); }

  DType half() const override {
    return HostCpu().avx512_bf16 ? DType::kBfloat16 : DType::kFloat32;
  }
  bool views() const override { return true; }
  bool int8() const override { return HostCpu().Has(CpuIsa::kAvx2); }
  bool RunsTyped(const Network&, const Node& node) const override {
    for (const Row& row : kRows)
      if (row.op == node.op) return row.typed;
    return false;
  }

  std::vector<std::string> Tactics(const ConcreteNode& node) const override {
    if (node.op == Op::kConv2d) {
      std::vector<std::string> names = Conv2dTactics(node);
      if (!names.empty()) return names;
    }
    return {"default"};
  }

  Result<Lowered> Lower(const ConcreteNode& node, const std::string& tactic, WeightStore& weights,
                        int threads) const override {
    if (RanksFit(node)) {
      for (const Row& row : kRows) {
        if (row.op != node.op || (IsTyped(node) && !row.typed)) continue;
        TFE_ASSIGN_OR_RETURN(std::optional<Lowered> lowered, row.lower({node, tactic, weights, threads}));
        if (lowered) return *std::move(lowered);
      }
    }
    return LowerToRef(node);
  }

  Result<std::optional<Lowered>> LowerChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>& tactics,
                                            const std::string&, WeightStore& weights, int threads) const override {
    if (nodes.size() == 2 && nodes[0].op == Op::kConv2d && nodes[1].op == Op::kPool)
      return LowerConvPool(nodes[0], nodes[1], tactics[0], weights, threads);
    for (const ConcreteNode& node : nodes)
      if (node.op != Op::kConv2d) return std::optional<Lowered>();
    return LowerConvChain(nodes, tactics, weights, threads);
  }
};

}  // namespace

std::optional<Activation> ActivationOf(const Attrs& attrs) {
  UnaryKind kind;
  if (!ParseKind(attrs.Str("act", "none"), &kind)) return std::nullopt;
  Activation a;
  a.alpha = static_cast<float>(attrs.Float("alpha"));
  a.beta = static_cast<float>(attrs.Float("beta"));
  switch (kind) {
    case UnaryKind::k_none: a.kind = ActivationKind::kNone; break;
    case UnaryKind::k_relu: a.kind = ActivationKind::kRelu; break;
    case UnaryKind::k_relu6: a.kind = ActivationKind::kRelu6; break;
    case UnaryKind::k_clip: a.kind = ActivationKind::kClip; break;
    case UnaryKind::k_leaky_relu: a.kind = ActivationKind::kLeakyRelu; break;
    case UnaryKind::k_elu:
      a.kind = ActivationKind::kElu;
      a.alpha = static_cast<float>(attrs.Float("alpha", 1));
      break;
    case UnaryKind::k_selu: a.kind = ActivationKind::kSelu; break;
    case UnaryKind::k_sigmoid: a.kind = ActivationKind::kSigmoid; break;
    case UnaryKind::k_tanh: a.kind = ActivationKind::kTanh; break;
    case UnaryKind::k_silu: a.kind = ActivationKind::kSilu; break;
    case UnaryKind::k_gelu_erf: a.kind = ActivationKind::kGeluErf; break;
    case UnaryKind::k_gelu_tanh: a.kind = ActivationKind::kGeluTanh; break;
    case UnaryKind::k_hard_sigmoid:  // relu6(x + 3) / 6
      a.kind = ActivationKind::kHardSigmoid;
      a.alpha = 1.0f / 6;
      a.beta = 0.5f;
      break;
    case UnaryKind::k_hard_swish: a.kind = ActivationKind::kHardSwish; break;
    case UnaryKind::k_softplus: a.kind = ActivationKind::kSoftplus; break;
    case UnaryKind::k_softsign: a.kind = ActivationKind::kSoftsign; break;
    default: return std::nullopt;
  }
  return a;
}

}  // namespace cpu

const CompileBackend* FindBackend(const std::string& device) {
  static const cpu::CpuBackend kCpu;
  return device == "cpu" ? &kCpu : nullptr;
}

}  // namespace tfengine
