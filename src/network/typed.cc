// SPDX-License-Identifier: Apache-2.0
// Typed nodes: reals in reduced representations (network/ops.inc says what they mean).
#include <algorithm>
#include <cmath>

#include "base/status_macros.h"
#include "network/infer.h"

namespace tfengine {

OutType OutTypeOf(const Attrs& attrs) {
  OutType type;
  if (!attrs.Has("out")) return type;
  type.dtype = attrs.Type("out");
  type.quant.scale = static_cast<float>(attrs.Float("out_scale"));
  type.quant.zero = static_cast<int>(attrs.Int("out_zero"));
  type.lo = static_cast<int>(attrs.Int("out_lo", 0));
  type.hi = static_cast<int>(attrs.Int("out_hi", 255));
  return type;
}

void SetOutType(const OutType& type, Attrs* attrs) {
  EraseOutType(attrs);
  attrs->Set("out", type.dtype);
  if (!type.quant.quantized()) return;
  attrs->Set("out_scale", static_cast<double>(type.quant.scale));
  if (type.dtype == DType::kFloat8E4m3) return;
  attrs->Set("out_zero", int64_t{type.quant.zero});
  if (type.lo != 0) attrs->Set("out_lo", int64_t{type.lo});
  if (type.hi != 255) attrs->Set("out_hi", int64_t{type.hi});
}

void EraseOutType(Attrs* attrs) {
  for (const char* key : {"out", "out_scale", "out_zero", "out_lo", "out_hi"}) attrs->Erase(key);
}

bool MovesElements(Op op, const Attrs& attrs) {
  switch (op) {
    case Op::kReshape: case Op::kTranspose: case Op::kBroadcast: case Op::kConcat: case Op::kSlice: case Op::kPad:
    case Op::kGather: case Op::kGatherNd: case Op::kTile: case Op::kDepthToSpace: case Op::kSpaceToDepth:
    case Op::kSelect: return true;
    case Op::kPool: return attrs.Str("kind") == "max";
    case Op::kResize: return attrs.Str("kind") == "nearest";
    default: return false;
  }
}

bool IsMoved(const Network& network, const Value& value) {
  if (value.producer < 0) return false;
  const Node& producer = network.nodes()[value.producer];
  return MovesElements(producer.op, producer.attrs);
}

bool CanBeTyped(Op op, const Attrs& attrs) {
  switch (op) {
    case Op::kConv2d: case Op::kMatMul: case Op::kAttention: case Op::kBatchNorm: case Op::kLayerNorm: case Op::kSoftmax:
    case Op::kLogSoftmax: case Op::kConvert: return true;
    case Op::kPool: return attrs.Str("kind") == "avg";
    case Op::kResize: return attrs.Str("kind") == "bilinear";
    case Op::kReduce: {
      const std::string kind = attrs.Str("kind");
      return kind == "sum" || kind == "mean" || kind == "max" || kind == "min";
    }
    case Op::kUnary: {
      UnaryKind kind;
      if (!ParseKind(attrs.Str("kind"), &kind)) return false;
      return kind != UnaryKind::k_is_nan && kind != UnaryKind::k_is_inf && kind != UnaryKind::k_is_finite &&
             kind != UnaryKind::k_logical_not;
    }
    case Op::kBinary: {
      BinaryKind kind;
      return ParseKind(attrs.Str("kind"), &kind) && !IsPredicate(kind);
    }
    default: return false;
  }
}

std::pair<int, int> MovedInputs(const Node& node) {
  if (node.op == Op::kConcat) return {0, static_cast<int>(node.inputs.size())};
  if (node.op == Op::kSelect) return {1, 3};
  return {0, 1};
}

namespace infer {
namespace {

bool IsReal(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kBfloat16 || dtype == DType::kFloat16; }

Status CheckOut(const Context& c) {
  const OutType out = OutTypeOf(c.attrs());
  if (IsReal(out.dtype)) {
    if (c.attrs().Has("out_scale")) return c.Fail("attribute out_scale: only for out = u8 or f8e4m3");
    return OkStatus();
  }
  if (out.dtype != DType::kUint8 && out.dtype != DType::kFloat8E4m3)
    return c.Fail("attribute out: expected f32, bf16, f16, u8 or f8e4m3, got {}", ShortName(out.dtype));
  if (!std::isfinite(out.quant.scale) || out.quant.scale <= 0)
    return c.Fail("attribute out_scale: expected a positive number, got {}", out.quant.scale);
  if (out.dtype == DType::kFloat8E4m3) {
    for (const char* key : {"out_zero", "out_lo", "out_hi"})
      if (c.attrs().Has(key)) return c.Fail("attribute {}: only for out = u8", key);
    return OkStatus();
  }
  if (out.lo < 0 || out.hi > 255 || out.lo > out.hi || out.quant.zero < out.lo || out.quant.zero > out.hi)
    return c.Fail("expected 0 <= out_lo <= out_zero <= out_hi <= 255, got {}, {}, {}", out.lo, out.quant.zero, out.hi);
  return OkStatus();
}

}  // namespace

Status BeginTyped(Context& c) {
  const Node& node = c.node();
  bool quantized = false;
  for (int i = 0; i < c.num_inputs(); ++i) quantized = quantized || (c.has(i) && c.quant(i).quantized());
  const bool has_out = c.attrs().Has("out");
  if (!quantized && !has_out) {
    if (node.op == Op::kConvert) return c.Fail("attribute out is missing");
    for (int i = 4; (node.op == Op::kConv2d || node.op == Op::kMatMul) && i < c.num_inputs(); ++i)
      if (c.has(i)) return c.Fail("input {}: steps are for a quantized input 0 only", i);
    return OkStatus();
  }
  if (MovesElements(node.op, c.attrs())) {
    const auto [first, last] = MovedInputs(node);
    for (int i = 0; i < c.num_inputs(); ++i) {
      const bool moved = i >= first && i < last;
      if (moved ? c.quant(i) != c.quant(first) : c.quant(i).quantized())
        return c.Fail("input {}: its quantization differs from that of input {}", i, first);
    }
    return OkStatus();
  }
  if (!has_out || !CanBeTyped(node.op, c.attrs())) return c.Fail("quantized input without attribute out");
  TFE_RETURN_IF_ERROR(CheckOut(c));
  if (node.op == Op::kConv2d || node.op == Op::kMatMul) {
    const bool steps = c.has(4);
    if (c.quant(0).quantized() != steps)
      return c.Fail("{}", steps ? "input 4: steps are for a quantized input 0 only" : "input 4: steps are missing");
    if (c.quant(1).quantized()) return c.Fail("input 1: expected a real tensor, got a quantized one");
    if (steps && c.node().op == Op::kMatMul && c.attrs().Bool("transpose_a")) return c.Fail("transpose_a of a quantized input");
  }
  c.set_typed();
  for (int i = 0; i < c.num_inputs(); ++i)
    if (c.has(i) && c.dtype(i) != DType::kFloat32 && !(node.op == Op::kAttention && i == 3))
      return c.Fail("input {}: expected a real tensor, got {}", i, ShortName(c.dtype(i)));
  if ((node.op == Op::kConv2d || node.op == Op::kMatMul) && c.has(4)) {
    TFE_RETURN_IF_ERROR(c.Rank(4, 1));
    const Shape& w = c.shape(1);
    if (w.size() < 2) return c.Fail("input 1: expected rank 2 or more, got {}", c.text(w));
    const bool transposed = node.op == Op::kMatMul && c.attrs().Bool("transpose_b");
    TFE_RETURN_IF_ERROR(c.Equal(w[w.size() - (transposed ? 2 : 1)], c.shape(4)[0], "number of steps"));
  }
  return OkStatus();
}

Status EndTyped(Context& c, Types* types) {
  if (c.attrs().Has("out")) {
    const OutType out = OutTypeOf(c.attrs());
    (*types)[0].dtype = out.dtype;
    (*types)[0].quant = out.quant;
  } else if (MovesElements(c.node().op, c.attrs())) {
    (*types)[0].quant = c.quant(MovedInputs(c.node()).first);
  }
  return OkStatus();
}

Result<Types> Convert(Context& c) { return Types{{c.dtype(0), c.shape(0)}}; }

}  // namespace infer
}  // namespace tfengine
