// SPDX-License-Identifier: Apache-2.0
#include "passes/simplify_shapes.h"

#include <algorithm>
#include <numeric>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/rewriter.h"
#include "passes/shapes.h"

namespace tfengine::passes {
namespace {

bool AllZero(const Shape& dims) {
  return std::all_of(dims.begin(), dims.end(), [](const Dim& d) { return d.is(0); });
}

// Whether `node` hands its first input through.
bool IsNoOp(const Node& node) {
  switch (node.op) {
    case Op::kReshape:
    case Op::kBroadcast:
    case Op::kCast: return true;  // if the types agree, which the caller checks
    case Op::kTranspose: {
      std::vector<int64_t> perm = node.attrs.Ints("perm");
      return std::is_sorted(perm.begin(), perm.end());
    }
    case Op::kSlice: {
      std::vector<int64_t> strides = node.attrs.Ints("strides");
      return AllZero(node.attrs.Dims("begin")) &&
             std::all_of(strides.begin(), strides.end(), [](int64_t s) { return s == 1; });
    }
    case Op::kPad: return AllZero(node.attrs.Dims("lo")) && AllZero(node.attrs.Dims("hi"));
    case Op::kTile: {
      Shape reps = node.attrs.Dims("reps");
      return std::all_of(reps.begin(), reps.end(), [](const Dim& d) { return d.is(1); });
    }
    case Op::kConcat: return node.inputs.size() == 1;
    default: return false;
  }
}

// Whether every value of `from` survives the way through `to`.
bool IsLossless(DType from, DType to) {
  if (from == to || from == DType::kBool) return true;
  switch (from) {
    case DType::kUint8:
    case DType::kInt8: return IsFloat(to) || to == DType::kInt16 || to == DType::kInt32 || to == DType::kInt64;
    case DType::kInt16:
    case DType::kUint16:
      return to == DType::kFloat32 || to == DType::kFloat64 || to == DType::kInt32 || to == DType::kInt64;
    case DType::kInt32: return to == DType::kInt64 || to == DType::kFloat64;
    case DType::kFloat16:
    case DType::kBfloat16: return to == DType::kFloat32 || to == DType::kFloat64;
    case DType::kFloat32: return to == DType::kFloat64;
    default: return false;
  }
}

Result<bool> SimplifyCast(Rewriter& r, const Node& node) {
  const Node* inner = r.Producer(node.inputs[0], Op::kCast);
  if (!inner) return false;
  ValueId x = inner->inputs[0], out = node.outputs[0];
  DType from = r.dtype(x), via = r.dtype(inner->outputs[0]), to = r.dtype(out);
  // Integers that do not fit are converted differently from floats than from integers: keep those.
  if (!IsLossless(from, via) || !(to == from || to == DType::kBool || IsFloat(to) || from == DType::kBool))
    return false;
  if (to == from) return r.Replace(out, x);
  TFE_ASSIGN_OR_RETURN(ValueId cast, r.Add(Op::kCast, node.name, {x}, {{"dtype", static_cast<int64_t>(to)}}));
  return r.Replace(out, cast);
}

Result<bool> SimplifyReshape(Rewriter& r, const Node& node) {
  const Node* inner = r.Producer(node.inputs[0], Op::kReshape);
  if (!inner) return false;
  ValueId out = node.outputs[0];
  TFE_ASSIGN_OR_RETURN(ValueId reshaped, r.AddReshape(node.name, inner->inputs[0], Shape(r.shape(out))));
  return r.Replace(out, reshaped);
}

Result<bool> SimplifyTranspose(Rewriter& r, const Node& node) {
  ValueId x = node.inputs[0], out = node.outputs[0];
  std::vector<int64_t> perm = node.attrs.Ints("perm");
  ValueId result;
  if (KeepsOrder(perm, r.shape(x))) {
    TFE_ASSIGN_OR_RETURN(result, r.AddReshape(node.name, x, Shape(r.shape(out))));
  } else if (const Node* inner = r.Producer(x, Op::kTranspose)) {
    TFE_ASSIGN_OR_RETURN(result,
                         r.AddTranspose(node.name, inner->inputs[0], Compose(inner->attrs.Ints("perm"), perm)));
  } else {
    return false;
  }
  return r.Replace(out, result);
}

Result<bool> SimplifyReduce(Rewriter& r, const Node& node) {
  ValueId x = node.inputs[0], out = node.outputs[0];
  std::vector<int64_t> axes;
  for (int64_t axis : node.attrs.Ints("axes"))
    if (!r.shape(x)[axis].is(1)) axes.push_back(axis);
  if (r.dtype(x) != r.dtype(out)) return false;
  ValueId result;
  if (axes.empty()) {
    TFE_ASSIGN_OR_RETURN(result, r.AddReshape(node.name, x, Shape(r.shape(out))));
  } else if (axes.size() < node.attrs.Ints("axes").size() && node.attrs.Bool("keepdims")) {
    Attrs attrs = node.attrs;
    attrs.Set("axes", axes);
    TFE_ASSIGN_OR_RETURN(result, r.Add(Op::kReduce, node.name, {x}, attrs));
  } else {
    return false;
  }
  return r.Replace(out, result);
}

// Drops broadcasts in front of an elementwise op when the other operands still give its shape.
Result<bool> DropBroadcasts(Rewriter& r, int index) {
  bool changed = false;
  for (size_t slot = 0; slot < r.node(index).inputs.size(); ++slot) {
    const Node& node = r.node(index);
    const Node* broadcast = r.Producer(node.inputs[slot], Op::kBroadcast);
    if (!broadcast) continue;
    ValueId x = broadcast->inputs[0];
    std::vector<Shape> operands;
    for (size_t i = 0; i < node.inputs.size(); ++i) operands.push_back(r.shape(i == slot ? x : node.inputs[i]));
    if (!BroadcastGives(operands, r.shape(node.outputs[0]))) continue;
    r.SetInput(index, static_cast<int>(slot), x);
    changed = true;
  }
  return changed;
}

// The shape of x so that broadcasting it to `to` is what broadcasting it to `from` and then reshaping to `to` is: the
// two differ in 1s only. Empty if they do not.
Shape ReshapedSource(const Shape& x, const Shape& from, const Shape& to) {
  Shape padded = WithRank(x, from.size()), result;
  size_t i = 0;
  for (const Dim& dim : to) {
    while (!dim.is(1) && i < from.size() && from[i].is(1)) ++i;
    if (dim.is(1) && (i == from.size() || !from[i].is(1))) {
      result.push_back(Dim(1));
    } else if (i < from.size() && from[i] == dim) {
      result.push_back(padded[i++]);
    } else {
      return {};
    }
  }
  while (i < from.size() && from[i].is(1)) ++i;
  return i == from.size() ? result : Shape{};
}

bool HasOneElement(const Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& d) { return d.is(1); });
}

