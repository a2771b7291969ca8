// SPDX-License-Identifier: Apache-2.0
// Products, attention, normalisation, reductions and scans.
#include "base/status_macros.h"
#include "network/infer.h"

namespace tfengine::infer {

Result<Types> MatMul(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsNumeric, "numeric"));
  TFE_RETURN_IF_ERROR(c.SameType(1, 1));
  TFE_RETURN_IF_ERROR(c.Activation());
  const Shape a = c.shape(0), b = c.shape(1);
  if (a.size() < 2 || b.size() < 2)
    return c.Fail("expected rank 2 or more, got {} and {}", c.text(a), c.text(b));
  Dim m = a[a.size() - 2], ka = a[a.size() - 1], kb = b[b.size() - 2], n = b[b.size() - 1];
  if (c.attrs().Bool("transpose_a")) std::swap(m, ka);
  if (c.attrs().Bool("transpose_b")) std::swap(kb, n);
  TFE_RETURN_IF_ERROR(c.Equal(ka, kb, "inner sizes of a and b"));
  Shape out;
  TFE_RETURN_IF_ERROR(
      c.Broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2), "leading dims", &out));
  out.push_back(m);
  out.push_back(n);
  TFE_RETURN_IF_ERROR(c.Optional(2, {n}));
  TFE_RETURN_IF_ERROR(c.Optional(3, out));
  return Types{{c.dtype(0), out}};
}

Result<Types> Attention(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsFloat, "floating point"));
  TFE_RETURN_IF_ERROR(c.SameType(1, 2));
  for (int i = 0; i < 3; ++i) TFE_RETURN_IF_ERROR(c.Rank(i, 4));
  const Shape q = c.shape(0), k = c.shape(1), v = c.shape(2);
  for (int axis : {0, 2}) {
    TFE_RETURN_IF_ERROR(c.Equal(q[axis], k[axis], "batch and heads of k"));
    TFE_RETURN_IF_ERROR(c.Equal(q[axis], v[axis], "batch and heads of v"));
  }
  TFE_RETURN_IF_ERROR(c.Equal(q[3], k[3], "depth of k"));
  TFE_RETURN_IF_ERROR(c.Equal(k[1], v[1], "length of v"));
  if (c.has(3)) {
    if (c.dtype(3) != DType::kBool && c.dtype(3) != DType::kFloat32 && c.dtype(3) != c.dtype(0))
      return c.Fail("mask: expected bool or f32, got {}", ShortName(c.dtype(3)));
    const Shape scores = {q[0], q[2], q[1], k[1]}, mask = c.shape(3);
    Shape out;
    if (mask.size() > 4) return c.Fail("mask: expected rank 4 or less, got {}", c.text(mask));
    TFE_RETURN_IF_ERROR(c.Broadcast(scores, mask, "mask", &out));
    TFE_RETURN_IF_ERROR(c.EqualShapes(scores, out, "mask"));
  }
  return Types{{c.dtype(0), {q[0], q[1], q[2], v[3]}}};
}

Result<Types> BatchNorm(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsFloat, "floating point"));
  if (c.rank(0) < 1) return c.Fail("expected rank 1 or more");
  for (int i = 1; i < 5; ++i) {
    TFE_RETURN_IF_ERROR(c.Rank(i, 1));
    // As in TensorFlow, statistics may be f32 for a 16-bit x.
    if (c.dtype(i) != c.dtype(0) && c.dtype(i) != DType::kFloat32)
      return c.Fail("input {}: expected element type {} or f32, got {}", i, ShortName(c.dtype(0)),
                    ShortName(c.dtype(i)));
    TFE_RETURN_IF_ERROR(c.Equal(c.shape(0).back(), c.shape(i)[0], "channels"));
  }
  return Types{{c.dtype(0), c.shape(0)}};
}

