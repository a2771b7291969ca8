// SPDX-License-Identifier: Apache-2.0
// Reductions, selection and scans.
#include <algorithm>
#include <limits>

#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

bool IsReal(const std::string& wide) { return wide == "float" || wide == "double"; }

// The number that "max" (or "min") of nothing is.
std::string Least(const Elem& e, bool negate) {
  if (IsReal(e.wide())) return Literal(negate ? INFINITY : -INFINITY, e.wide());
  auto limits = [&](auto tag) {
    using T = decltype(tag);
    return fmt::format("(W){}{}", negate ? std::numeric_limits<T>::max() : std::numeric_limits<T>::lowest() + (std::is_signed_v<T> ? 1 : 0),
                       std::is_signed_v<T> ? (negate ? "ll" : "ll - 1") : "ull");
  };
  switch (e.dtype) {
    case DType::kInt8: return limits(int8_t());
    case DType::kInt16: return limits(int16_t());
    case DType::kInt32: return limits(int32_t());
    case DType::kInt64: return limits(int64_t());
    case DType::kUint8: return limits(uint8_t());
    case DType::kUint16: return limits(uint16_t());
    case DType::kUint32: return limits(uint32_t());
    default: return limits(uint64_t());
  }
}

// Threads that share the work of one result: a power of 2.
int LanesFor(int64_t terms, int64_t results, int processors) {
  int lanes = 1;
  while (lanes < 256 && lanes < terms && (lanes < 32 || results * lanes < int64_t{processors} * 512)) lanes *= 2;
  return lanes;
}

// Reductions over all but the innermost axes: a thread combines `v` neighbours that are kept. `kept` walks over groups of
// them; `start`, `combine` and `finish` are expressions of floats.
Generated ColumnsCode(const Elem& x, const Elem& y, const Walk& kept, const Walk& reduced, int v, const char* index, const std::string& start,
                      const std::string& combine, const std::string& finish) {
  const int64_t count = reduced.count(), groups = kept.count();
  int lanes = 1;
  while (lanes < 32 && lanes * 2 <= count) lanes *= 2;
  const int columns = std::max(8, 256 / lanes);
  Generated g;
  g.source = fmt::format(
      "typedef float W;\n__forceinline__ W combine(W a, W b) {{ return {0}; }}\nextern \"C\" __global__ void k(const {1}* in, {2}* out, i64 n) {{\n"
      "  __shared__ W parts[{3}][{4}][{5}];\n  const int column = threadIdx.x, lane = threadIdx.y;\n  const {6} to = ({6})blockIdx.x * {4} + column;\n"
      "  W a[{5}];\n#pragma unroll\n  for (int e = 0; e < {5}; ++e) a[e] = {7};\n  if (to < n) {{\n    {6} i = to;\n{8}"
      "    for ({6} r = lane; r < {9}u; r += {3}) {{\n      {6} i = r;\n{10}      const vec<{1}, {5}> u = *(const vec<{1}, {5}>*)(in + o0 + q0);\n"
      "#pragma unroll\n      for (int e = 0; e < {5}; ++e) a[e] = combine(a[e], {11});\n    }}\n  }}\n",
      combine, x.storage(), y.storage(), lanes, columns, v, index, start, kept.Code(index, "o"), count, reduced.Code(index, "q"), x.Load("u.v[e]"));
  g.source += fmt::format(
      "  for (int s = {0} / 2; s > 0; s /= 2) {{\n    if (lane >= s && lane < 2 * s)\n      for (int e = 0; e < {1}; ++e) parts[lane][column][e] = a[e];\n    __syncthreads();\n"
      "    if (lane < s)\n#pragma unroll\n      for (int e = 0; e < {1}; ++e) a[e] = combine(a[e], parts[lane + s][column][e]);\n    __syncthreads();\n  }}\n"
      "  if (lane > 0 || to >= n) return;\n  vec<{2}, {1}> r;\n#pragma unroll\n  for (int e = 0; e < {1}; ++e) {{ const W a_e = a[e]; r.v[e] = {3}; }}\n"
      "  *(vec<{2}, {1}>*)(out + (i64)to * {1}) = r;\n}}\n",
      lanes, v, y.storage(), y.Store(finish));
  g.block[0] = static_cast<unsigned>(columns);
  g.block[1] = static_cast<unsigned>(lanes);
  g.grid[0] = static_cast<unsigned>((groups + columns - 1) / columns);
  g.sizes = {groups};
  return g;
}

