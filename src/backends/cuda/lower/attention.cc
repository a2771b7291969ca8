// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backends/cuda/flash.h"
#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

struct Sizes {
  int64_t batch, queries, heads, depth, keys, value_depth;
};

Sizes SizesOf(const ConcreteNode& node) {
  const auto &q = node.inputs[0].shape, &k = node.inputs[1].shape, &v = node.inputs[2].shape;
  return {q[0], q[1], q[2], q[3], k[1], v[3]};
}

// `masked(score, b, h, q, key)` in code: the score with its mask added, as f32.
std::string MaskCode(const ConcreteNode& node, const std::vector<Elem>& elems) {
  if (!node.has_input(3)) return "#define masked(s, b, h, q, j) (s)\n";
  std::vector<int64_t> shape(4, 1);
  const auto& m = node.inputs[3].shape;
  std::copy(m.begin(), m.end(), shape.end() - static_cast<int64_t>(m.size()));
  const std::vector<int64_t> strides = RowMajor(shape);
  std::string at;
  const char* names[] = {"(b)", "(h)", "(q)", "(j)"};
  for (size_t d = 0; d < 4; ++d)
    if (shape[d] != 1) at += fmt::format("{}(i64){} * {}", at.empty() ? "" : " + ", names[d], strides[d]);
  if (at.empty()) at.push_back('0');
  if (elems[3].dtype == DType::kBool)
    return fmt::format("#define masked(s, b, h, q, j) ((s) + (mask[{}] ? 0.0f : {}))\n", at, Literal(node.attrs.Float("mask_value", -1e9), "float"));
  return fmt::format("#define masked(s, b, h, q, j) ((s) + (float){})\n", elems[3].Load("mask[" + at + "]"));
}

// Any type and depth: a block has all scores of a few queries of one head in shared memory.
Generated PlainCode(const ConcreteNode& node, const std::vector<Elem>& elems, const Sizes& z, int64_t queries) {
  const Elem &q = elems[0], &k = elems[1], &v = elems[2], &y = elems.back();
  const bool mask = node.has_input(3);
  const std::string wide = q.wide();
  Generated g;
  g.inputs = 3 + mask;
  g.source = MaskCode(node, elems);
  g.source += fmt::format(
      "typedef {0} W;\n#define SQ {1}\n#define SK {2}\n#define H {3}\n#define D {4}\n#define E {5}\n#define Q {6}\n"
      "extern \"C\" __global__ void k(const {7}* query, const {8}* key, const {9}* value, {10}{11}* out) {{\n",
      wide, z.queries, z.keys, z.heads, z.depth, z.value_depth, queries, q.storage(), k.storage(), v.storage(),
      mask ? fmt::format("const {}* mask, ", elems[3].storage()) : "", y.storage());
  g.source += fmt::format(R"cuda(
  __shared__ W scores[Q][SK];
  __shared__ W qs[Q][D];
  __shared__ W parts[Q][4];
  const int h = blockIdx.y, b = blockIdx.z, first = blockIdx.x * Q, lane = threadIdx.x & 31, warp = threadIdx.x / 32;
  for (int i = threadIdx.x; i < Q * D; i += 128) {{
    const int r = i / D, d = i % D;
    qs[r][d] = 0;
    if (first + r < SQ) {{ const {0} u = query[(((i64)b * SQ + first + r) * H + h) * D + d]; qs[r][d] = (W){1}; }}
  }}
  __syncthreads();
  for (int j = threadIdx.x; j < SK; j += 128) {{
    const {2}* from = key + (((i64)b * SK + j) * H + h) * D;
    W a[Q];
#pragma unroll
    for (int r = 0; r < Q; ++r) a[r] = 0;
    for (int d = 0; d < D; ++d) {{
      const {2} u = from[d];
      const W w = (W){3};
#pragma unroll
      for (int r = 0; r < Q; ++r) a[r] += w * qs[r][d];
    }}
#pragma unroll
    for (int r = 0; r < Q; ++r) scores[r][j] = first + r < SQ ? masked(a[r] * (W){4}, b, h, first + r, j) : 0;
  }}
  __syncthreads();
  for (int r = 0; r < Q; ++r) {{
    W most = scores[r][0];
    for (int j = threadIdx.x; j < SK; j += 128) most = nan_max(most, scores[r][j]);
#pragma unroll
    for (int m = 16; m > 0; m /= 2) most = nan_max(most, __shfl_xor_sync(0xffffffffu, most, m));
    if (lane == 0) parts[r][warp] = most;
  }}
  __syncthreads();
  W sums[Q];
  for (int r = 0; r < Q; ++r) {{
    const W most = nan_max(nan_max(parts[r][0], parts[r][1]), nan_max(parts[r][2], parts[r][3]));
    W sum = 0;
    for (int j = threadIdx.x; j < SK; j += 128) sum += scores[r][j] = exp(scores[r][j] - most);
#pragma unroll
    for (int m = 16; m > 0; m /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, m);
    sums[r] = sum;
  }}
  __syncthreads();
  for (int r = 0; r < Q; ++r)
    if (lane == 0) parts[r][warp] = sums[r];
  __syncthreads();
  for (int d = threadIdx.x; d < E; d += 128) {{
    W a[Q];
#pragma unroll
    for (int r = 0; r < Q; ++r) a[r] = 0;
    for (int j = 0; j < SK; ++j) {{
      const {5} u = value[(((i64)b * SK + j) * H + h) * E + d];
      const W w = (W){6};
#pragma unroll
      for (int r = 0; r < Q; ++r) a[r] += scores[r][j] * w;
    }}
    for (int r = 0; r < Q && first + r < SQ; ++r) {{
      const W w = a[r] / (parts[r][0] + parts[r][1] + parts[r][2] + parts[r][3]);
      out[(((i64)b * SQ + first + r) * H + h) * E + d] = {7};
    }}
  }}
}}
)cuda", q.storage(), q.Load("u"), k.storage(), k.Load("u"), Literal(node.attrs.Float("scale", 1), wide), v.storage(), v.Load("u"), y.Store("w"));
  g.block[0] = 128;
  g.grid[0] = static_cast<unsigned>((z.queries + queries - 1) / queries);
  g.grid[1] = static_cast<unsigned>(z.heads);
  g.grid[2] = static_cast<unsigned>(z.batch);
  return g;
}

