// SPDX-License-Identifier: Apache-2.0
// Ops that move elements without computing, and sizes as data.
#include <algorithm>

#include "base/status_macros.h"
#include "network/infer.h"

namespace tfengine::infer {

Result<Types> Reshape(Context& c) {
  const Shape x = c.shape(0), out = c.attrs().Dims("shape");
  // Dims that occur on both sides cancel, so that a symbol of 0 does not hide a mismatch of the rest, and the
  // constraint stays short.
  Shape left = x, right;
  for (Dim d : out) {
    if (d.is_const() && d.value < 0) return c.Fail("attribute shape: expected sizes, got {}", c.text(out));
    const auto same = std::find(left.begin(), left.end(), d);
    if (same == left.end() || d.is_const()) {
      right.push_back(d);
    } else {
      left.erase(same);
    }
  }
  if (Status s = c.Equal(c.dims().Product(left), c.dims().Product(right), "elements"); !s.ok())
    return c.Fail("{} has not as many elements as {}", c.text(x), c.text(out));
  return Types{{c.dtype(0), out}};
}

Result<Types> Transpose(Context& c) {
  const std::vector<int64_t> perm = c.attrs().Ints("perm");
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool valid = static_cast<int>(perm.size()) == c.rank(0);
  for (size_t i = 0; valid && i < sorted.size(); ++i) valid = sorted[i] == static_cast<int64_t>(i);
  if (!valid)
    return c.Fail("attribute perm: expected a permutation of {} axes, got {}", c.rank(0),
                  tfengine::ShapeToString(perm));
  Shape out;
  for (int64_t axis : perm) out.push_back(c.shape(0)[axis]);
  return Types{{c.dtype(0), out}};
}

Result<Types> BroadcastTo(Context& c) {
  const Shape x = c.shape(0), out = c.attrs().Dims("shape");
  if (x.size() > out.size()) return c.Fail("{} does not broadcast to {}", c.text(x), c.text(out));
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i].is(1)) continue;
    if (Status s = c.Equal(x[i], out[out.size() - x.size() + i], "shape"); !s.ok())
      return c.Fail("{} does not broadcast to {}", c.text(x), c.text(out));
  }
  return Types{{c.dtype(0), out}};
}

Result<Types> Concat(Context& c) {
  TFE_RETURN_IF_ERROR(c.Range("axis", 0, c.rank(0) - 1));
  TFE_RETURN_IF_ERROR(c.SameType(1, c.num_inputs() - 1));
  const int64_t axis = c.attrs().Int("axis");
  Shape out = c.shape(0);
  for (int i = 1; i < c.num_inputs(); ++i) {
    const Shape x = c.shape(i);
    TFE_RETURN_IF_ERROR(c.Rank(i, c.rank(0)));
    for (int64_t a = 0; a < c.rank(0); ++a) {
      if (a == axis) {
        out[a] = c.dims().Add(out[a], x[a]);
      } else {
        TFE_RETURN_IF_ERROR(c.Equal(out[a], x[a], "sizes off the axis", &out[a]));
      }
    }
  }
  return Types{{c.dtype(0), out}};
}

Result<Types> Slice(Context& c) {
  const size_t rank = c.shape(0).size();
  TFE_RETURN_IF_ERROR(c.List("begin", rank, 0));
  TFE_RETURN_IF_ERROR(c.List("size", rank, 0));
  TFE_RETURN_IF_ERROR(c.List("strides", rank, INT64_MIN));
  const Shape begin = c.attrs().Dims("begin"), size = c.attrs().Dims("size");
  std::vector<int64_t> strides = c.attrs().Ints("strides");
  strides.resize(rank, 1);
  for (size_t i = 0; i < rank; ++i) {
    if (strides[i] == 0) return c.Fail("attribute strides: axis {} has stride 0", i);
    const Dim x = c.shape(0)[i];
    if (!begin[i].is_const() || !size[i].is_const() || !x.is_const() || size[i].is(0)) continue;
    int64_t last;
    if (__builtin_mul_overflow(size[i].value - 1, strides[i], &last) ||
        __builtin_add_overflow(last, begin[i].value, &last) || begin[i].value >= x.value || last < 0 ||
        last >= x.value)
      return c.Fail("axis {}: begin {}, size {}, stride {} leave a size of {}", i, begin[i].value, size[i].value,
                    strides[i], x.value);
  }
  return Types{{c.dtype(0), size}};
}