// op(broadcast(x)) → broadcast(op(x)): less to compute, and masks stay compact.
Result<bool> SinkBroadcast(Rewriter& r, const Node& node) {
  ValueId out = node.outputs[0], result;
  for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
    const Node* broadcast = r.Producer(node.inputs[slot], Op::kBroadcast);
    if (!broadcast) continue;
    ValueId x = broadcast->inputs[0];
    if (node.op == Op::kReshape) {
      Shape shape = ReshapedSource(r.shape(x), r.shape(node.inputs[0]), r.shape(out));
      if (shape.empty()) return false;
      TFE_ASSIGN_OR_RETURN(result, r.AddReshape(node.name, x, shape));
    } else {
      if (r.shape(out) != r.shape(node.inputs[slot])) continue;
      if (node.inputs.size() == 2 && !HasOneElement(r.shape(node.inputs[1 - slot]))) continue;
      std::vector<ValueId> inputs = node.inputs;
      inputs[slot] = x;
      TFE_ASSIGN_OR_RETURN(result, r.Add(node.op, node.name, std::move(inputs), node.attrs));
    }
    TFE_ASSIGN_OR_RETURN(result, r.Add(Op::kBroadcast, node.name, {result}, {{"shape", Shape(r.shape(out))}}));
    return r.Replace(out, result);
  }
  return false;
}

