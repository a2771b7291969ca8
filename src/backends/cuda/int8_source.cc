// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/int8_conv.h"

namespace tfengine::cuda {
namespace {

// The kernel; Int8Source() puts its constants in front. Layouts: shared memory holds rows of BK bytes whose 16 byte
// chunks are permuted with the row, so that eight rows of one chunk lie in different banks (the layout is also the one
// that wgmma calls 64 or 128 byte swizzle).
constexpr char kParams[] = R"cuda(
struct Params {
  const u8* x; const signed char* w; const float* channels; const void* residual; void* out;
  int rows, filters, table, k_tiles, pitch, n_tiles, tiles;
  int run, pixel, in_h, in_w, out_w, out_hw, stride_h, stride_w, pad_h, pad_w, k_h, k_w, dilation_h, dilation_w;
  unsigned zero_word;
  float residual_scale, residual_zero, inverse;
  int zero, lo, hi;
  float least, most;
  int columns, backwards;
};
)cuda";

constexpr char kHead[] = R"cuda(
#define THREADS (WARPS_M * WARPS_N * 32)
#define MT (BM / WARPS_M / 16)
#define NT (BN / WARPS_N / 8)
#define PT (NT < 8 ? NT : 8)
#define GROUPS (NT / PT)
#define RUN (2 * PT)
#define A_BYTES (BM * BK)
#define STAGE_BYTES (A_BYTES + BN * BK)
#define UNITS (BK / UNIT)
#define A_LOADS (BM * UNITS / THREADS)
#define B_LOADS (BN * (BK / 16) / THREADS)

__forceinline__ unsigned place(unsigned row, unsigned chunk) { return row * BK + ((chunk ^ (BK == 128 ? row & 7 : row >> 1 & 3)) << 4); }
// Copies the first `bytes` of N and zeros the rest.
template <int N> __forceinline__ void copy_async(unsigned to, const void* from, int bytes = N) {
  if (N == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(bytes));
  if (N == 8) asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" :: "r"(to), "l"(from), "r"(bytes));
  if (N == 4) asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" :: "r"(to), "l"(from), "r"(bytes));
}
// N bytes that are each `word`'s.
template <int N> __forceinline__ void store_word(unsigned to, unsigned word) {
  if (N == 16) asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" :: "r"(to), "r"(word) : "memory");
  if (N == 8) asm volatile("st.shared.v2.b32 [%0], {%1, %1};" :: "r"(to), "r"(word) : "memory");
  if (N == 4) asm volatile("st.shared.b32 [%0], %1;" :: "r"(to), "r"(word) : "memory");
}
__forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __forceinline__ void wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }
__forceinline__ void load_matrices(unsigned (&r)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from));
}
template <int N> struct Words { unsigned v[N]; };
template <> struct alignas(8) Words<2> { unsigned v[2]; };
template <> struct alignas(16) Words<4> { unsigned v[4]; };

// N neighbouring codes as words, those that there are.
template <int N> __forceinline__ void load_codes(const Params& p, int row, int ch, unsigned (&r)[N / 4]) {
  constexpr int V = N < VECTOR ? N : VECTOR;
#pragma unroll
  for (int j = 0; j < N / 4; ++j) r[j] = 0;
  if (row >= p.rows) return;
  const u8* from = (const u8*)p.residual + (size_t)row * p.filters + ch;
#pragma unroll
  for (int j = 0; j < N; j += V) {
    if (ch + j >= p.filters) break;
    if constexpr (V == 1) {
      r[j / 4] |= (unsigned)from[j] << j % 4 * 8;
    } else {
      const Words<V / 4> u = *(const Words<V / 4>*)(from + j);
#pragma unroll
      for (int e = 0; e < V / 4; ++e) r[j / 4 + e] = u.v[e];
    }
  }
}
// Where the result of channel ch + j lies. JOINT: products of `columns` channels, one behind the other.
__forceinline__ size_t result_at(const Params& p, int row, int ch, int j) {
  return JOINT ? ((size_t)((ch + j) / p.columns) * p.rows + row) * p.columns + (ch + j) % p.columns : (size_t)row * p.filters + ch + j;
}
template <int N> __forceinline__ void store_codes(const Params& p, int row, int ch, const unsigned (&r)[N / 4]) {
  constexpr int V = N < VECTOR ? N : VECTOR;
  if (row >= p.rows) return;
#pragma unroll
  for (int j = 0; j < N; j += V) {
    if (ch + j >= p.filters) break;
    u8* to = (u8*)p.out + result_at(p, row, ch, j);
    if constexpr (V == 1) {
      *to = (u8)(r[j / 4] >> j % 4 * 8);
    } else {
      Words<V / 4> u;
#pragma unroll
      for (int e = 0; e < V / 4; ++e) u.v[e] = r[j / 4 + e];
      *(Words<V / 4>*)to = u;
    }
  }
}

