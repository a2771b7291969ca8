// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

struct Sizes {
  int64_t batch, queries, heads, depth, keys, value_depth;
};

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

// Tensor cores, 16 queries a warp, keys in tiles with a running maximum (Dao et al., arXiv:2205.14135). q, k and v are f16
// or bf16. `query_warps` times `key_warps` warps a block: those of the same queries share out the keys of a tile and
// join their sums at the end.
Generated FlashCode(const ConcreteNode& node, const std::vector<Elem>& elems, const Sizes& z, int query_warps, int key_warps) {
  const Elem &x = elems[0], &y = elems.back();
  const bool mask = node.has_input(3), half = x.dtype == DType::kFloat16;
  Generated g;
  g.inputs = 3 + mask;
  g.source = MaskCode(node, elems);
  g.source += fmt::format(
      "#define T {0}\n#define D {1}\n#define E {2}\n#define SQ {3}\n#define SK {4}\n#define H {5}\n#define WARPS ({6} * {9})\n#define KW {9}\n#define NT {10}\n#define TILE (KW * NT * 8)\n#define SCALE {7}\n#define MMA \"mma.sync.aligned.m16n8k16.row.col.f32.{8}.{8}.f32 \"\n",
      x.storage(), z.depth, z.value_depth, z.queries, z.keys, z.heads, query_warps,
      Literal(node.attrs.Float("scale", 1), "float"), half ? "f16" : "bf16", key_warps, key_warps > 1 ? 4 : 8);
  g.source += fmt::format("__forceinline__ unsigned pack(float a, float b) {{ return {0}(a).b | ((unsigned){0}(b).b << 16); }}\n", half ? "to_f16" : "to_bf16");
  g.source += R"cuda(
__forceinline__ void mma(float* c, const unsigned* a, unsigned b0, unsigned b1) {
  asm volatile(MMA "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__forceinline__ float power_of_2(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
// Starts copying rows of a [keys, width] tile of one head to padded shared memory; rows behind the last key are 0.
template <int W> __forceinline__ void load_tile(const T* from, int first, T* to) {
#pragma unroll 4
  for (int i = threadIdx.x; i < TILE * W / 8; i += 32 * WARPS) {
    const int row = i / (W / 8), column = i % (W / 8) * 8, bytes = first + row < SK ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to + row * (W + 8) + column)),
                 "l"(from + (bytes ? (i64)(first + row) * H * W + column : 0)), "r"(bytes) : "memory");
  }
}
)cuda";
  g.source += fmt::format("extern \"C\" __global__ void __launch_bounds__(32 * WARPS) k(const T* query, const T* key, const T* value, {}{}* out) {{\n",
                          mask ? fmt::format("const {}* mask, ", elems[3].storage()) : "", y.storage());
  g.source += R"cuda(
  extern __shared__ __align__(16) u8 memory[];
  T* const tiles = (T*)memory;  // one or two, each of keys and values
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row = lane / 4, pair = lane % 4 * 2, part = warp % KW;
  const int h = blockIdx.y, b = blockIdx.z, q0 = (blockIdx.x * (WARPS / KW) + warp / KW) * 16 + row, q1 = q0 + 8;
  const T* kh = key + ((i64)b * SK * H + h) * D;
  const T* vh = value + ((i64)b * SK * H + h) * E;
  load_tile<D>(kh, 0, tiles);
  load_tile<E>(vh, 0, tiles + TILE * (D + 8));
  asm volatile("cp.async.commit_group;" ::: "memory");
  unsigned qa[D / 16][4];
