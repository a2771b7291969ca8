// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backends/cuda/flash.h"
#include "backends/cuda/group_product.h"

namespace tfengine::cuda {
namespace {

constexpr char kSetup[] = R"cuda(
#define THREADS (32 * QW * KW)
#define QROWS (QW * MT * 16)
#define TILE (KW * NT * 8)
#define TILES ((SK + TILE - 1) / TILE)
#define TAIL (SK % TILE != 0)
#define STAGES (TILES > 1 ? 2 : 1)
#define EN (EP / 8)
#define OUT_PITCH (EP * OUT_SIZE + 16)
__forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__forceinline__ float power_of_2(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
__forceinline__ float infinity() { return __int_as_float(0x7f800000); }
__forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __forceinline__ void await() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
template <int N> struct Number { static constexpr int n = N; };
// Masks are added in powers of 2. What is too low for that keeps its meaning: a row that is masked whole is uniform.
__forceinline__ float in_powers(float m) { return m < -2.3e38f && m > -infinity() ? -3.3e38f : m * 1.4426950408889634f; }
// The items 0 ... n - 1 shared out among the threads (of a warp): `i` of each, with constant strides where that comes out even.
#define EACH(i, n, thread, threads)                                            \
  _Pragma("unroll 16") for (unsigned i##_turn = 0; i##_turn < ((n) + (threads) - 1) / (threads); ++i##_turn) \
    if (const unsigned i = (thread) + i##_turn * (threads); (n) % (threads) == 0 || i < (n))
// Starts copying rows [first, first + ROWS) of [LIMIT, H, W], padded with zeros to WP columns, to shared memory.
template <int W, int WP, int ROWS, int LIMIT> __forceinline__ void load_rows(const T* from, int first, unsigned to) {
  constexpr int kPieces = WP / 8, kStep = THREADS / kPieces;  // of 16 bytes in a row; rows that the threads have at once
  const T* const base = from;  // an address that can be named where nothing is read
  from += (i64)first * (H * W);
  auto copy = [&](unsigned to, const T* from, int row, int c) {
    const bool valid = (LIMIT % ROWS == 0 || first + row < LIMIT) && (W == WP || c * 8 < W);
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(valid ? from : base), "r"(bytes) : "memory");
  };
  const int row = threadIdx.x / kPieces, c = threadIdx.x % kPieces;
  const T* const mine = from + (i64)row * (H * W) + c * 8;
  if (THREADS % kPieces == 0 && kStep % 8 == 0) {  // a thread keeps to its column, whose place differs by whole rows only
    const unsigned place = to + PLACE(row, c, ROWS, WP);
    EACH(i, ROWS * kPieces, threadIdx.x, THREADS) copy(place + i_turn * PLACE(kStep, 0, ROWS, WP), mine + (i64)i_turn * (kStep * H * W), row + (int)i_turn * kStep, c);
  } else {
    EACH(i, ROWS * kPieces, threadIdx.x, THREADS) copy(to + PLACE((int)i / kPieces, (int)i % kPieces, ROWS, WP), from + (i64)((int)i / kPieces) * (H * W) + (int)i % kPieces * 8, i / kPieces, i % kPieces);
  }
}
)cuda";

// mma.sync: fragments of queries stay in registers where they fit.
constexpr char kSyncProducts[] = R"cuda(
#define PLACE(row, c, rows, width) ((row) * ((width) * 2 + 16) + (c) * 16)
#define VISIBLE
#define QREG (MT == 1 && DP <= 128)
__forceinline__ void mma(float* c, const unsigned* a, unsigned b0, unsigned b1) {
  asm volatile(MMA "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__forceinline__ void ldmatrix(unsigned* r, unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
__forceinline__ void ldmatrix_transposed(unsigned* r, unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
)cuda";
constexpr char kSyncScores[] = R"cuda(
    if (QREG && tile == 0)
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int s = 0; s < DP / 16; ++s) ldmatrix(qa[m][s], q_rows + PLACE(m * 16, 2 * s, 0, DP));
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int n = 0; n < NT; ++n) p[m][n][0] = p[m][n][1] = p[m][n][2] = p[m][n][3] = 0;
#pragma unroll
    for (int s = 0; s < DP / 16; ++s) {
      if (!QREG)
#pragma unroll
        for (int m = 0; m < MT; ++m) ldmatrix(qa[m][0], q_rows + PLACE(m * 16, 2 * s, 0, DP));
#pragma unroll
      for (int n = 0; n < NT; n += 2) {
        unsigned b[4];
        ldmatrix(b, ks + PLACE(mine + n * 8 + (lane & 7) + lane / 16 * 8, 2 * s + (lane / 8 & 1), 0, DP));
#pragma unroll
        for (int m = 0; m < MT; ++m) {
          mma(p[m][n], qa[m][QREG ? s : 0], b[0], b[1]);
          mma(p[m][n + 1], qa[m][QREG ? s : 0], b[2], b[3]);
        }
      }
    }
)cuda";
constexpr char kSyncValues[] = R"cuda(
#pragma unroll
    for (int s = 0; s < NT / 2; ++s)
#pragma unroll
      for (int n = 0; n < EN; n += 2) {
        unsigned b[4];
        ldmatrix_transposed(b, vs + PLACE(mine + s * 16 + (lane & 15), n + lane / 16, 0, EP));
#pragma unroll
        for (int m = 0; m < MT; ++m) {
          mma(o[m][n], pa[m][s], b[0], b[1]);
          mma(o[m][n + 1], pa[m][s], b[2], b[3]);
        }
      }
)cuda";

// wgmma: rows of 128 bytes, their 16-byte columns exchanged by the row's number; panels of 64 columns follow each other. Keys
// are K-major, values MN-major: groups of 8 rows 1024 bytes apart in both, `panel` (in 16 bytes) between columns 63 and 64 of values.
constexpr char kGroupLayout[] = R"cuda(
#define PLACE(row, c, rows, width) ((c) / 8 * ((rows) * 128) + (row) * 128 + ((((c) ^ (row)) & 7) << 4))
#define VISIBLE asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#define QREG 0
__forceinline__ u64 descriptor(unsigned address, int panel) { return ((u64)1 << 62) | ((u64)64 << 32) | ((u64)panel << 16) | ((address & 0x3ffff) >> 4); }
)cuda";
constexpr char kGroupScores[] = R"cuda(
    const u64 qd = descriptor(q_group, 1), kd = descriptor(ks, 1);
    start_products();
