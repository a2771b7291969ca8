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

// Where the rows of a node's input and result lie, which an elementwise kernel takes one by one if they lie apart.
struct RowViews {
  explicit RowViews(const ConcreteNode& node) {
    const Operand &x = node.inputs[0], &y = node.outputs[0];
    apart = x.pitch > 0 || y.pitch > 0;
    if (!apart) return;
    cols = y.shape.back();
    rows = y.num_elements() / cols;
    x_row = (x.pitch > 0 ? x.pitch : cols) * static_cast<int64_t>(DTypeSize(x.dtype));
    y_row = (y.pitch > 0 ? y.pitch : cols) * static_cast<int64_t>(DTypeSize(y.dtype));
  }
  // run(x, y, elements, gang) for all in one, or for each row.
  template <typename Run>
  void operator()(const void* x, void* y, int64_t elements, Gang& gang, const Run& run) const {
    if (!apart) return run(x, y, elements, gang);
    constexpr int64_t kPart = 8192;  // elements worth a task of their own
    ParallelRows(gang, rows, cols, kPart, [&](int64_t begin, int64_t end) {
      Gang alone;
      for (int64_t r = begin; r < end; ++r) run(static_cast<const char*>(x) + r * x_row, static_cast<char*>(y) + r * y_row, cols, alone);
    });
  }

  bool apart = false;
  int64_t rows = 0, cols = 0, x_row = 0, y_row = 0;  // of x and y in bytes
};

}  // namespace

LowerResult LowerUnary(const LowerContext& c) {
  const std::string kind = c.node.attrs.Str("kind");
  const int64_t n = c.node.outputs[0].num_elements();
  const auto formats = RealFormats(c.node, {0});
  if (auto op = Find(kUnaryOps, kind); op && formats) {
    const float alpha = static_cast<float>(c.node.attrs.Float("alpha", kind == "elu" ? 1 : 0));
    const float beta = static_cast<float>(c.node.attrs.Float("beta"));
    auto run = [=, op = *op, x = formats->front(), y = formats->back(), rows = RowViews(c.node)](const void* const* in, void* const* out, void*, Gang& gang) {
      rows(in[0], out[0], n, gang, [&](const void* from, void* to, int64_t count, Gang& g) {
        if (x.storage == Storage::kF32 && y.storage == Storage::kF32) {
          Unary(op, F32(from), F32(to), count, alpha, beta, g);
        } else {
          Unary(op, from, x, to, y, count, alpha, beta, g);
        }
      });
      return OkStatus();
    };
    // Tables for codes are made per call: not for each row.
    const bool views = formats->front().storage != Storage::kU8 || *op == UnaryOp::k_relu || *op == UnaryOp::k_relu6 || *op == UnaryOp::k_clip;
    return WithViews(MakeLowered("vector", {0}, std::move(run), InPlace(c.node)), views);
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
  const Operand& y = c.node.outputs[0];
  const int64_t pitches[] = {a.pitch, b.pitch, y.pitch};
  const LoopNest loops = y.pitch > 0 ? MakeLoopNest(y.shape, {a.shape, b.shape, y.shape}, pitches) : MakeLoopNest(y.shape, {a.shape, b.shape}, pitches);
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
    // Rows of one element would be runs of elements that lie apart.
    bool runs = true;
    for (int i = 0; i < loops.operands; ++i) runs = runs && loops.strides[i][loops.rank - 1] <= 1;
    return WithViews(MakeLowered("vector", {0, 1}, std::move(run), InPlace(c.node)), runs);
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
  auto run = [=, x = formats->front(), y = formats->back(), rows = RowViews(c.node)](const void* const* in, void* const* out, void*, Gang& gang) {
    rows(in[0], out[0], n, gang, [&](const void* from, void* to, int64_t count, Gang& g) { Convert(from, x, to, y, count, g); });
    return OkStatus();
  };
  return WithViews(MakeLowered("vector", {0}, std::move(run), InPlace(c.node)));
}

}  // namespace tfengine::cpu