// The input of a transpose that swaps the last two axes, or kNoValue.
ValueId Untransposed(const Rewriter& r, ValueId id) {
  const Node* node = r.Producer(id, Op::kTranspose);
  return node && SwapsLastTwo(node->attrs.Ints("perm")) ? node->inputs[0] : kNoValue;
}

Result<bool> AbsorbTransposes(Rewriter& r, int index) {
  bool changed = false;
  for (int slot = 0; slot < 2; ++slot) {
    ValueId x = Untransposed(r, r.node(index).inputs[slot]);
    if (x == kNoValue) continue;
    const char* flag = slot == 0 ? "transpose_a" : "transpose_b";
    bool transposed = r.node(index).attrs.Bool(flag);
    r.SetInput(index, slot, x);
    r.SetAttr(index, flag, !transposed);
    changed = true;
  }
  return changed;
}

// transpose(matmul(a, b)) = matmul(b', a')
Result<bool> AbsorbResultTranspose(Rewriter& r, const Node& node) {
  ValueId out = node.outputs[0];
  const Node* matmul = r.Producer(node.inputs[0]);
  if (!matmul || !IsBareMatMul(*matmul) || !SwapsLastTwo(node.attrs.Ints("perm"))) return false;
  if (!r.SingleUse(node.inputs[0])) return false;
  Attrs attrs{{"transpose_a", !matmul->attrs.Bool("transpose_b")}, {"transpose_b", !matmul->attrs.Bool("transpose_a")}};
  std::vector<ValueId> inputs{matmul->inputs[1], matmul->inputs[0]};
  TFE_ASSIGN_OR_RETURN(ValueId swapped, r.Add(Op::kMatMul, matmul->name, inputs, attrs));
  return r.Replace(out, swapped);
}

Result<bool> SimplifyNode(Rewriter& r, int index) {
  const Node node = r.node(index);  // a copy: Add moves nodes
  if (IsNoOp(node) && r.Replace(node.outputs[0], node.inputs[0])) return true;
  switch (node.op) {
    case Op::kCast: {
      TFE_ASSIGN_OR_RETURN(bool changed, SimplifyCast(r, node));
      return changed ? Result<bool>(true) : SinkBroadcast(r, node);
    }
    case Op::kReshape: {
      TFE_ASSIGN_OR_RETURN(bool changed, SimplifyReshape(r, node));
      return changed ? Result<bool>(true) : SinkBroadcast(r, node);
    }
    case Op::kUnary: return SinkBroadcast(r, node);
    case Op::kTranspose: {
      TFE_ASSIGN_OR_RETURN(bool changed, SimplifyTranspose(r, node));
      return changed ? Result<bool>(true) : AbsorbResultTranspose(r, node);
    }
    case Op::kBroadcast:
      if (const Node* inner = r.Producer(node.inputs[0], Op::kBroadcast)) {
        r.SetInput(index, 0, inner->inputs[0]);
        return true;
      }
      return false;
    case Op::kReduce: return SimplifyReduce(r, node);
    case Op::kBinary: {
      TFE_ASSIGN_OR_RETURN(bool changed, DropBroadcasts(r, index));
      return changed ? Result<bool>(true) : SinkBroadcast(r, node);
    }
    case Op::kSelect: return DropBroadcasts(r, index);
    case Op::kMatMul: return AbsorbTransposes(r, index);
    default: return false;
  }
}

}  // namespace

Result<bool> SimplifyShapes(Network& network) { return RewriteAll(network, SimplifyNode); }

}  // namespace tfengine::passes