#pragma unroll
    for (int s = 0; s < DP / 16; ++s) scores(p[0], qd + s / 4 * (QROWS * 8) + s % 4 * 2, kd + s / 4 * (TILE * 8) + s % 4 * 2, s > 0);
    commit_products();
)cuda";
constexpr char kGroupValues[] = R"cuda(
    const u64 vd = descriptor(vs, TILE * 8);
    start_products();
#pragma unroll
    for (int s = 0; s < NT / 2; ++s) values(o[0], pa[0][s], vd + s * 128, TILES > 1 || s > 0);
    commit_products();
)cuda";

// Statements that add the masks to a thread's scores and make those of absent keys -inf, and the factor that makes them powers of 2.
struct MaskCode {
  std::string declared, before, prepare, factor = "1.0f";
};

MaskCode MaskCodeOf(const FlashProblem& p, const FlashPlan& plan) {
  MaskCode code;
  const std::string factor = Literal(p.scale * 1.4426950408889634, "float");
  code.declared = fmt::format("#define FACTOR {}\n", factor);
  const char* loop = "#pragma unroll\n      for (int n = 0; n < NT; ++n) {\n";
  if (!p.mask) {
    // The greatest score is that of the greatest product, unless the scale turns them round.
    const bool raw = p.scale > 0;
    if (raw) code.factor = factor;
    if (!raw) code.prepare += std::string(loop) + "#pragma unroll\n        for (int e = 0; e < 4; ++e) p[m][n][e] *= FACTOR;\n      }\n";
    code.prepare += std::string("      if (TAIL && tile == TILES - 1)\n") + loop +
                    "#pragma unroll\n        for (int e = 0; e < 4; ++e)\n          if (first + n * 8 + pair + (e & 1) >= SK) p[m][n][e] = -infinity();\n      }\n";
    return code;
  }
  const std::vector<int64_t> strides = p.MaskStrides();
  const bool truth = p.mask_elem.dtype == DType::kBool;
  const std::string type = p.mask_elem.storage();
  code.declared += fmt::format("__forceinline__ float addend({} m) {{ return {}; }}\n", type,
                               truth ? fmt::format("m ? 0.0f : {}", Literal(std::max(p.mask_value * 1.4426950408889634, -3.3e38), "float"))
                                     : fmt::format("in_powers((float){})", p.mask_elem.Load("m")));
  if (plan.masks == FlashPlan::Masks::kColumns) {
    code.before = fmt::format(
        "  float* const columns = (float*)(memory + COLUMNS);\n  const {0}* const mask_row = mask + (i64)b * {1} + (i64)h * {2};\n"
        "  EACH(j, TILES * TILE, threadIdx.x, THREADS) columns[j] = !TAIL || j < SK ? addend(mask_row[j * {3}]) : -infinity();\n",
        type, strides[0], strides[1], strides[3]);
    code.prepare = std::string(loop) +
                   "        const float2 a = *(const float2*)(columns + first + n * 8 + pair);\n"
                   "        p[m][n][0] = fmaf(p[m][n][0], FACTOR, a.x), p[m][n][1] = fmaf(p[m][n][1], FACTOR, a.y);\n"
                   "        p[m][n][2] = fmaf(p[m][n][2], FACTOR, a.x), p[m][n][3] = fmaf(p[m][n][3], FACTOR, a.y);\n      }\n";
    return code;
  }
  // Neighbours in one load where their addresses are even.
  const bool pairs = strides[3] == 1 && p.keys % 2 == 0;
  code.declared += fmt::format("__forceinline__ float2 addends(const {}* row, unsigned j) {{\n  float2 a = make_float2(-infinity(), -infinity());\n", type);
  if (pairs) {
    code.declared += fmt::format("  if (!TAIL || j < SK) {{\n    const vec<{0}, 2> u = *(const vec<{0}, 2>*)(row + j);\n    a = make_float2(addend(u.v[0]), addend(u.v[1]));\n  }}\n", type);
  } else {
    code.declared += fmt::format("  if (!TAIL || j < SK) a.x = addend(row[j * {0}]);\n  if (!TAIL || j + 1 < SK) a.y = addend(row[(j + 1) * {0}]);\n", strides[3]);
  }
  code.declared += "  return a;\n}\n";
  code.before = fmt::format(
      "  const {0}* mask_rows[MT][2];\n#pragma unroll\n  for (int m = 0; m < MT; ++m)\n#pragma unroll\n    for (int r = 0; r < 2; ++r) {{\n"
      "      const unsigned q = q_first + m * 16 + r * 8 + row;\n      mask_rows[m][r] = mask + (i64)b * {1} + (i64)h * {2} + (i64)(q < SQ ? q : SQ - 1) * {3};\n    }}\n",
      type, strides[0], strides[1], strides[2]);
  code.prepare = std::string(loop) +
                 "        const float2 a = addends(mask_rows[m][0], first + n * 8 + pair), z = addends(mask_rows[m][1], first + n * 8 + pair);\n"
                 "        p[m][n][0] = fmaf(p[m][n][0], FACTOR, a.x), p[m][n][1] = fmaf(p[m][n][1], FACTOR, a.y);\n"
                 "        p[m][n][2] = fmaf(p[m][n][2], FACTOR, z.x), p[m][n][3] = fmaf(p[m][n][3], FACTOR, z.y);\n      }\n";
  return code;
}