Result<Types> LayerNorm(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsFloat, "floating point"));
  if (c.rank(0) < 1) return c.Fail("expected rank 1 or more");
  for (int i : {1, 2}) {
    if (!c.has(i)) continue;
    TFE_RETURN_IF_ERROR(c.Rank(i, 1));
    if (c.dtype(i) != c.dtype(0) && c.dtype(i) != DType::kFloat32)
      return c.Fail("input {}: expected element type {} or f32, got {}", i, ShortName(c.dtype(0)),
                    ShortName(c.dtype(i)));
    TFE_RETURN_IF_ERROR(c.Equal(c.shape(0).back(), c.shape(i)[0], "channels"));
  }
  TFE_RETURN_IF_ERROR(c.Optional(3, c.shape(0)));
  return Types{{c.dtype(0), c.shape(0)}};
}

Result<Types> Softmax(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsFloat, "floating point"));
  if (c.rank(0) < 1) return c.Fail("expected rank 1 or more");
  return Types{{c.dtype(0), c.shape(0)}};
}

Result<Types> Reduce(Context& c) {
  const std::string kind = c.attrs().Str("kind");
  if (kind == "any" || kind == "all") {
    if (c.dtype(0) != DType::kBool) return c.Fail("expected element type bool, got {}", ShortName(c.dtype(0)));
  } else if (kind == "sum" || kind == "mean" || kind == "max" || kind == "min" || kind == "prod") {
    TFE_RETURN_IF_ERROR(c.Type(0, IsNumeric, "numeric"));
  } else {
    return c.Fail("attribute kind: expected sum, mean, max, min, prod, any or all, got \"{}\"", kind);
  }
  const std::vector<int64_t> axes = c.attrs().Ints("axes");
  int64_t last = -1;
  for (int64_t axis : axes) {
    if (axis <= last || axis >= c.rank(0))
      return c.Fail("attribute axes: expected ascending axes of shape {}, got {}", c.text(c.shape(0)),
                    tfengine::ShapeToString(axes));
    last = axis;
  }
  Shape out;
  size_t next = 0;
  for (int axis = 0; axis < c.rank(0); ++axis) {
    const bool reduced = next < axes.size() && axes[next] == axis;
    next += reduced;
    if (!reduced) {
      out.push_back(c.shape(0)[axis]);
    } else if (c.attrs().Bool("keepdims")) {
      out.push_back(Dim(1));
    }
  }
  return Types{{c.dtype(0), out}};
}

Result<Types> ArgReduce(Context& c) {
  const std::string kind = c.attrs().Str("kind");
  if (kind != "max" && kind != "min") return c.Fail("attribute kind: expected max or min, got \"{}\"", kind);
  if (!IsIndex(c.attrs().Type())) return c.Fail("attribute dtype: expected i32 or i64");
  TFE_RETURN_IF_ERROR(c.Range("axis", 0, c.rank(0) - 1));
  Shape out = c.shape(0);
  out.erase(out.begin() + c.attrs().Int("axis"));
  return Types{{c.attrs().Type(), out}};
}

Result<Types> TopK(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsNumeric, "numeric"));
  if (c.rank(0) < 1) return c.Fail("expected rank 1 or more");
  Shape out = c.shape(0);
  const Dim k = c.attrs().DimOf("k");
  if (k.is_const() && (k.value < 0 || (out.back().is_const() && k.value > out.back().value)))
    return c.Fail("attribute k: expected 0 to {}, got {}", c.text(out.back()), k.value);
  out.back() = k;
  return Types{{c.dtype(0), out}, {DType::kInt32, out}};
}

Result<Types> Cumulative(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsNumeric, "numeric"));
  const std::string kind = c.attrs().Str("kind");
  if (kind != "sum" && kind != "prod") return c.Fail("attribute kind: expected sum or prod, got \"{}\"", kind);
  TFE_RETURN_IF_ERROR(c.Range("axis", 0, c.rank(0) - 1));
  return Types{{c.dtype(0), c.shape(0)}};
}

}  // namespace tfengine::infer