std::optional<FlashProblem> FlashProblemOf(const ConcreteNode& node) {
  const auto elems = ElemsOf(node);
  if (!elems) return std::nullopt;
  const Sizes z = SizesOf(node);
  const Elem& x = (*elems)[0];
  if ((*elems)[1].dtype != x.dtype || (*elems)[2].dtype != x.dtype) return std::nullopt;
  FlashProblem p{x, elems->back(), z.batch, z.queries, z.heads, z.depth, z.keys, z.value_depth};
  p.scale = node.attrs.Float("scale", 1);
  p.mask = node.has_input(3);
  if (p.mask) p.mask_elem = (*elems)[3], p.mask_shape = node.inputs[3].shape;
  p.mask_value = node.attrs.Float("mask_value", -1e9);
  return p;
}

std::vector<FlashShape> FlashShapesOf(const std::optional<FlashProblem>& p, const Device& device) {
  return p ? FlashShapes(*p, device.architecture(), device.processors()) : std::vector<FlashShape>();
}

}  // namespace

std::vector<std::string> AttentionTactics(const ConcreteNode& node, const Device& device) {
  std::vector<std::string> names;
  for (const FlashShape& s : FlashShapesOf(FlashProblemOf(node), device)) names.push_back(s.Name());
  return names;
}

LowerResult LowerAttention(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  const auto elems = ElemsOf(node);
  if (!elems) return std::optional<Lowered>();
  const Sizes z = SizesOf(node);
  if (z.keys == 0 || z.batch > 65535 || z.heads > 65535) return std::optional<Lowered>();
  const auto flash = FlashProblemOf(node);
  if (const std::vector<FlashShape> shapes = FlashShapesOf(flash, c.device); !shapes.empty()) {
    const auto wanted = std::find_if(shapes.begin(), shapes.end(), [&](const FlashShape& s) { return s.Name() == c.tactic; });
    const FlashShape& s = wanted == shapes.end() ? shapes[0] : *wanted;
    return Finish(c, FlashCode(*flash, s), s.Name(), PresentInputs(node));
  }
  // Scores and queries must fit into 40 KB.
  const auto width = static_cast<int64_t>((*elems)[0].wide() == "double" ? 8 : 4);
  int64_t queries = 8;
  while (queries > 1 && queries * (z.keys + z.depth) * width > 40000) queries /= 2;
  if (queries * (z.keys + z.depth) * width > 40000) return std::optional<Lowered>();
  return Finish(c, PlainCode(node, *elems, z, queries), "plain", PresentInputs(node));
}

}  // namespace tfengine::cuda