constexpr char kStart[] = R"cuda(
  extern __shared__ __align__(1024) u8 memory[];
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x / 32, row = lane / 4, pair = lane % 4 * 2, mine = warp % KW * (NT * 8);
  const unsigned h = blockIdx.y, b = blockIdx.z, q_warp = warp / KW * (MT * 16), q_first = blockIdx.x * QROWS + q_warp;
  const unsigned qs = shared_address(memory), tiles = qs + Q_BYTES;
  const T* const kh = key + ((i64)b * SK * H + h) * D;
  const T* const vh = value + ((i64)b * SK * H + h) * E;
  after_previous();
  load_rows<D, DP, QROWS, SQ>(query + ((i64)b * SQ * H + h) * D, blockIdx.x * QROWS, qs);
#pragma unroll
  for (int t = 0; t < (TILES == 2 ? 2 : 1); ++t) {
    load_rows<D, DP, TILE, SK>(kh, t * TILE, tiles + t * (K_BYTES + V_BYTES));
    commit();
    load_rows<E, EP, TILE, SK>(vh, t * TILE, tiles + t * (K_BYTES + V_BYTES) + K_BYTES);
    commit();
  }
)cuda";

// Keys are waited for before the scores, values before the products with them. From the third tile on, buffers are filled
// again as soon as all warps have left them.
constexpr char kStepStart[] = R"cuda(
  float o[MT][EN][4], most[MT][2], sum[MT][2];
