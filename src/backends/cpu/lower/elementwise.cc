// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/binary.h"
#include "backends/cpu/kernels/cast.h"
#include "backends/cpu/kernels/convert.h"
#include "backends/cpu/kernels/integer.h"
#include "backends/cpu/kernels/select.h"
#include "backends/cpu/kernels/unary.h"
#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {
namespace {

template <typename T>
struct NamedOp {
  const char* name;
  T op;
};

constexpr NamedOp<UnaryOp> kUnaryOps[] = {
#define TFE_UNARY(name, form) {#name, UnaryOp::k_##name},
#include "backends/cpu/kernels/unary_list.inc"
#undef TFE_UNARY
};
constexpr NamedOp<UnaryTest> kUnaryTests[] = {
    {"is_nan", UnaryTest::k_is_nan}, {"is_inf", UnaryTest::k_is_inf}, {"is_finite", UnaryTest::k_is_finite}};
constexpr NamedOp<BinaryOp> kBinaryOps[] = {
#define TFE_BINARY(name) {#name, BinaryOp::k_##name},
#include "backends/cpu/kernels/binary_list.inc"
#undef TFE_BINARY
};
constexpr NamedOp<CompareOp> kCompareOps[] = {
    {"equal", CompareOp::k_equal},     {"not_equal", CompareOp::k_not_equal},
    {"less", CompareOp::k_less},       {"less_equal", CompareOp::k_less_equal},
    {"greater", CompareOp::k_greater}, {"greater_equal", CompareOp::k_greater_equal}};
constexpr NamedOp<LogicalOp> kLogicalOps[] = {{"logical_and", LogicalOp::k_logical_and},
                                              {"logical_or", LogicalOp::k_logical_or}};

template <typename T, size_t N>
std::optional<T> Find(const NamedOp<T> (&rows)[N], const std::string& name) {
  for (const auto& row : rows)
    if (name == row.name) return row.op;
  return std::nullopt;
}

// An operand whose buffer the result may take over: same size in bytes and not broadcast.
int InPlace(const ConcreteNode& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i].dtype == node.outputs[0].dtype && node.inputs[i].shape == node.outputs[0].shape &&
        !node.inputs[i].constant)
      return static_cast<int>(i);
  return -1;
}

}  // namespace

LowerResult LowerUnary(const LowerContext& c) {
  const std::string kind = c.node.attrs.Str("kind");
  const int64_t n = c.node.outputs[0].num_elements();
  const auto formats = RealFormats(c.node, {0});
  if (auto op = Find(kUnaryOps, kind); op && formats) {
    const float alpha = static_cast<float>(c.node.attrs.Float("alpha", kind == "elu" ? 1 : 0));
    const float beta = static_cast<float>(c.node.attrs.Float("beta"));
    auto run = [=, op = *op, x = formats->front(), y = formats->back()](const void* const* in, void* const* out, void*, Gang& gang) {
      if (x.storage == Storage::kF32 && y.storage == Storage::kF32) {
        Unary(op, F32(in[0]), F32(out[0]), n, alpha, beta, gang);
      } else {
        Unary(op, in[0], x, out[0], y, n, alpha, beta, gang);
      }
      return OkStatus();
    };
    return MakeLowered("vector", {0}, std::move(run), InPlace(c.node));
  }
  if (IsTyped(c.node)) return std::optional<Lowered>();
  if (IsF32(c.node.inputs[0])) {
    if (auto test = Find(kUnaryTests, kind)) {
      auto run = [=, test = *test](const void* const* in, void* const* out, void*, Gang& gang) {
        Unary(test, F32(in[0]), static_cast<bool*>(out[0]), n, gang);
        return OkStatus();
      };
      return MakeLowered("vector", {0}, std::move(run));
    }
  }
  if (kind == "logical_not") {
    auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
      LogicalNot(static_cast<const bool*>(in[0]), static_cast<bool*>(out[0]), n, gang);
      return OkStatus();
    };
    return MakeLowered("vector", {0}, std::move(run), 0);
  }
  return std::optional<Lowered>();
}