// What four neighbouring channels need: how much a sum's unit is, the bias, and what makes up for the zero of x.
struct Channels { float4 scale, bias; int4 zero; };
__forceinline__ Channels load_channels(const Params& p, const float* at) {
  Channels c = {*(const float4*)at, *(const float4*)(at + p.table), {0, 0, 0, 0}};
  if (COMPENSATE) c.zero = *(const int4*)(at + 2 * p.table);
  return c;
}

// Four neighbours of a row, given their sums: returned as codes, or stored as reals. `codes`: of the residual.
__forceinline__ unsigned finish(const Params& p, int row, int ch, const Channels& c, const Sum (&sum)[4], unsigned codes) {
  float z[4] = {fmaf(real_sum(sum[0], c.zero.x), c.scale.x, c.bias.x), fmaf(real_sum(sum[1], c.zero.y), c.scale.y, c.bias.y),
                fmaf(real_sum(sum[2], c.zero.z), c.scale.z, c.bias.z), fmaf(real_sum(sum[3], c.zero.w), c.scale.w, c.bias.w)};
#if RESIDUAL == 2 || !CODES
  constexpr int V = VECTOR < 4 ? 1 : 4;
  const bool row_is_there = row < p.rows;
#endif
#if RESIDUAL == 1
  add_codes(p, codes, z);
#elif RESIDUAL == 2
#pragma unroll
  for (int j = 0; j < 4; j += V) {
    if (!row_is_there || ch + j >= p.filters) break;
    const vec<RESIDUAL_T, V> u = *(const vec<RESIDUAL_T, V>*)((const RESIDUAL_T*)p.residual + result_at(p, row, ch, j));
#pragma unroll
    for (int e = 0; e < V; ++e) z[j + e] += RESIDUAL_LOAD(u.v[e]);
  }
#endif
#ifdef ACT
#pragma unroll
  for (int j = 0; j < 4; ++j) { typedef float W; const float x = z[j]; z[j] = ACT; }
#endif
#if CODES
  return to_codes(p, z);
#else
#pragma unroll
  for (int j = 0; j < 4; j += V) {
    if (!row_is_there || ch + j >= p.filters) break;
    vec<OUT_T, V> u;
#pragma unroll
    for (int e = 0; e < V; ++e) u.v[e] = OUT_STORE(z[j + e]);
    *(vec<OUT_T, V>*)((OUT_T*)p.out + result_at(p, row, ch, j)) = u;
  }
  return 0;
#endif
}
)cuda";