#pragma unroll
  for (int m = 0; m < MT; ++m) {
#pragma unroll
    for (int n = 0; n < EN && ZERO_SUMS; ++n) o[m][n][0] = o[m][n][1] = o[m][n][2] = o[m][n][3] = 0;
    most[m][0] = most[m][1] = -infinity();
    sum[m][0] = sum[m][1] = 0;
  }
  auto step = [&](int tile, auto keys_pending, auto values_pending) {
    const unsigned ks = tiles + tile % STAGES * (K_BYTES + V_BYTES), vs = ks + K_BYTES, next = tiles + (tile + 1) % STAGES * (K_BYTES + V_BYTES);
    const unsigned first = tile * TILE + mine;
    float p[MT][NT][4];
    unsigned pa[MT][NT / 2][4];
    await<decltype(keys_pending)::n>();
    VISIBLE
    __syncthreads();
)cuda";
constexpr char kSoftmax[] = R"cuda(
#pragma unroll
    for (int m = 0; m < MT; ++m) {
PREPARE
      float high[4] = {-infinity(), -infinity(), -infinity(), -infinity()}, base[2], shrink[2];
#pragma unroll
      for (int n = 0; n < NT; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) high[e] = fmaxf(high[e], p[m][n][e]);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float top = fmaxf(high[2 * r], high[2 * r + 1]);
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        const float reached = most[m][r];
        if (TILES > 1) top = fmaxf(top, reached);
        base[r] = top == -infinity() ? 0 : top * POWERS;  // nothing but -inf so far
        shrink[r] = power_of_2(fmaf(reached, POWERS, -base[r]));
        most[m][r] = top;
      }
      float part[4] = {0, 0, 0, 0};
#pragma unroll
      for (int n = 0; n < NT; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) part[e] += p[m][n][e] = power_of_2(fmaf(p[m][n][e], POWERS, -base[e / 2]));
#pragma unroll
      for (int r = 0; r < 2; ++r) sum[m][r] = TILES > 1 ? fmaf(sum[m][r], shrink[r], part[2 * r] + part[2 * r + 1]) : part[2 * r] + part[2 * r + 1];
      if (TILES > 1)
#pragma unroll
        for (int n = 0; n < EN; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) o[m][n][e] *= shrink[e / 2];
#pragma unroll
      for (int s = 0; s < NT / 2; ++s)
#pragma unroll
        for (int e = 0; e < 4; ++e) pa[m][s][e] = pack(p[m][2 * s + e / 2][e % 2 * 2], p[m][2 * s + e / 2][e % 2 * 2 + 1]);
    }
    await<decltype(values_pending)::n>();
    VISIBLE
    __syncthreads();
)cuda";
constexpr char kFillKeys[] = R"cuda(
    if (TILES > 2) {
      if (tile + 1 < TILES) load_rows<D, DP, TILE, SK>(kh, (tile + 1) * TILE, next);
      commit();
    }
)cuda";
constexpr char kFillValues[] = R"cuda(
    if (TILES > 2) {
      if (tile + 1 < TILES) load_rows<E, EP, TILE, SK>(vh, (tile + 1) * TILE, next + K_BYTES);
      commit();
    }
)cuda";
constexpr char kSteps[] = R"cuda(
  };
  if (TILES == 1) {
    step(0, Number<1>(), Number<0>());
  } else if (TILES == 2) {
    step(0, Number<3>(), Number<2>());
    step(1, Number<1>(), Number<0>());
  } else {
    for (int tile = 0; tile < TILES; ++tile) step(tile, Number<1>(), Number<1>());
  }
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum[m][r] += __shfl_xor_sync(0xffffffffu, sum[m][r], 1);
      sum[m][r] += __shfl_xor_sync(0xffffffffu, sum[m][r], 2);
    }
  out += ((i64)b * SQ * H + h) * E;
)cuda";

// Rows of a warp go through shared memory (the queries' place), so that a thread has 16 bytes of a row.
constexpr char kStagedOutput[] = R"cuda(
#define CHUNK (16 / OUT_SIZE)
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float inverse = __fdividef(1.0f, sum[m][r]) * OUT_STEPS;
      u8* const to = memory + (q_warp + m * 16 + r * 8 + row) * OUT_PITCH + pair * OUT_SIZE;