#pragma unroll
  for (int s = 0; s < D / 16; ++s) {
    const T* from0 = query + (((i64)b * SQ + q0) * H + h) * D + s * 16 + pair;
    const T* from1 = query + (((i64)b * SQ + q1) * H + h) * D + s * 16 + pair;
    qa[s][0] = q0 < SQ ? *(const unsigned*)from0 : 0;
    qa[s][1] = q1 < SQ ? *(const unsigned*)from1 : 0;
    qa[s][2] = q0 < SQ ? *(const unsigned*)(from0 + 8) : 0;
    qa[s][3] = q1 < SQ ? *(const unsigned*)(from1 + 8) : 0;
  }
  const float infinity = __int_as_float(0x7f800000), log2e = 1.4426950408889634f;
  float o[E / 8][4] = {}, most[2] = {-infinity, -infinity}, sum[2] = {0, 0};
  for (int tile = 0; tile < SK; tile += TILE) {
    const int mine = part * NT * 8, first = tile + mine;
    const T* const ks = tiles + tile / TILE % 2 * (TILE * (D + E + 16));
    const T* const vs = ks + TILE * (D + 8);
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    if (tile + TILE < SK) {
      T* const next = tiles + (tile / TILE + 1) % 2 * (TILE * (D + E + 16));
      load_tile<D>(kh, tile + TILE, next);
      load_tile<E>(vh, tile + TILE, next + TILE * (D + 8));
      asm volatile("cp.async.commit_group;" ::: "memory");
    }
    float p[NT][4];
#pragma unroll
    for (int n = 0; n < NT; ++n) p[n][0] = p[n][1] = p[n][2] = p[n][3] = 0;
#pragma unroll
    for (int n = 0; n < NT; n += 2)
#pragma unroll
      for (int s = 0; s < D / 16; ++s) {
        unsigned b[4];
        const unsigned at = shared_address(ks + (mine + n * 8 + (lane & 7) + lane / 16 * 8) * (D + 8) + s * 16 + (lane / 8 & 1) * 8);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3]) : "r"(at) : "memory");
        mma(p[n], qa[s], b[0], b[1]);
        mma(p[n + 1], qa[s], b[2], b[3]);
      }
    float high[2] = {-infinity, -infinity};
#pragma unroll
    for (int n = 0; n < NT; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int j = first + n * 8 + pair + (e & 1), q = e < 2 ? q0 : q1;
        p[n][e] = j < SK && q < SQ ? masked(p[n][e] * SCALE, b, h, q, j) * log2e : -infinity;
        high[e / 2] = fmaxf(high[e / 2], p[n][e]);
      }
    float base[2], shrink[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      high[r] = fmaxf(high[r], __shfl_xor_sync(0xffffffffu, high[r], 1));
      high[r] = fmaxf(high[r], __shfl_xor_sync(0xffffffffu, high[r], 2));
      const float next = fmaxf(most[r], high[r]);
      base[r] = next == -infinity ? 0 : next;  // nothing but -inf so far
      shrink[r] = power_of_2(most[r] - base[r]);
      most[r] = next;
      sum[r] *= shrink[r];
    }
#pragma unroll
    for (int n = 0; n < NT; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        p[n][e] = power_of_2(p[n][e] - base[e / 2]);
        sum[e / 2] += p[n][e];
      }
#pragma unroll
    for (int n = 0; n < E / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) o[n][e] *= shrink[e / 2];
