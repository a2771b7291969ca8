// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/reduce.h"

#include "backends/cpu/kernels/arg_reduce.h"
#include "backends/cpu/kernels/cumulative.h"
#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

LowerResult LowerReduce(const LowerContext& c) {
  const std::string kind = c.node.attrs.Str("kind");
  const std::vector<int64_t> dims = c.node.inputs[0].shape;
  uint32_t axes = 0;
  for (int64_t a : c.node.attrs.Ints("axes")) axes |= 1u << a;
  struct Row {
    const char* name;
    ReduceOp op;
  };
  static constexpr Row kRows[] = {{"sum", ReduceOp::k_sum}, {"mean", ReduceOp::k_mean}, {"max", ReduceOp::k_max},
                                  {"min", ReduceOp::k_min}, {"prod", ReduceOp::k_prod}};
  const auto formats = RealFormats(c.node, {0});
  for (const Row& row : kRows) {
    if (kind != row.name || !formats || (row.op == ReduceOp::k_prod && IsTyped(c.node))) continue;
    auto run = [=, op = row.op, from = formats->front(), to = formats->back()](const void* const* in, void* const* out,
                                                                                void* scratch, Gang& gang) {
      Reduce(op, in[0], from, dims, axes, out[0], to, scratch, gang);
      return OkStatus();
    };
    return MakeLowered("loops", {0}, std::move(run), -1,
                       [=, to = formats->back()](int threads) { return ReduceScratchBytes(dims, axes, threads, to); });
  }
  if ((kind == "any" || kind == "all") && c.node.inputs[0].dtype == DType::kBool) {
    const auto op = kind == "any" ? ReduceLogicalOp::k_any : ReduceLogicalOp::k_all;
    auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
      Reduce(op, static_cast<const bool*>(in[0]), dims, axes, static_cast<bool*>(out[0]), gang);
      return OkStatus();
    };
    return MakeLowered("loops", {0}, std::move(run));
  }
  return std::optional<Lowered>();
}

LowerResult LowerArgReduce(const LowerContext& c) {
  const auto& dims = c.node.inputs[0].shape;
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  if (!IsF32(c.node.inputs[0]) || dims[axis] < 1) return std::optional<Lowered>();
  const int64_t outer = Product(dims, 0, axis), size = dims[axis], inner = Product(dims, axis + 1, dims.size());
  const ArgReduceOp op = c.node.attrs.Str("kind") == "max" ? ArgReduceOp::k_max : ArgReduceOp::k_min;
  const DType type = c.node.outputs[0].dtype;
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    ArgReduce(op, F32(in[0]), outer, size, inner, type, out[0], gang);
    return OkStatus();
  };
  return MakeLowered("loops", {0}, std::move(run));
}

LowerResult LowerTopK(const LowerContext& c) {
  const auto& dims = c.node.inputs[0].shape;
  if (!IsF32(c.node.inputs[0])) return std::optional<Lowered>();
  const int64_t rows = Product(dims, 0, dims.size() - 1), cols = dims.back(), k = c.node.outputs[0].shape.back();
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    TopK(F32(in[0]), rows, cols, k, F32(out[0]), static_cast<int32_t*>(out[1]), gang);
    return OkStatus();
  };
  return MakeLowered("rows", {0}, std::move(run));
}

LowerResult LowerCumulative(const LowerContext& c) {
  if (!IsF32(c.node.inputs[0])) return std::optional<Lowered>();
  const auto& dims = c.node.inputs[0].shape;
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  const int64_t outer = Product(dims, 0, axis), size = dims[axis], inner = Product(dims, axis + 1, dims.size());
  const CumulativeOp op = c.node.attrs.Str("kind") == "sum" ? CumulativeOp::k_sum : CumulativeOp::k_prod;
  const bool exclusive = c.node.attrs.Bool("exclusive"), reverse = c.node.attrs.Bool("reverse");
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    Cumulative(op, F32(in[0]), outer, size, inner, exclusive, reverse, F32(out[0]), gang);
    return OkStatus();
  };
  return MakeLowered("loops", {0}, std::move(run), exclusive ? -1 : 0);
}

}  // namespace tfengine::cpu