#pragma unroll
      for (int n = 0; n < EN; ++n) *(OUT_PAIR*)(to + n * 8 * OUT_SIZE) = pack_out(o[m][n][2 * r] * inverse, o[m][n][2 * r + 1] * inverse);
    }
  __syncwarp();
  EACH(i, MT * 16 * (E / CHUNK), lane, 32) {
    const unsigned line = i / (E / CHUNK), c = i % (E / CHUNK);
    if (SQ % QROWS == 0 || q_first + line < SQ) *(uint4*)(out + (i64)(q_first + line) * (H * E) + c * CHUNK) = *(const uint4*)(memory + (q_warp + line) * OUT_PITCH + c * 16);
  }
}
)cuda";

// `pack_out`: two results, of 16 bits or, given in steps, of 8.
std::string StagedOutputSetup(const Elem& y) {
  if (y.size() == 2) return "#define OUT_STEPS 1.0f\n#define OUT_PAIR unsigned\n#define pack_out pack\n";
  Elem steps = y;
  steps.quant.scale = 1;
  return fmt::format("#define OUT_STEPS {}\n#define OUT_PAIR u16\n__forceinline__ u16 pack_out(float a, float b) {{ vec<{}, 2> v; v.v[0] = {}; v.v[1] = {}; return *(const u16*)&v; }}\n",
                     Literal(1 / static_cast<double>(y.quant.scale), "float"), y.storage(), steps.Store("a"), steps.Store("b"));
}

std::string DirectOutput(const Elem& y) {
  return fmt::format(R"cuda(
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {{
      const unsigned q = q_first + m * 16 + r * 8 + row;
      if (q >= SQ) continue;
#pragma unroll
      for (int n = 0; n < E / 8; ++n) {{
        vec<{0}, 2> pair_out;
#pragma unroll
        for (int e = 0; e < 2; ++e) {{
          const float w = o[m][n][2 * r + e] / sum[m][r];
          pair_out.v[e] = {1};
        }}
        *(vec<{0}, 2>*)(out + (i64)q * (H * E) + n * 8 + pair) = pair_out;
      }}
    }}
}}
)cuda", y.storage(), y.Store("w"));
}

// The parts of a query are weighted by how far their maxima lie below the greatest.
std::string JoinedOutput(const Elem& y) {
  return fmt::format(R"cuda(
  __shared__ float highs[QROWS][KW], sums[QROWS][KW];
  float* const parts = (float*)memory;  // [QROWS][KW][EP + 8]
  __syncthreads();
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {{
      const unsigned line = q_warp + m * 16 + r * 8 + row, part = warp % KW;
      if (lane % 4 == 0) highs[line][part] = most[m][r] * POWERS, sums[line][part] = sum[m][r];
#pragma unroll
      for (int n = 0; n < EN; ++n) *(float2*)(parts + (line * KW + part) * (EP + 8) + n * 8 + pair) = make_float2(o[m][n][2 * r], o[m][n][2 * r + 1]);
    }}
  __syncthreads();
  EACH(i, QROWS * (E / 8), threadIdx.x, THREADS) {{
    const unsigned line = i / (E / 8), c = i % (E / 8) * 8, q = blockIdx.x * QROWS + line;
    if (q >= SQ) continue;
    float high = -infinity(), total = 0, z[8] = {{}};
#pragma unroll
    for (int j = 0; j < KW; ++j) high = fmaxf(high, highs[line][j]);
    const float base = high == -infinity() ? 0 : high;
#pragma unroll
    for (int j = 0; j < KW; ++j) {{
      const float weight = power_of_2(highs[line][j] - base);
      float a[8];
      *(float4*)a = *(const float4*)(parts + (line * KW + j) * (EP + 8) + c);
      *(float4*)(a + 4) = *(const float4*)(parts + (line * KW + j) * (EP + 8) + c + 4);
      total = fmaf(weight, sums[line][j], total);
#pragma unroll
      for (int e = 0; e < 8; ++e) z[e] = fmaf(weight, a[e], z[e]);
    }}
    vec<{0}, 8> r;
#pragma unroll
    for (int e = 0; e < 8; ++e) {{ const float w = z[e] / total; r.v[e] = {1}; }}
    *(vec<{0}, 8>*)(out + (i64)q * (H * E) + c) = r;
  }}
}}
)cuda", y.storage(), y.Store("w"));
}