// Reductions whose innermost axis goes, in vectors of `v` neighbours: `lanes` threads share a result's vectors. Neighbours
// are combined apart from each other to the end, so that no addition waits for the one before.
Generated VectorsCode(const Elem& x, const Elem& y, const Walk& kept, const Walk& reduced, int v, int lanes, int64_t results, const char* index, const std::string& start,
                      const std::string& combine, const std::string& finish) {
  const int per_block = std::max(1, 128 / lanes), warps = lanes / 32;
  Generated g;
  g.source = fmt::format(
      "typedef float W;\n__forceinline__ W combine(W a, W b) {{ return {0}; }}\nextern \"C\" __global__ void k(const {1}* in, {2}* out, i64 n) {{\n"
      "  const int lane = threadIdx.x;\n  const u64 to = (u64)blockIdx.x * {3} + threadIdx.y;\n  W parts[{4}];\n#pragma unroll\n  for (int e = 0; e < {4}; ++e) parts[e] = {5};\n"
      "  if (to < n) {{\n    {6} i = to;\n{7}#pragma unroll 4\n    for ({6} r = lane; r < {8}u; r += {9}) {{\n      {6} i = r;\n{10}"
      "      const vec<{1}, {4}> u = *(const vec<{1}, {4}>*)(in + o0 + q0);\n#pragma unroll\n      for (int e = 0; e < {4}; ++e) parts[e] = combine(parts[e], {11});\n    }}\n  }}\n"
      "#pragma unroll\n  for (int s = {4} / 2; s > 0; s /= 2)\n#pragma unroll\n    for (int e = 0; e < s; ++e) parts[e] = combine(parts[e], parts[e + s]);\n  W a = parts[0];\n"
      "#pragma unroll\n  for (int m = {12} / 2; m > 0; m /= 2) a = combine(a, __shfl_xor_sync(0xffffffffu, a, m));\n",
      combine, x.storage(), y.storage(), per_block, v, start, index, kept.Code(index, "o"), reduced.count(), lanes, reduced.Code(index, "q"), x.Load("u.v[e]"), std::min(lanes, 32));
  if (warps > 1)
    g.source += fmt::format("  __shared__ W of_warps[{0}][{1}];\n  if ((lane & 31) == 0) of_warps[threadIdx.y][lane / 32] = a;\n  __syncthreads();\n  a = of_warps[threadIdx.y][0];\n"
                            "#pragma unroll\n  for (int w = 1; w < {1}; ++w) a = combine(a, of_warps[threadIdx.y][w]);\n", per_block, warps);
  g.source += fmt::format("  if (lane == 0 && to < n) out[to] = {};\n}}\n", y.Store(finish));
  g.block[0] = static_cast<unsigned>(lanes);
  g.block[1] = static_cast<unsigned>(per_block);
  g.grid[0] = static_cast<unsigned>((results + per_block - 1) / per_block);
  g.sizes = {results};
  return g;
}

}  // namespace