#pragma unroll
    for (int s = 0; s < NT / 2; ++s) {
      const unsigned pa[4] = {pack(p[2 * s][0], p[2 * s][1]), pack(p[2 * s][2], p[2 * s][3]), pack(p[2 * s + 1][0], p[2 * s + 1][1]),
                              pack(p[2 * s + 1][2], p[2 * s + 1][3])};
#pragma unroll
      for (int n = 0; n < E / 8; n += 2) {
        unsigned b[4];
        const unsigned at = shared_address(vs + (mine + s * 16 + (lane & 15)) * (E + 8) + n * 8 + lane / 16 * 8);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3]) : "r"(at) : "memory");
        mma(o[n], pa, b[0], b[1]);
        mma(o[n + 1], pa, b[2], b[3]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
  }
)cuda";
  const std::string to = "out[(((i64)b * SQ + q) * H + h) * E + ";
  if (key_warps == 1) {
    g.source += fmt::format(R"cuda(#pragma unroll
  for (int r = 0; r < 2; ++r) {{
    const int q = r == 0 ? q0 : q1;
    if (q >= SQ) continue;
#pragma unroll
    for (int n = 0; n < E / 8; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {{
        const float w = o[n][2 * r + e] / sum[r];
        {}n * 8 + pair + e] = {};
      }}
  }}
}}
)cuda", to, y.Store("w"));
  } else {
    // The parts of a query are weighted by how far their maxima lie below the greatest.
    g.source += fmt::format(R"cuda(  __shared__ float highs[WARPS][16], sums[WARPS][16];
  float* parts = (float*)tiles;  // [WARPS][16][E]
  __syncthreads();
#pragma unroll
  for (int r = 0; r < 2; ++r) {{
    if (lane % 4 == 0) highs[warp][row + 8 * r] = most[r], sums[warp][row + 8 * r] = sum[r];
#pragma unroll
    for (int n = 0; n < E / 8; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) parts[(warp * 16 + row + 8 * r) * E + n * 8 + pair + e] = o[n][2 * r + e];
  }}
  __syncthreads();
  for (int i = threadIdx.x; i < WARPS / KW * 16 * E; i += 32 * WARPS) {{
    const int group = i / (16 * E), line = i / E % 16, column = i % E, q = (blockIdx.x * (WARPS / KW) + group) * 16 + line;
    if (q >= SQ) continue;
    float high = -infinity, total = 0, z = 0;
#pragma unroll
    for (int j = 0; j < KW; ++j) high = fmaxf(high, highs[group * KW + j][line]);
    const float base = high == -infinity ? 0 : high;
#pragma unroll
    for (int j = 0; j < KW; ++j) {{
      const float weight = power_of_2(highs[group * KW + j][line] - base);
      total += weight * sums[group * KW + j][line];
      z += weight * parts[((group * KW + j) * 16 + line) * E + column];
    }}
    const float w = z / total;
    {}column] = {};
  }}
}}
)cuda", to, y.Store("w"));
  }
  const int64_t tile = key_warps * (key_warps > 1 ? 4 : 8) * 8;
  const int64_t tiles = (z.keys > tile ? 2 : 1) * tile * (z.depth + z.value_depth + 16) * 2, parts = key_warps > 1 ? query_warps * key_warps * 64 * z.value_depth : 0;
  g.shared = static_cast<size_t>(std::max(tiles, parts));
  g.block[0] = static_cast<unsigned>(32 * query_warps * key_warps);
  g.grid[0] = static_cast<unsigned>((z.queries + 16 * query_warps - 1) / (16 * query_warps));
  g.grid[1] = static_cast<unsigned>(z.heads);
  g.grid[2] = static_cast<unsigned>(z.batch);
  return g;
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

}  // namespace

LowerResult LowerAttention(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  const auto elems = ElemsOf(node);
  if (!elems) return std::optional<Lowered>();
  const auto &q = node.inputs[0].shape, &k = node.inputs[1].shape, &v = node.inputs[2].shape;
  const Sizes z{q[0], q[1], q[2], q[3], k[1], v[3]};
  if (z.keys == 0 || z.batch > 65535 || z.heads > 65535) return std::optional<Lowered>();
  const Elem& x = (*elems)[0];
  const bool tensor_cores = c.device.architecture() >= 80 && (x.dtype == DType::kFloat16 || x.dtype == DType::kBfloat16);
  auto fits = [](int64_t depth) { return depth % 16 == 0 && depth <= 128; };
  if (tensor_cores && fits(z.depth) && fits(z.value_depth) && (*elems)[1].dtype == x.dtype && (*elems)[2].dtype == x.dtype) {
    // Few blocks: fewer queries each, and their keys shared out among warps.
    int warps = 4;
    while (warps > 1 && (z.queries + 16 * warps - 1) / (16 * warps) * z.heads * z.batch < c.device.processors()) warps /= 2;
    const bool split = warps == 1 && z.keys > 32 && z.depth + z.value_depth <= 160;
    return Finish(c, FlashCode(node, *elems, z, warps, split ? 4 : 1), split ? "flash_split" : "flash", PresentInputs(node));
  }
  // Scores and queries must fit into 40 KB.
  const auto width = static_cast<int64_t>(x.wide() == "double" ? 8 : 4);
  int64_t queries = 8;
  while (queries > 1 && queries * (z.keys + z.depth) * width > 40000) queries /= 2;
  if (queries * (z.keys + z.depth) * width > 40000) return std::optional<Lowered>();
  return Finish(c, PlainCode(node, *elems, z, queries), "plain", PresentInputs(node));
}

}  // namespace tfengine::cuda