LowerResult LowerBinary(const LowerContext& c) {
  const std::string kind = c.node.attrs.Str("kind");
  const Operand& a = c.node.inputs[0];
  const Operand& b = c.node.inputs[1];
  const auto activation = ActivationOf(c.node.attrs);
  if (!activation) return std::optional<Lowered>();
  const LoopNest loops = MakeLoopNest(c.node.outputs[0].shape, {a.shape, b.shape});
  const auto formats = RealFormats(c.node, {0, 1});
  if (auto op = Find(kBinaryOps, kind); op && formats) {
    auto run = [=, op = *op, act = *activation, f = *formats](const void* const* in, void* const* out, void*, Gang& gang) {
      if (f[0].storage == Storage::kF32 && f[1].storage == Storage::kF32 && f[2].storage == Storage::kF32) {
        Binary(op, loops, F32(in[0]), F32(in[1]), F32(out[0]), act, gang);
      } else {
        Binary(op, loops, in[0], f[0], in[1], f[1], out[0], f[2], act, gang);
      }
      return OkStatus();
    };
    return MakeLowered("vector", {0, 1}, std::move(run), InPlace(c.node));
  }
  if (IsTyped(c.node)) return std::optional<Lowered>();
  if (IsF32(a) && IsF32(b)) {
    if (auto op = Find(kCompareOps, kind)) {
      auto run = [=, op = *op](const void* const* in, void* const* out, void*, Gang& gang) {
        Compare(op, loops, F32(in[0]), F32(in[1]), static_cast<bool*>(out[0]), gang);
        return OkStatus();
      };
      return MakeLowered("vector", {0, 1}, std::move(run));
    }
  }
  if (auto op = Find(kLogicalOps, kind)) {
    auto run = [=, op = *op](const void* const* in, void* const* out, void*, Gang& gang) {
      Logical(op, loops, static_cast<const bool*>(in[0]), static_cast<const bool*>(in[1]), static_cast<bool*>(out[0]), gang);
      return OkStatus();
    };
    return MakeLowered("vector", {0, 1}, std::move(run));
  }
  const IntegerBinary integer = FindIntegerBinary(kind, a.dtype);
  if (integer.loop && activation->kind == ActivationKind::kNone) {
    const int64_t b_size = b.num_elements();
    auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
      return RunIntegerBinary(integer, loops, in[0], in[1], b_size, out[0], gang);
    };
    return MakeLowered("vector", {0, 1}, std::move(run), InPlace(c.node));
  }
  return std::optional<Lowered>();
}

LowerResult LowerSelect(const LowerContext& c) {
  if (!IsMovable(c.node.outputs[0])) return std::optional<Lowered>();
  const LoopNest loops = MakeLoopNest(c.node.outputs[0].shape,
                                      {c.node.inputs[0].shape, c.node.inputs[1].shape, c.node.inputs[2].shape});
  const size_t size = DTypeSize(c.node.outputs[0].dtype);
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    Select(loops, static_cast<const bool*>(in[0]), in[1], in[2], out[0], size, gang);
    return OkStatus();
  };
  return MakeLowered("vector", {0, 1, 2}, std::move(run));
}

LowerResult LowerCast(const LowerContext& c) {
  const DType from = c.node.inputs[0].dtype, to = c.node.outputs[0].dtype;
  if (!CastSupported(from, to)) return std::optional<Lowered>();
  const int64_t n = c.node.outputs[0].num_elements();
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    Cast(in[0], from, out[0], to, n, gang);
    return OkStatus();
  };
  return MakeLowered("vector", {0}, std::move(run));
}

LowerResult LowerConvert(const LowerContext& c) {
  const auto formats = RealFormats(c.node, {0});
  if (!formats) return std::optional<Lowered>();
  const int64_t n = c.node.outputs[0].num_elements();
  auto run = [=, x = formats->front(), y = formats->back()](const void* const* in, void* const* out, void*, Gang& gang) {
    Convert(in[0], x, out[0], y, n, gang);
    return OkStatus();
  };
  return MakeLowered("vector", {0}, std::move(run), InPlace(c.node));
}

}  // namespace tfengine::cpu