LowerResult LowerReduce(const LowerContext& c) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  const Elem &x = (*elems)[0], &y = elems->back();
  const std::string kind = c.node.attrs.Str("kind"), wide = x.wide();
  const std::vector<int64_t>&shape = c.node.inputs[0].shape, axes = c.node.attrs.Ints("axes"), strides = RowMajor(shape);
  Walk kept, reduced;
  kept.strides.resize(1);
  reduced.strides.resize(1);
  size_t next = 0;
  bool inner_reduced = true;
  int64_t count = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    const bool is_reduced = next < axes.size() && axes[next] == static_cast<int64_t>(d);
    next += is_reduced;
    Walk& walk = is_reduced ? reduced : kept;
    walk.dims.push_back(shape[d]);
    walk.strides[0].push_back(strides[d]);
    if (shape[d] != 1) inner_reduced = is_reduced;
    if (is_reduced) count *= shape[d];
  }
  kept.Simplify();
  reduced.Simplify();
  const bool real = IsReal(wide);
  std::string start = kind == "prod" || kind == "all" ? "W(1)" : "W(0)", combine;
  if (kind == "sum" || kind == "mean") combine = "add(a, b)";
  if (kind == "prod") combine = "mul(a, b)";
  if (kind == "any") combine = "(W)(a != 0 || b != 0)";
  if (kind == "all") combine = "(W)(a != 0 && b != 0)";
  if (kind == "max" || kind == "min") {
    start = Least(x, kind == "min");
    combine = real ? fmt::format("nan_{}(a, b)", kind) : kind == "max" ? "(a > b ? a : b)" : "(a < b ? a : b)";
  }
  const int64_t results = c.node.outputs[0].num_elements();
  const char* index = IndexType(std::max(c.node.inputs[0].num_elements(), results));
  const bool simple = wide == "float" && kind != "prod" && kind != "any" && kind != "all" && count > 0;
  const std::string mean = kind == "mean" ? fmt::format("(a / {}.0f)", count) : "a";
  if (const int v = reduced.dims.empty() ? 1 : VectorWidth(reduced.dims.back(), x.size()); simple && inner_reduced && v > 1 && reduced.strides[0].back() == 1) {
    reduced.dims.back() /= v;
    reduced.strides[0].back() = v;
    return Finish(c, VectorsCode(x, y, kept, reduced, v, LanesFor(count / v, results, c.device.processors()), results, index, start, combine, mean), "vectors", {0});
  }
  // Neighbours that stay: vectors of them, as long as that leaves work for every processor.
  if (simple && !inner_reduced && !kept.dims.empty() && kept.strides[0].back() == 1) {
    int v = std::min(VectorWidth(kept.dims.back(), x.size()), VectorWidth(kept.dims.back(), y.size()));
    while (v > 1 && results / v < int64_t{32} * c.device.processors()) v /= 2;
    if (v > 1) {
      kept.dims.back() /= v;
      kept.strides[0].back() = v;
      return Finish(c, ColumnsCode(x, y, kept, reduced, v, index, start, combine, kind == "mean" ? fmt::format("(a_e / {}.0f)", count) : "a_e"), "columns", {0});
    }
  }
  // Lanes along the innermost axis of memory, so that neighbours read neighbours.
  const int lanes = LanesFor(count, results, c.device.processors());
  const int per_block = inner_reduced ? std::max(1, 128 / lanes) : std::max(32, 256 / lanes);
  const int side_lanes = inner_reduced ? lanes : std::min(lanes, 1024 / per_block);
  std::string finish = "a";
  if (kind == "mean") finish = real ? fmt::format("a / (W){}.0", count) : count > 0 ? fmt::format("a / (W){}", count) : "a";
  Generated g;
  g.source = fmt::format(
      "typedef {0} W;\n__forceinline__ W combine(W a, W b) {{ return {1}; }}\n"
      "extern \"C\" __global__ void k(const {2}* in, {3}* out, i64 n) {{\n"
      "  __shared__ W parts[{4} * {5}];\n  const int lane = threadIdx.{6}, column = threadIdx.{7};\n"
      "  const u64 to = (u64)blockIdx.x * {5} + column;\n  W a = {8};\n  if (to < n) {{\n    {13} i = to;\n{9}"
      "    for ({13} r = lane; r < {10}ull; r += {4}) {{\n      {13} i = r;\n{11}      const {2} v = in[o0 + q0];\n      a = combine(a, (W){12});\n    }}\n  }}\n",
      wide, combine, x.storage(), y.storage(), side_lanes, per_block, inner_reduced ? "x" : "y", inner_reduced ? "y" : "x", start,
      kept.Code(index, "o"), count, reduced.Code(index, "q"), x.Load("v"), index);
  if (side_lanes > 1)
    g.source += fmt::format("  parts[column * {0} + lane] = a;\n  __syncthreads();\n"
                            "  for (int s = {0} / 2; s > 0; s /= 2) {{\n    if (lane < s) parts[column * {0} + lane] = a = combine(a, parts[column * {0} + lane + s]);\n"
                            "    __syncthreads();\n  }}\n", side_lanes);
  g.source += fmt::format("  if (lane == 0 && to < n) out[to] = {};\n}}\n", y.Store(finish));
  g.block[inner_reduced ? 0 : 1] = static_cast<unsigned>(side_lanes);
  g.block[inner_reduced ? 1 : 0] = static_cast<unsigned>(per_block);
  g.grid[0] = static_cast<unsigned>((results + per_block - 1) / per_block);
  g.sizes = {results};
  return Finish(c, g, "lanes", {0});
}