std::string Replaced(std::string text, const std::string& name, const std::string& with) {
  for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += with.size()) text.replace(at, name.size(), with);
  return text;
}

}  // namespace

Generated FlashCode(const FlashProblem& p, const FlashShape& s) {
  const FlashPlan plan = FlashPlanOf(p, s);
  const char* type = p.type.dtype == DType::kFloat16 ? "f16" : "bf16";
  const MaskCode masks = MaskCodeOf(p, plan);
  const bool staged = s.key_warps == 1 && (p.out.dtype == p.type.dtype || (p.out.quant.quantized() && p.value_depth % 16 == 0));
  // As many blocks as registers are likely to allow: the compiler keeps within that.
  const int64_t blocks = std::clamp<int64_t>(65536 / (plan.Registers(s) * s.threads()), 1, 16);
  Generated g;
  g.source = fmt::format(
      "#define T {}\n#define D {}\n#define E {}\n#define DP {}\n#define EP {}\n#define SQ {}\n#define SK {}\n#define H {}\n#define QW {}\n#define MT {}\n#define KW {}\n#define NT {}\n"
      "#define Q_BYTES {}\n#define K_BYTES {}\n#define V_BYTES {}\n#define COLUMNS {}\n#define POWERS {}\n#define ZERO_SUMS {}\n#define OUT_SIZE {}\n",
      type, p.depth, p.value_depth, plan.depth, plan.value_depth, p.queries, p.keys, p.heads, s.query_warps, s.rows, s.key_warps, plan.warp_keys / 8, plan.q_bytes, plan.k_bytes,
      plan.v_bytes, plan.q_bytes + plan.stages * (plan.k_bytes + plan.v_bytes), masks.factor, s.wgmma ? "(TILES > 1)" : "true", p.out.size());
  if (s.wgmma) {
    g.source += std::string(kGroupLayout) + kGroupProducts + GroupProduct("scores", plan.tile, type, false, false) + GroupProduct("values", plan.value_depth, type, true, true);
  } else {
    g.source += fmt::format("#define MMA \"mma.sync.aligned.m16n8k16.row.col.f32.{0}.{0}.f32 \"\n", type);
    g.source += kSyncProducts;
  }
  g.source += fmt::format("__forceinline__ unsigned pack(float a, float b) {{ unsigned r; asm(\"cvt.rn.{}x2.f32 %0, %1, %2;\" : \"=r\"(r) : \"f\"(b), \"f\"(a)); return r; }}\n", type);
  if (staged) g.source += StagedOutputSetup(p.out);
  g.source += kSetup + masks.declared;
  g.source += fmt::format("extern \"C\" __global__ void __launch_bounds__(THREADS, {}) k(const T* query, const T* key, const T* value, {}{}* out) {{\n", blocks,
                          p.mask ? fmt::format("const {}* mask, ", p.mask_elem.storage()) : "", p.out.storage());
  g.source += kStart + masks.before;
  g.source += s.wgmma ? "  const unsigned q_group = qs + warp / 4 * (64 * 128);\n"
                      : "  const unsigned q_rows = qs + PLACE(q_warp + (lane & 15), lane / 16, 0, DP);\n  unsigned qa[MT][QREG ? DP / 16 : 1][4];\n";
  g.source += kStepStart;
  const char* await_products = s.wgmma ? "    await_products();\n" : "";
  // Products of warp groups run while buffers are filled.
  g.source += s.wgmma ? std::string(kGroupScores) + kFillKeys : std::string(kFillKeys) + kSyncScores;
  g.source += await_products + Replaced(kSoftmax, "PREPARE", masks.prepare);
  g.source += s.wgmma ? std::string(kGroupValues) + kFillValues : std::string(kFillValues) + kSyncValues;
  g.source += std::string(await_products) + kSteps;
  g.source += s.key_warps > 1 ? JoinedOutput(p.out) : staged ? kStagedOutput : DirectOutput(p.out);
  g.inputs = 3 + p.mask;
  g.shared = static_cast<size_t>(plan.shared);
  g.waits = true;
  g.block[0] = static_cast<unsigned>(s.threads());
  g.grid[0] = static_cast<unsigned>((p.queries + s.queries() - 1) / s.queries());
  g.grid[1] = static_cast<unsigned>(p.heads);
  g.grid[2] = static_cast<unsigned>(p.batch);
  return g;
}

}  // namespace tfengine::cuda