Result<Types> Pad(Context& c) {
  const size_t rank = c.shape(0).size();
  TFE_RETURN_IF_ERROR(c.List("lo", rank, 0));
  TFE_RETURN_IF_ERROR(c.List("hi", rank, 0));
  const std::string mode = c.attrs().Str("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "symmetric")
    return c.Fail("attribute mode: expected constant, reflect or symmetric, got \"{}\"", mode);
  const Shape lo = c.attrs().Dims("lo"), hi = c.attrs().Dims("hi");
  Shape out;
  for (size_t i = 0; i < rank; ++i) {
    const Dim x = c.shape(0)[i];
    for (Dim pad : {lo[i], hi[i]}) {
      const int64_t most = x.value - (mode == "reflect" ? 1 : 0);
      if (mode != "constant" && pad.is_const() && x.is_const() && pad.value > most && pad.value > 0)
        return c.Fail("axis {}: padding {} is beyond {} of mode {}", i, pad.value, most, mode);
    }
    out.push_back(c.dims().Add(x, c.dims().Add(lo[i], hi[i])));
  }
  return Types{{c.dtype(0), out}};
}

Result<Types> Tile(Context& c) {
  TFE_RETURN_IF_ERROR(c.List("reps", c.shape(0).size(), 0));
  const Shape reps = c.attrs().Dims("reps");
  Shape out;
  for (size_t i = 0; i < reps.size(); ++i) out.push_back(c.dims().Mul(c.shape(0)[i], reps[i]));
  return Types{{c.dtype(0), out}};
}

Result<Types> Gather(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(1, IsIndex, "i32 or i64"));
  TFE_RETURN_IF_ERROR(c.Range("batch_dims", 0, std::min(c.rank(0), c.rank(1))));
  const int64_t batch = c.attrs().Int("batch_dims");
  TFE_RETURN_IF_ERROR(c.Range("axis", batch, c.rank(0) - 1));
  const int64_t axis = c.attrs().Int("axis");
  const Shape params = c.shape(0), indices = c.shape(1);
  Shape out(params.begin(), params.begin() + axis);
  for (int64_t i = 0; i < batch; ++i)
    TFE_RETURN_IF_ERROR(c.Equal(params[i], indices[i], "batch dims", &out[i]));
  out.insert(out.end(), indices.begin() + batch, indices.end());
  out.insert(out.end(), params.begin() + axis + 1, params.end());
  return Types{{c.dtype(0), out}};
}

Result<Types> GatherNd(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(1, IsIndex, "i32 or i64"));
  const Shape params = c.shape(0), indices = c.shape(1);
  if (indices.empty()) return c.Fail("indices: expected rank 1 or more");
  const int64_t batch = c.attrs().Int("batch_dims");
  TFE_RETURN_IF_ERROR(c.Range("batch_dims", 0, std::min<int64_t>(c.rank(0), c.rank(1) - 1)));
  const Dim depth = indices.back();
  if (!depth.is_const()) return c.Fail("indices: the last size must be constant, got {}", c.text(indices));
  if (depth.value > c.rank(0) - batch)
    return c.Fail("indices: last size {} is beyond the {} axes of params", depth.value, c.rank(0) - batch);
  Shape out(indices.begin(), indices.end() - 1);
  for (int64_t i = 0; i < batch; ++i)
    TFE_RETURN_IF_ERROR(c.Equal(params[i], indices[i], "batch dims", &out[i]));
  out.insert(out.end(), params.begin() + batch + depth.value, params.end());
  return Types{{c.dtype(0), out}};
}

Result<Types> OneHot(Context& c) {
  TFE_RETURN_IF_ERROR(c.Type(0, IsInteger, "integer"));
  TFE_RETURN_IF_ERROR(c.Range("axis", 0, c.rank(0)));
  Shape out = c.shape(0);
  out.insert(out.begin() + c.attrs().Int("axis"), c.attrs().DimOf("depth"));
  return Types{{c.attrs().Type(), out}};
}

Result<Types> DimsOp(Context& c) {
  const Shape shape = c.attrs().Dims("shape"), values = c.attrs().Dims("values");
  const bool fits = shape.empty() ? values.size() == 1
                                  : shape.size() == 1 && shape[0].is(static_cast<int64_t>(values.size()));
  if (!fits)
    return c.Fail("attribute shape: expected [{}], or [] for one value, got {}", values.size(), c.text(shape));
  if (!IsNumeric(c.attrs().Type())) return c.Fail("attribute dtype: expected a numeric type");
  return Types{{c.attrs().Type(), shape}};
}

Result<Types> RangeOp(Context& c) {
  if (!IsNumeric(c.attrs().Type())) return c.Fail("attribute dtype: expected a numeric type");
  return Types{{c.attrs().Type(), {c.attrs().DimOf("size")}}};
}

}  // namespace tfengine::infer