LowerResult LowerArgReduce(const LowerContext& c) {
  const auto x = ElemOf(c.node.inputs[0]), y = ElemOf(c.node.outputs[0]);
  if (!x || !y) return std::optional<Lowered>();
  const std::vector<int64_t>& shape = c.node.inputs[0].shape;
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  const int64_t size = shape[axis], inner = Product(shape, axis + 1, shape.size()), results = c.node.outputs[0].num_elements();
  if (size == 0) return Error(ErrorId::kShapeUnsupported, "axis {} of shape {} is empty", axis, ShapeToString(shape));
  const int lanes = inner == 1 ? LanesFor(size, results, c.device.processors()) : 1;
  const int per_block = std::max(1, 128 / lanes);
  Generated g;
  // The first of equal elements; NaN is never chosen unless it is all there is (index 0).
  g.source = fmt::format(
      "typedef {0} W;\n__forceinline__ bool better(W a, i64 ia, W b, i64 ib) {{\n"
      "  return ia >= 0 && (ib < 0 || (a {1} b) || (a == b && ia < ib));\n}}\n"
      "extern \"C\" __global__ void k(const {2}* in, {3}* out, i64 n) {{\n"
      "  __shared__ W values[{4} * {5}]; __shared__ i64 places[{4} * {5}];\n  const int lane = threadIdx.x;\n"
      "  const i64 to = (i64)blockIdx.x * {5} + threadIdx.y;\n  W best = 0; i64 place = -1;\n  if (to < n) {{\n"
      "    const {2}* row = in + to / {6} * {7} + to % {6};\n    for (i64 r = lane; r < {8}; r += {4}) {{\n"
      "      const {2} v = row[r * {6}];\n      const W w = {9};\n      if (w == w && better(w, r, best, place)) {{ best = w; place = r; }}\n    }}\n  }}\n"
      "  const int at = threadIdx.y * {4} + lane;\n  values[at] = best; places[at] = place;\n  __syncthreads();\n"
      "  for (int s = {4} / 2; s > 0; s /= 2) {{\n    if (lane < s && better(values[at + s], places[at + s], values[at], places[at])) {{\n"
      "      values[at] = values[at + s]; places[at] = places[at + s];\n    }}\n    __syncthreads();\n  }}\n"
      "  if (lane == 0 && to < n) out[to] = ({3})(places[at] < 0 ? 0 : places[at]);\n}}\n",
      x->wide(), c.node.attrs.Str("kind") == "max" ? ">" : "<", x->storage(), y->storage(), lanes, per_block, inner, inner * size, size,
      x->Load("v"));
  g.block[0] = static_cast<unsigned>(lanes);
  g.block[1] = static_cast<unsigned>(per_block);
  g.grid[0] = static_cast<unsigned>((results + per_block - 1) / per_block);
  g.sizes = {results};
  return Finish(c, g, "lanes", {0});
}