constexpr char kBody[] = R"cuda(
#if FLOATS
#define STEP step
#else
#define STEP sums
#endif
__forceinline__ void clear(Sum (&c)[MT][NT][4]) {
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) c[i][j][e] = 0;
}
// Sums that a warp group's instruction has written behind the compiler's back.
__forceinline__ void written(Sum (&c)[NT][4]) {
#pragma unroll
  for (int j = 0; j < NT; ++j) asm volatile("" : SUM_KEPT(c[j][0]), SUM_KEPT(c[j][1]), SUM_KEPT(c[j][2]), SUM_KEPT(c[j][3]) :: "memory");
}
#if SPLITS > 1
__forceinline__ void cluster_sync() { asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
__forceinline__ Sum4 load_remote(unsigned at, unsigned rank) {
  Sum4 v;
  asm volatile("{ .reg .b32 a; mapa.shared::cluster.u32 a, %4, %5; ld.shared::cluster.v4.b32 {%0, %1, %2, %3}, [a]; }"
               : SUM_OUT(v.x), SUM_OUT(v.y), SUM_OUT(v.z), SUM_OUT(v.w) : "r"(at), "r"(rank) : "memory");
  return v;
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) CLUSTER k(const __grid_constant__ Params p) {
  extern __shared__ u8 memory[];
  const unsigned shared = ((unsigned)__cvta_generic_to_shared(memory) + 1023) / 1024 * 1024;
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int split = blockIdx.y, first = p.k_tiles * split / SPLITS, last = p.k_tiles * (split + 1) / SPLITS;

  const auto turned = [&](int number) { return p.backwards ? p.tiles - 1 - number : number; };
  // What is loaded next: loads run ahead of the products, also into the block's next tile.
  int load_tile = blockIdx.x, load_k = first;
  const int unit = thread % UNITS;   // of a row of pixels; a thread loads the same unit of several rows
  const signed char* w;
  int c, base[A_LOADS];
#if !PLAIN
  int ky, kx, y0[A_LOADS], x0[A_LOADS];
#endif
  const auto start = [&]() {
    const int tile = turned(load_tile), m0 = tile / p.n_tiles * BM, n0 = tile % p.n_tiles * BN;
    w = p.w + (size_t)(n0 + thread / (BK / 16)) * p.pitch + (size_t)first * BK + thread % (BK / 16) * 16;
#pragma unroll
    for (int i = 0; i < A_LOADS; ++i) {
      const int row = m0 + thread / UNITS + i * (THREADS / UNITS);
#if PLAIN
      base[i] = min(row, p.rows - 1) * p.pixel;
#else
      const int image = row / p.out_hw, place_in = row % p.out_hw;
      y0[i] = row < p.rows ? place_in / p.out_w * p.stride_h - p.pad_h : -0x10000000;
      x0[i] = place_in % p.out_w * p.stride_w - p.pad_w;
      base[i] = row < p.rows ? ((image * p.in_h + y0[i]) * p.in_w + x0[i]) * p.pixel : 0;
#endif
    }
    c = first * BK + unit * UNIT;
#if !PLAIN
    ky = c / p.run, kx = ky % p.k_w;
    c -= ky * p.run;
    ky /= p.k_w;
#endif
  };
  const auto load_b = [&](int slot) {
    const unsigned to = shared + slot * STAGE_BYTES + A_BYTES;
#pragma unroll
    for (int i = 0; i < B_LOADS; ++i)
      copy_async<16>(to + place(thread / (BK / 16) + i * (THREADS / (BK / 16)), thread % (BK / 16)), w + (size_t)i * (THREADS / (BK / 16)) * p.pitch);
    w += BK;
  };
  const auto load_a = [&](int slot) {
    const unsigned to = shared + slot * STAGE_BYTES;
#if PLAIN
    const bool inside = c < p.run;
    const u8* from = p.x + c;
#else
    const int dy = ky * p.dilation_h, dx = kx * p.dilation_w;
    const u8* from = p.x + (dy * p.in_w + dx) * p.pixel + c;
#endif
#pragma unroll
    for (int i = 0; i < A_LOADS; ++i) {
#if !PLAIN
      const bool inside = ky < p.k_h && (unsigned)(y0[i] + dy) < (unsigned)p.in_h && (unsigned)(x0[i] + dx) < (unsigned)p.in_w;
#endif
      const unsigned at = to + place(thread / UNITS + i * (THREADS / UNITS), unit * UNIT / 16) + unit * UNIT % 16;
      if (COMPENSATE && !inside) {
        store_word<UNIT>(at, p.zero_word);
      } else {
        copy_async<UNIT>(at, inside ? from + base[i] : p.x, inside ? UNIT : 0);
      }
    }
    c += BK;
#if !PLAIN
    while (c >= p.run) {
      c -= p.run;
      if (++kx == p.k_w) kx = 0, ++ky;
    }
#endif
    if (++load_k == last) {
      load_k = first;
      load_tile += gridDim.x;
      if (load_tile < p.tiles) start();
    }
  };

  // Weights are there already; whatever else is read may be what the kernel in front of this one still writes.
  start();
  const int early = min(AHEAD, last - first);
#pragma unroll
  for (int t = 0; t < AHEAD; ++t)
    if (t < early) load_b(t);
  after_previous();
#pragma unroll
  for (int t = 0; t < AHEAD; ++t) {
    if (load_tile < p.tiles) {
      if (t >= early) load_b(t);
      load_a(t);
    }
    commit();
  }

  // A thread's pieces: rows 8 apart, RUN neighbours in channels.
  const int warp_row = warp / WARPS_N * (MT * 16), warp_column = warp % WARPS_N * (NT * 8);
  const int row_in = warp_row + lane / 4, ch_in = warp_column + lane % 4 * RUN;
#if RESIDUAL == 1 && SPLITS == 1
  unsigned codes[MT * 2][GROUPS][RUN / 4];
#pragma unroll
  for (int r = 0; r < MT * 2; ++r)
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) load_codes<RUN>(p, turned(blockIdx.x) / p.n_tiles * BM + row_in + r * 8, turned(blockIdx.x) % p.n_tiles * BN + ch_in + g * PT * 8, codes[r][g]);
#endif

  int slot = 0, next = AHEAD;
  for (int number = blockIdx.x; number < p.tiles; number += gridDim.x) {
    const int tile = turned(number);
    Sum sums[MT][NT][4];
    clear(sums);
#if FLOATS
    Sum step[MT][NT][4];  // of one step
#endif
    for (int t = first; t < last; ++t) {
      wait<AHEAD - 1>();
#if GROUP
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
      __syncthreads();
      if (load_tile < p.tiles) load_b(next), load_a(next);
      commit();
      const unsigned a_at = shared + slot * STAGE_BYTES, b_at = a_at + A_BYTES;
#if GROUP
      // Start, 1, rows of 8 and the permutation.
      const u64 form = (u64)1 << 16 | (u64)(8 * BK >> 4) << 32 | (u64)(BK == 128 ? 1 : 2) << 62;
      const u64 a = form | (a_at + warp / 4 * 64 * BK) >> 4, b = form | b_at >> 4;
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int s = 0; s < BK / 32; ++s) multiply_group(STEP[0], a + 2 * s, b + 2 * s, FLOATS ? s : 1);
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#if FLOATS
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      written(step[0]);
#else
      asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
#endif
#else
#if FLOATS
      clear(step);
#endif
#pragma unroll
      for (int s = 0; s < BK / 32; ++s) {
        unsigned a[MT][4], b[NT / 2][4];
#pragma unroll
        for (int i = 0; i < MT; ++i) load_matrices(a[i], a_at + place(warp_row + i * 16 + lane % 16, 2 * s + lane / 16));
#pragma unroll
        for (int j = 0; j < NT / 2; ++j) load_matrices(b[j], b_at + place(warp_column + j * 16 + lane % 8 + lane / 16 * 8, 2 * s + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < MT; ++i)
#pragma unroll
          for (int j = 0; j < NT; ++j) multiply(STEP[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
      }
#endif
#if FLOATS
#pragma unroll
      for (int i = 0; i < MT; ++i)
#pragma unroll
        for (int j = 0; j < NT; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[i][j][e] += step[i][j][e];
#endif
      slot = slot + 1 == STAGES ? 0 : slot + 1;
      next = next + 1 == STAGES ? 0 : next + 1;
    }
#if GROUP && !FLOATS
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    written(sums[0]);
#endif
    const int row0 = tile / p.n_tiles * BM + row_in, ch0 = tile % p.n_tiles * BN + ch_in;
#if SPLITS == 1
#if RESIDUAL == 1
    const int after = turned(number + gridDim.x), row1 = after / p.n_tiles * BM + row_in, ch1 = after % p.n_tiles * BN + ch_in;
#endif
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) {
      const int ch = ch0 + g * PT * 8;
      const float* table = p.channels + tile % p.n_tiles * BN + warp_column + g * PT * 8 + lane % 4 * 4;
      unsigned words[MT * 2][RUN / 4];
#pragma unroll
      for (int j = 0; j < RUN / 4; ++j) {
        const Channels channels = load_channels(p, table + j * 16);
#pragma unroll
        for (int r = 0; r < MT * 2; ++r) {
          const Sum (&u)[4] = sums[r / 2][g * PT + j * 2], (&v)[4] = sums[r / 2][g * PT + j * 2 + 1];
          const Sum sum[4] = {u[r % 2 * 2], u[r % 2 * 2 + 1], v[r % 2 * 2], v[r % 2 * 2 + 1]};
#if RESIDUAL == 1
          words[r][j] = finish(p, row0 + r * 8, ch + j * 4, channels, sum, codes[r][g][j]);
#else
          words[r][j] = finish(p, row0 + r * 8, ch + j * 4, channels, sum, 0);
#endif
        }
      }
#pragma unroll
      for (int r = 0; r < MT * 2; ++r) {
#if CODES
        store_codes<RUN>(p, row0 + r * 8, ch, words[r]);
#endif
#if RESIDUAL == 1
        if (number + gridDim.x < p.tiles) load_codes<RUN>(p, row1 + r * 8, ch1 + g * PT * 8, codes[r][g]);
#endif
      }
    }
#else
  // Every block of the cluster finishes its share of the pieces of 8 channels; the others' parts come from their memory.
  wait<0>();
  __syncthreads();
#pragma unroll
  for (int piece = 0; piece < MT * 2 * NT / 4; ++piece) {
    if (piece % SPLITS == split) continue;
    const int i = piece / (NT / 2), half = piece / (NT / 4) % 2, q = piece % (NT / 4);
    const unsigned to = shared + (piece * 2 * THREADS + thread) * 16;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const Sum (&u)[4] = sums[i][q * 4 + e * 2], (&v)[4] = sums[i][q * 4 + e * 2 + 1];
      asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" :: "r"(to + e * THREADS * 16), SUM_IN(u[half * 2]), SUM_IN(u[half * 2 + 1]), SUM_IN(v[half * 2]), SUM_IN(v[half * 2 + 1]) : "memory");
    }
  }
  cluster_sync();
#pragma unroll
  for (int piece = 0; piece < MT * 2 * NT / 4; ++piece) {
    if (piece % SPLITS != split) continue;
    const int i = piece / (NT / 2), half = piece / (NT / 4) % 2, q = piece % (NT / 4);
    Sum v[2][4];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j / 4][j % 4] = sums[i][q * 4 + j / 2][half * 2 + j % 2];
    const unsigned from = shared + (piece * 2 * THREADS + thread) * 16;
#pragma unroll
    for (int s = 1; s < SPLITS; ++s) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const Sum4 u = load_remote(from + e * THREADS * 16, (split + s) % SPLITS);
        v[e][0] += u.x, v[e][1] += u.y, v[e][2] += u.z, v[e][3] += u.w;
      }
    }
    const int row = row0 + i * 16 + half * 8, run = q / (RUN / 8) * PT * 8, ch = ch0 + run + q % (RUN / 8) * 8;
    unsigned codes[2] = {0, 0}, words[2];
#if RESIDUAL == 1
    load_codes<8>(p, row, ch, codes);
#endif
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float* table = p.channels + tile % p.n_tiles * BN + warp_column + run + (q % (RUN / 8) * 2 + e) * 16 + lane % 4 * 4;
      words[e] = finish(p, row, ch + e * 4, load_channels(p, table), v[e], codes[e]);
    }
