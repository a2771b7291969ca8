// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/matmul.h"

#include <algorithm>

#include "backends/cpu/kernels/matmul_dot.h"
#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/product.h"
#include "base/errors.h"

namespace tfengine::cpu {
namespace {

// Matrix `i` of a stack of shape [..., rows, cols]: element strides per batch dim of the result, 0 where broadcast. `pitch`: as in
// Operand.
MatrixLayout LayoutOf(const std::vector<int64_t>& shape, int64_t pitch, bool transposed, const std::vector<int64_t>& batch) {
  MatrixLayout l;
  const size_t rank = shape.size();
  const int64_t cols = pitch > 0 ? pitch : shape[rank - 1];
  l.row = transposed ? 1 : cols;
  l.col = transposed ? cols : 1;
  int64_t stride = cols * shape[rank - 2];
  for (size_t i = 0; i + 2 < rank; ++i) {
    const size_t d = rank - 3 - i;              // dim of the operand, from the inside
    const size_t b = batch.size() - 1 - i;      // dim of the grid
    l.batch[b] = shape[d] == 1 ? 0 : stride;
    stride *= shape[d];
  }
  return l;
}

struct MatmulOperands {
  MatmulShape shape;
  bool packs;         // b is one constant for all of the batch
  bool transposed_b;
};

LowerResult LowerTypedMatMul(const LowerContext& c, const MatmulOperands& operands, const TypedProduct& product,
                             const Activation& activation) {
  const MatmulShape& s = operands.shape;
  const bool packs = operands.packs && IsF32(c.node.inputs[1]);
  if (!packs) {
    const auto b = FormatOf(c.node.inputs[1]);
    if (product.type == DotType::kInt8 || !b || b->storage != product.x.storage) return std::optional<Lowered>();
  }
  const DotKernels& kernels = BestDotKernels(product.type, s.m);
  std::shared_ptr<const AlignedBuffer> packed;
  if (packs) {
    const auto& b = c.node.inputs[1].constant;
    const std::string key = fmt::format("matmul {} {} {} {}", static_cast<const void*>(b->data()), operands.transposed_b, product.key,
                                        DotKernelsName(kernels));
    const auto bytes = static_cast<size_t>(DotPackedMatmulBBytes(kernels, s.k, s.n));
    packed = c.weights.Get(key, bytes, [&](void* p) {
      const bool t = operands.transposed_b;
      DotPackMatmulB(kernels, b->as<float>(), t ? 1 : s.n, t ? s.k : 1, s.k, s.n, product.steps, p);
    });
    if (!packed) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", bytes);
  }
  std::vector<int> in = {0};
  if (!packs) in.push_back(1);
  const bool bias = c.node.has_input(2), residual = c.node.has_input(3);
  const int bias_at = static_cast<int>(in.size());
  if (bias) in.push_back(2);
  const int residual_at = static_cast<int>(in.size());
  if (residual) in.push_back(3);
  const auto plan = PlanDotMatmul(kernels, s, packs, residual, c.threads);
  auto run = [=](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    DotMatmulArgs args;
    args.a = in[0];
    args.zero = product.x.zero;
    (packs ? args.packed_b : args.b) = packs ? packed->data() : in[1];
    args.stage = product.Stage();
    if (bias) args.stage.bias = F32(in[bias_at]);
    args.stage.activation = activation;
    if (residual) args.residual = in[residual_at];
    args.c = out[0];
    DotMatmul(*plan, args, scratch, gang);
    return OkStatus();
  };
  const char* tactic = product.type == DotType::kInt8 ? "packed_int8" : product.type == DotType::kBf16 ? "packed_bf16" : "packed_f32";
  return WithViews(MakeLowered(tactic, std::move(in), std::move(run), -1,
                               [plan](int) { return DotMatmulScratchBytes(*plan); }));
}

}  // namespace

LowerResult LowerMatMul(const LowerContext& c) {
  const auto activation = ActivationOf(c.node.attrs);
  const Operand& a = c.node.inputs[0];
  const Operand& b = c.node.inputs[1];
  const auto& out = c.node.outputs[0].shape;
  if (!activation) return std::optional<Lowered>();
  const bool ta = c.node.attrs.Bool("transpose_a"), tb = c.node.attrs.Bool("transpose_b");
  const size_t rank = out.size();
  MatmulShape s;
  s.m = out[rank - 2];
  s.n = out[rank - 1];
  s.k = a.shape[a.shape.size() - (ta ? 2 : 1)];
  std::vector<int64_t> batch(out.begin(), out.end() - 2);
  const bool one_b = b.shape.size() == 2 || Product(b.shape, 0, b.shape.size() - 2) == 1;
  // One B for every row of A: the batch is just more rows.
  if (one_b && !ta && a.shape.size() == rank) {
    for (int64_t d : batch) s.m *= d;
    batch.clear();
  }
  if (batch.size() > static_cast<size_t>(kMatmulMaxBatchDims)) return std::optional<Lowered>();
  s.batch_rank = static_cast<int>(batch.size());
  std::copy(batch.begin(), batch.end(), s.batch);
  auto matrix = [&](const Operand& o) {
    std::vector<int64_t> shape = o.shape;
    if (batch.empty()) shape = {Product(shape, 0, shape.size() - 1), shape.back()};
    return shape;
  };
  s.a = LayoutOf(matrix(a), a.pitch, ta, batch);
  s.b = LayoutOf(batch.empty() ? std::vector<int64_t>(b.shape.end() - 2, b.shape.end()) : b.shape, b.pitch, tb, batch);
  const std::vector<int64_t> result = batch.empty() ? std::vector<int64_t>{s.m, s.n} : out;
  s.c = LayoutOf(result, c.node.outputs[0].pitch, false, batch);
  s.residual = LayoutOf(result, c.node.has_input(3) ? c.node.inputs[3].pitch : 0, false, batch);

  const bool packs = b.constant != nullptr && one_b && s.n > 0 && s.k > 0;
  if (IsTyped(c.node)) {
    const auto product = TypedProductOf(c.node, s.n, s.k);
    if (!product) return std::optional<Lowered>();
    const bool plain = IsF32(a) && IsF32(b) && product->residual.storage == Storage::kF32 && product->out.storage == Storage::kF32;
    if (!plain) return LowerTypedMatMul(c, {s, packs, tb}, *product, *activation);
  } else if (!IsF32(a) || !IsF32(b)) {
    return std::optional<Lowered>();
  }
  const bool bias = c.node.has_input(2), residual = c.node.has_input(3);
  std::shared_ptr<const AlignedBuffer> packed;
  if (packs) {
    const std::string key = fmt::format("matmul {} {}", static_cast<const void*>(b.constant->data()), tb);
    const size_t bytes = static_cast<size_t>(PackedMatmulBSize(s.k, s.n)) * sizeof(float);
    packed = c.weights.Get(key, bytes, [&](void* p) {
      PackMatmulB(b.constant->as<float>(), tb ? 1 : s.n, tb ? s.k : 1, s.k, s.n, F32(p));
    });
    if (!packed) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", bytes);
  }
  std::vector<int> in = {0};
  if (!packs) in.push_back(1);
  const int bias_at = static_cast<int>(in.size());
  if (bias) in.push_back(2);
  const int residual_at = static_cast<int>(in.size());
  if (residual) in.push_back(3);
  auto run = [=, act = *activation](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    MatmulArgs args;
    args.a = F32(in[0]);
    if (packs) {
      args.packed_b = F32(packed->data());
    } else {
      args.b = F32(in[1]);
    }
    if (bias) args.bias = F32(in[bias_at]);
    if (residual) args.residual = F32(in[residual_at]);
    args.activation = act;
    args.c = F32(out[0]);
    Matmul(s, args, scratch, gang);
    return OkStatus();
  };
  return WithViews(MakeLowered("packed", std::move(in), std::move(run), -1,
                               [s, packs](int threads) { return MatmulScratchBytes(s, packs, threads); }));
}

}  // namespace tfengine::cpu