// One block per row finds the elements one after the other: each is the best of those that come after the last in the
// order (greater first, NaN last, then by index). Meant for small k.
LowerResult LowerTopK(const LowerContext& c) {
  const auto x = ElemOf(c.node.inputs[0]);
  if (!x) return std::optional<Lowered>();
  const int64_t size = c.node.inputs[0].shape.back(), k = c.node.outputs[0].shape.back();
  if (k > size) return Error(ErrorId::kShapeUnsupported, "the {} largest of {} elements do not exist", k, size);
  const int64_t rows = c.node.inputs[0].num_elements() / size;
  int lanes = 32;
  while (lanes < 256 && lanes < size) lanes *= 2;
  Generated g;
  g.outputs = 2;
  g.source = fmt::format(
      "typedef {0} W;\n"
      "__forceinline__ bool before(W a, i64 ia, W b, i64 ib) {{\n  const bool na = a != a, nb = b != b;\n"
      "  if (na || nb) return na == nb ? ia < ib : nb;\n  return a > b || (a == b && ia < ib);\n}}\n"
      "extern \"C\" __global__ void k(const {1}* in, {1}* out0, int* out1) {{\n"
      "  __shared__ W values[{2}]; __shared__ i64 places[{2}];\n  const int lane = threadIdx.x;\n  const {1}* row = in + (i64)blockIdx.x * {3};\n"
      "  W last = 0; i64 last_place = -1;\n  for (i64 rank = 0; rank < {4}; ++rank) {{\n    W best = 0; i64 place = -1;\n"
      "    for (i64 r = lane; r < {3}; r += {2}) {{\n      const {1} v = row[r];\n      const W w = {5};\n"
      "      if (last_place >= 0 && !before(last, last_place, w, r)) continue;\n"
      "      if (place < 0 || before(w, r, best, place)) {{ best = w; place = r; }}\n    }}\n"
      "    values[lane] = best; places[lane] = place;\n    __syncthreads();\n    for (int s = {2} / 2; s > 0; s /= 2) {{\n"
      "      if (lane < s && places[lane + s] >= 0 && (places[lane] < 0 || before(values[lane + s], places[lane + s], values[lane], places[lane]))) {{\n"
      "        values[lane] = values[lane + s]; places[lane] = places[lane + s];\n      }}\n      __syncthreads();\n    }}\n"
      "    last = values[0]; last_place = places[0];\n    __syncthreads();\n    if (lane == 0) {{\n"
      "      out0[(i64)blockIdx.x * {4} + rank] = row[last_place];\n      out1[(i64)blockIdx.x * {4} + rank] = (int)last_place;\n    }}\n  }}\n}}\n",
      x->wide(), x->storage(), lanes, size, k, x->Load("v"));
  g.block[0] = static_cast<unsigned>(lanes);
  g.grid[0] = static_cast<unsigned>(rows);
  return Finish(c, g, "selection", {0});
}

LowerResult LowerCumulative(const LowerContext& c) {
  const auto x = ElemOf(c.node.inputs[0]);
  if (!x) return std::optional<Lowered>();
  const std::vector<int64_t>& shape = c.node.inputs[0].shape;
  const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
  const int64_t size = shape[axis], inner = Product(shape, axis + 1, shape.size()), lines = c.node.inputs[0].num_elements() / size;
  const bool sum = c.node.attrs.Str("kind") == "sum", exclusive = c.node.attrs.Bool("exclusive"), reverse = c.node.attrs.Bool("reverse");
  Generated g;
  g.source = fmt::format(
      "typedef {0} W;\nextern \"C\" __global__ void k(const {1}* in, {1}* out, i64 n) {{\n"
      "  const i64 i = (i64)blockIdx.x * 256 + threadIdx.x;\n  if (i >= n) return;\n  const i64 first = i / {2} * {3} + i % {2};\n"
      "  W total = {4};\n  for (i64 s = 0; s < {5}; ++s) {{\n    const i64 at = first + {6} * {2};\n    const {1} v = in[at];\n"
      "    const W w = {7}, after = {8}(total, w);\n    out[at] = {9};\n    total = after;\n  }}\n}}\n",
      x->wide(), x->storage(), inner, inner * size, sum ? 0 : 1, size, reverse ? fmt::format("({} - s)", size - 1) : "s", x->Load("v"),
      sum ? "add" : "mul", x->Store(exclusive ? "total" : "after"));
  g.OneThreadEach(lines);
  return Finish(c, g, "serial", {0});
}

}  // namespace tfengine::cuda