#if CODES
    store_codes<8>(p, row, ch, words);
#endif
  }
  cluster_sync();  // nobody leaves while its memory is read
#endif
  }
}
)cuda";

}  // namespace

std::string Int8Source(const Int8Conv& conv, const Int8Tile& tile) {
  std::string s;
  auto define = [&](const char* name, const auto& value) { s += fmt::format("#define {} {}\n", name, value); };
  const bool codes = conv.y.quant.quantized();
  define("BM", tile.bm);
  define("BN", tile.bn);
  define("BK", tile.bk);
  define("WARPS_M", tile.warps_m);
  define("WARPS_N", tile.warps_n);
  define("STAGES", tile.stages);
  // Warp groups may still read the stage before the last.
  define("AHEAD", tile.stages - (tile.group ? 2 : 1));
  define("SPLITS", tile.splits);
  define("BLOCKS", tile.resident(conv.fp8));
  define("CLUSTER", tile.splits > 1 ? fmt::format("__cluster_dims__(1, {}, 1)", tile.splits) : "");
  define("GROUP", tile.group ? 1 : 0);
  define("UNIT", conv.unit());
  define("PLAIN", conv.plain() ? 1 : 0);
  define("COMPENSATE", conv.zero != 0 ? 1 : 0);
  define("CODES", codes ? 1 : 0);
  define("JOINT", conv.columns > 0 ? 1 : 0);
  const int64_t row = conv.columns > 0 ? conv.columns : conv.filters;
  int vector = 16;
  while (vector > 1 && row % vector != 0) vector = vector == 4 ? 1 : vector / 2;
  define("VECTOR", vector);
  define("RESIDUAL", !conv.residual ? 0 : conv.code_residual() ? 1 : 2);
  if (conv.residual && !conv.code_residual()) {
    define("RESIDUAL_T", conv.residual->storage());
    define("RESIDUAL_LOAD(v)", conv.residual->Load("v"));
  }
  if (!conv.act.empty()) define("ACT", conv.act);
  if (codes) {
    define("FOLDED", conv.folded() ? 1 : 0);
    define("CLAMP", (conv.fp8 ? std::isfinite(conv.least) || std::isfinite(conv.most) : conv.lo != 0 || conv.hi != 255) ? 1 : 0);
  } else {
    define("FOLDED", 0);
    define("CLAMP", 0);
    define("OUT_T", conv.y.storage());
    define("OUT_STORE(w)", conv.y.Store("w"));
  }
  return s + kParams + Int8Arithmetic(conv, tile) + kHead + kBody;
}

}  // namespace tfengine::cuda
