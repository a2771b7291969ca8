// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tile_product.h"

#include <algorithm>
#include <limits>

#include "backends/cuda/group_product.h"

namespace tfengine::cuda {
namespace {

constexpr int kTerms = 64;  // of a stage: rows of 128 bytes, which wgmma's widest swizzle wants
constexpr size_t kMostShared = 227 << 10;

// Loads one stage of A and B. A thread keeps to one 16-byte column of the tile; rows lie THREADS / 8 apart, so that its swizzle
// is the same for all. Everything about sizes is an argument: one compiled kernel serves every layer.
constexpr char kLoads[] = R"cuda(
#define ROWS (THREADS / 8)
#define AR (BM / ROWS)
#define BR (BN / ROWS)
#define STAGE ((BM + BN) * 128)
__forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__forceinline__ void copy16(unsigned to, const void* from, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __forceinline__ void await() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
)cuda";

constexpr char kSetup[] = R"cuda(
  extern __shared__ u8 raw_memory[];
  u8* memory = raw_memory + ((1024 - (shared_address(raw_memory) & 1023)) & 1023);
  const unsigned base = shared_address(memory);
  const int m = (int)m_, n = (int)n_, k = (int)k_, split = (int)split_;
  const int tiles_n = (n + BN - 1) / BN, tile = backwards ? gridDim.x - 1 - blockIdx.x : blockIdx.x, tile_n = tile % tiles_n, tile_m = tile / tiles_n;
  const int part = blockIdx.z % split, group = blockIdx.z / split;
  const int tid = threadIdx.x, lane = tid & 31, warp = tid / 32, line = tid / 8;
  const int steps = (k + 63) / 64, first = (int)((i64)steps * part / split), count = (int)((i64)steps * (part + 1) / split) - first;
  const unsigned to = base + line * 128 + (((tid & 7) ^ (line & 7)) << 4);
  w += (i64)group * n * k;
  out += (i64)group * m * n;
  int at = first * 64 + (tid & 7) * 8;  // the thread's term in the next stage
  const T* b_row = w + (i64)(tile_n * BN + line) * k;
  auto load_b = [&](int stage, int term) {
#pragma unroll
    for (int i = 0; i < BR; ++i)
      copy16(to + stage * STAGE + BM * 128 + i * ROWS * 128, term < k && tile_n * BN + line + i * ROWS < n ? b_row + (i64)i * ROWS * k + term : w,
             term < k && tile_n * BN + line + i * ROWS < n);
  };
)cuda";

constexpr char kPlainRows[] = R"cuda(
  const T* a_row = x + (i64)(tile_m * BM + line) * k;
  auto load_a = [&](int stage) {
#pragma unroll
    for (int i = 0; i < AR; ++i) {
      const bool valid = at < k && tile_m * BM + line + i * ROWS < m;
      copy16(to + stage * STAGE + i * ROWS * 128, valid ? a_row + (i64)i * ROWS * k + at : x, valid);
    }
  };
  auto next = [&] { at += 64; };
)cuda";

constexpr char kWindows[] = R"cuda(
  const int height = (int)in_h, width = (int)in_w, depth = (int)channels, kw = (int)k_w;
  const T* origin[AR];  // of the window; may lie outside of the image
  int corner[AR];       // its first line and column, 16 bits each
#pragma unroll
  for (int i = 0; i < AR; ++i) {
    const int row = tile_m * BM + line + i * ROWS, ox = row % (int)out_w, rest = row / (int)out_w, oy = rest % (int)out_h, image = rest / (int)out_h;
    const int y = oy * (int)stride_h - (int)pad_h, z = ox * (int)stride_w - (int)pad_w;
    corner[i] = row < m ? (y << 16) | (z & 0xffff) : (int)0x80000000;
    origin[i] = x + (((i64)image * height + y) * width + z) * depth;
  }
  int c = at % depth, kx = at / depth % kw, ky = at / depth / kw;
  auto load_a = [&](int stage) {
    const int dy = ky * (int)dilation_h, dx = kx * (int)dilation_w;
    const i64 offset = ((i64)dy * width + dx) * depth + c;
#pragma unroll
    for (int i = 0; i < AR; ++i) {
      const int y = (corner[i] >> 16) + dy, z = (int)(short)corner[i] + dx;
      const bool valid = at < k && (unsigned)y < (unsigned)height && (unsigned)z < (unsigned)width;
      copy16(to + stage * STAGE + i * ROWS * 128, valid ? origin[i] + offset : x, valid);
    }
  };
  auto next = [&] {
    at += 64;
    c += 64;
    while (c >= depth) {
      c -= depth;
      if (++kx == kw) kx = 0, ++ky;
    }
  };
)cuda";

// Weights do not depend on the kernel in front: their first stages are asked for before waiting for it.
constexpr char kPipeline[] = R"cuda(
#pragma unroll
  for (int s = 0; s < LEAD; ++s)
    if (s < count) load_b(s, at + s * 64);
  after_previous();
#pragma unroll
  for (int s = 0; s < LEAD; ++s) {
    if (s < count) load_a(s), next();
    commit();
  }
  float acc[MT][NT][4];
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j) acc[i][j][0] = acc[i][j][1] = acc[i][j][2] = acc[i][j][3] = 0;
  for (int s = 0; s < count; ++s) {
    await<LEAD - 1>();
    MADE_VISIBLE
    __syncthreads();
    if (s + LEAD < count) {
      const int stage = (s + LEAD) % STAGES;
      load_b(stage, at);
      load_a(stage);
      next();
    }
    commit();
    const unsigned a_tile = base + s % STAGES * STAGE, b_tile = a_tile + BM * 128;
    multiply(acc, a_tile, b_tile, warp, lane);
  }
  FINISH
  await<0>();
  __syncthreads();
)cuda";

constexpr char kSyncMultiply[] = R"cuda(
#define MADE_VISIBLE
#define FINISH
#define MT (BM / WM / 16)
#define NT (BN / WN / 8)
__forceinline__ void mma(float* c, const unsigned* a, unsigned b0, unsigned b1) {
  asm volatile(MMA "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__forceinline__ void ldmatrix(unsigned* r, unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from));
}
__forceinline__ void multiply(float (&acc)[MT][NT][4], unsigned a_tile, unsigned b_tile, int warp, int lane) {
  const int wm = warp / WN, wn = warp % WN;
  // Lane l gives the address of row l % 16, columns l / 16 * 8 of A; row l % 8 + l / 16 * 8, columns l / 8 % 2 * 8 of B.
  const unsigned a_line = wm * MT * 16 + (lane & 15), b_line = wn * NT * 8 + (lane & 7) + lane / 16 * 8;
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    unsigned a[MT][4], b[NT / 2][4];
#pragma unroll
    for (int i = 0; i < MT; ++i) ldmatrix(a[i], a_tile + (a_line + i * 16) * 128 + (((2 * q + lane / 16) ^ (lane & 7)) << 4));
#pragma unroll
    for (int j = 0; j < NT / 2; ++j) ldmatrix(b[j], b_tile + (b_line + j * 16) * 128 + (((2 * q + (lane / 8 & 1)) ^ (lane & 7)) << 4));
#pragma unroll
    for (int i = 0; i < MT; ++i)
#pragma unroll
      for (int j = 0; j < NT; ++j) mma(acc[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
  }
}
)cuda";

// One warpgroup has 64 rows and all columns. The products of a stage run on while the next stage is waited for; a stage is
// filled again two steps after it was read (lean: other blocks fill the gap).
std::string WgmmaMultiply(const TileShape& s, const char* type) {
  std::string code = R"cuda(
#define MADE_VISIBLE asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#define FINISH asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#define MT 1
#define NT (BN / 8)
// K-major rows of 128 bytes in 128-byte swizzle; groups of 8 rows 1024 bytes apart.
__forceinline__ u64 descriptor(unsigned address) { return ((u64)1 << 62) | ((u64)64 << 32) | ((u64)1 << 16) | ((address & 0x3ffff) >> 4); }
__forceinline__ void multiply(float (&acc)[MT][NT][4], unsigned a_tile, unsigned b_tile, int warp, int lane) {
  const u64 a = descriptor(a_tile + warp / 4 * 64 * 128), b = descriptor(b_tile);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
  for (int q = 0; q < 4; ++q)
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n)cuda";
  const int registers = s.bn / 2;
  const auto [list, operands] = SumsOfGroup(s.bn, "\"+f\"(acc[0][{}][{}])");
  code += fmt::format("wgmma.mma_async.sync.aligned.m64n{0}k16.f32.{1}.{1} {{{2}}}, %{3}, %{4}, p, 1, 1, 0, 0;\\n}}\"\n                 : {5} : \"l\"(a + 2 * q), \"l\"(b + 2 * q));\n",
                      s.bn, type, list, registers, registers + 1, operands);
  return code + fmt::format("  asm volatile(\"wgmma.commit_group.sync.aligned;\\nwgmma.wait_group.sync.aligned {};\" ::: \"memory\");\n}}\n", s.lean ? 0 : 1);
}

// Sums go through shared memory, so that 8 neighbours of a row meet in one thread; the blocks of a cluster share out the tile.
constexpr char kOutput[] = R"cuda(
#define PITCH (BN + 8)
  float* sums = (float*)memory;
#pragma unroll
  for (int i = 0; i < MT; ++i)
#pragma unroll
    for (int j = 0; j < NT; ++j) {
      float* to_sums = sums + (WARP_ROW + i * 16 + lane / 4) * PITCH + WARP_COLUMN + j * 8 + lane % 4 * 2;
      *(float2*)to_sums = make_float2(acc[i][j][0], acc[i][j][1]);
      *(float2*)(to_sums + 8 * PITCH) = make_float2(acc[i][j][2], acc[i][j][3]);
    }
  CLUSTER_BARRIER
  for (int v = part * THREADS + tid; v < BM * BN / 8; v += split * THREADS) {
    const int row = v / (BN / 8), column = v % (BN / 8) * 8, line_out = tile_m * BM + row, ch = tile_n * BN + column;
    if (line_out >= m || ch >= n) continue;
    float a[8];
    *(float4*)a = *(const float4*)(sums + row * PITCH + column);
    *(float4*)(a + 4) = *(const float4*)(sums + row * PITCH + column + 4);
    ADD_PARTS
    const i64 where = (i64)line_out * n + ch;
)cuda";

constexpr char kClusterBarrier[] =
    "if (split > 1) asm volatile(\"barrier.cluster.arrive.release.aligned;\\nbarrier.cluster.wait.acquire.aligned;\" ::: \"memory\"); else __syncthreads();";

constexpr char kAddParts[] = R"cuda(
    for (int other = 1; other < split; ++other) {
      const unsigned rank = (part + other) % split;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        unsigned remote;
        float4 f;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(sums + row * PITCH + column + 4 * half)), "r"(rank));
        asm volatile("ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(f.x), "=f"(f.y), "=f"(f.z), "=f"(f.w) : "r"(remote) : "memory");
        a[4 * half] += f.x, a[4 * half + 1] += f.y, a[4 * half + 2] += f.z, a[4 * half + 3] += f.w;
      }
    }
)cuda";

// Cycles that a cut takes, roughly: blocks on the busiest multiprocessor, each bound by its arithmetic, its loads or their
// latency. Only the order matters; the device decides among the first few.
double Cost(const TileProduct& p, const TileShape& s, int processors) {
  const int64_t blocks = CeilDiv(p.m, s.bm) * CeilDiv(p.n, s.bn) * p.groups * s.split;
  const int64_t steps = CeilDiv(CeilDiv(p.k, kTerms), s.split);
  const int64_t resident = std::max<int64_t>(1, std::min<int64_t>(static_cast<int64_t>(kMostShared / (s.SharedBytes(p.k) + 1024)), 2048 / s.threads() / (s.wgmma ? 2 : 1)));
  const int64_t mine = CeilDiv(blocks, processors);
  const double multiply = static_cast<double>(s.bm) * s.bn * kTerms / (s.wgmma ? 3000 : 1500), load = (s.bm + s.bn) * 128.0 / 40 * std::min(1.0, static_cast<double>(p.k) / kTerms);
  const double busy = static_cast<double>(mine * steps) * std::max(multiply, load) + static_cast<double>(mine) * s.bm * s.bn * 6 / 64;
  const double waits = static_cast<double>(CeilDiv(mine, resident)) * (static_cast<double>(steps) * (multiply * 1.5 + 100) + 1500 + (s.split > 1 ? 600 : 0));
  return std::max(busy, waits);
}

std::vector<TileShape> Basics(int architecture) {
  std::vector<TileShape> list;
  for (auto [bm, bn, wm, wn] : {std::array{16, 64, 1, 4}, {32, 64, 2, 2}, {64, 32, 2, 2}, {64, 64, 2, 2}, {128, 32, 4, 1}, {128, 64, 2, 2}, {64, 128, 2, 2}, {128, 128, 2, 2}})
    list.push_back({.wgmma = false, .bm = bm, .bn = bn, .warps_m = wm, .warps_n = wn, .stages = bm * bn >= 8192 ? 3 : 4});
  if (architecture == 90)
    for (auto [bm, bn, stages] : {std::array{64, 64, 5}, {64, 128, 5}, {64, 256, 4}, {128, 32, 5}, {128, 64, 5}, {128, 96, 5}, {128, 128, 5}, {128, 192, 4}, {128, 256, 4}})
      list.push_back({.wgmma = true, .bm = bm, .bn = bn, .warps_m = bm / 16, .warps_n = 1, .stages = stages});
  // Most weights of a small problem are on their way before the kernel in front has ended.
  if (architecture == 90)
    for (auto [bm, bn, stages] : {std::array{64, 32, 12}, {64, 64, 9}, {64, 128, 8}, {128, 64, 8}})
      list.push_back({.wgmma = true, .bm = bm, .bn = bn, .warps_m = bm / 16, .warps_n = 1, .stages = stages, .deep = true});
  if (architecture == 90)
    for (auto [bm, bn, stages] : {std::array{64, 128, 3}, {128, 64, 3}, {128, 128, 3}})
      list.push_back({.wgmma = true, .bm = bm, .bn = bn, .warps_m = bm / 16, .warps_n = 1, .stages = stages, .lean = true});
  return list;
}

// Everything that can be run.
std::vector<TileShape> AllShapes(const TileProduct& p, int architecture) {
  std::vector<TileShape> all;
  const bool sizes = p.k % 8 == 0 && p.n % 8 == 0 && p.k > 0 && p.m > 0 && p.m < (int64_t{1} << 31) - 256 && p.n * p.k < (int64_t{1} << 31) &&
                     (!p.image || (p.channels % 8 == 0 && p.in_h < 16384 && p.in_w < 16384 && p.pad_h < 16384 && p.pad_w < 16384));
  if (architecture < 80 || !sizes) return all;
  const int64_t steps = CeilDiv(p.k, kTerms);
  for (TileShape s : Basics(architecture)) {
    // Rows of B are loaded in whole passes of the threads.
    if (s.bn % (s.threads() / 8) != 0 || s.bm % (s.threads() / 8) != 0) continue;
    for (s.split = 1; s.split <= (architecture >= 90 ? 8 : 1) && s.split <= steps; s.split *= 2) all.push_back(s);
  }
  return all;
}

}  // namespace

// No more stages than there are steps: all are loaded at once then.
int TileShape::StagesFor(int64_t k) const { return static_cast<int>(std::min<int64_t>(stages, CeilDiv(CeilDiv(k, kTerms), split))); }

size_t TileShape::SharedBytes(int64_t k) const {
  return 1024 + std::max(static_cast<size_t>(StagesFor(k)) * static_cast<size_t>(bm + bn) * 128, static_cast<size_t>(bm) * static_cast<size_t>(bn + 8) * 4);
}

std::string TileShape::Name() const { return fmt::format("{}{}x{}{}{}", wgmma ? "wg" : "tile", bm, bn, lean ? "l" : deep ? "d" : "", split > 1 ? fmt::format("/{}", split) : ""); }

std::vector<TileShape> TileShapes(const TileProduct& p, int architecture, int processors) {
  const size_t most = p.m <= 512 ? 16 : 9;  // short kernels are timed quickly
  std::vector<TileShape> all = AllShapes(p, architecture);
  all.erase(std::remove_if(all.begin(), all.end(), [&](const TileShape& s) { return s.deep && (p.m > 1024 || s.StagesFor(p.k) <= 5); }), all.end());
  std::stable_sort(all.begin(), all.end(), [&](const TileShape& a, const TileShape& b) { return Cost(p, a, processors) < Cost(p, b, processors); });
  if (all.size() > most) all.resize(most);
  return all;
}

std::vector<std::string> TileNames(int architecture) {
  TileProduct large;
  large.m = large.n = large.k = 4096;
  std::vector<std::string> names;
  for (const TileShape& s : AllShapes(large, architecture)) names.push_back(s.Name());
  return names;
}

std::optional<TileShape> FindTileShape(const TileProduct& p, int architecture, const std::string& name) {
  for (const TileShape& s : AllShapes(p, architecture))
    if (s.Name() == name) return s;
  return std::nullopt;
}

Generated TileProductCode(const TileProduct& p, const TileShape& s) {
  const char* type = p.type == DType::kFloat16 ? "f16" : "bf16";
  Generated g;
  const int stages = s.StagesFor(p.k);
  // Stages that are on their way: all of them if none is filled twice.
  const int lead = CeilDiv(CeilDiv(p.k, kTerms), s.split) <= s.stages ? stages : s.wgmma && !s.lean ? stages - 2 : stages - 1;
  g.source = fmt::format("#define T {}\n#define BM {}\n#define BN {}\n#define WM {}\n#define WN {}\n#define THREADS {}\n#define STAGES {}\n#define LEAD {}\n", type, s.bm, s.bn, s.warps_m,
                         s.warps_n, s.threads(), stages, lead);
  g.source += kLoads;
  if (s.wgmma) {
    g.source += WgmmaMultiply(s, type) + "#define WARP_ROW (warp * 16)\n#define WARP_COLUMN 0\n";
  } else {
    g.source += fmt::format("#define MMA \"mma.sync.aligned.m16n8k16.row.col.f32.{0}.{0}.f32 \"\n", type);
    g.source += kSyncMultiply;
    g.source += "#define WARP_ROW (warp / WN * MT * 16)\n#define WARP_COLUMN (warp % WN * NT * 8)\n";
  }
  g.source += fmt::format("#define CLUSTER_BARRIER {}\n", s.split > 1 ? kClusterBarrier : "__syncthreads();");
  g.source += fmt::format("extern \"C\" __global__ void __launch_bounds__(THREADS{}) k(const T* x, const T* w, {}{}{}* out, i64 m_, i64 n_, i64 k_, i64 split_{}, i64 backwards) {{\n",
                          s.lean ? ", 2" : "", p.bias ? "const float* bias, " : "", p.residual ? fmt::format("const {}* residual, ", p.residual_elem.storage()) : "", p.out.storage(),
                          p.image ? ", i64 in_h, i64 in_w, i64 channels, i64 k_w, i64 out_h, i64 out_w, i64 stride_h, i64 stride_w, i64 dilation_h, i64 dilation_w, "
                                    "i64 pad_h, i64 pad_w"
                                  : "");
  g.source += kSetup;
  g.source += p.image ? kWindows : kPlainRows;
  g.source += kPipeline;
  std::string output = kOutput;
  const std::string parts = "ADD_PARTS";
  output.replace(output.find(parts), parts.size(), s.split > 1 ? kAddParts : "");
  g.source += output;
  auto vector = [](const Elem& e, const char* name, const std::string& from) {
    return fmt::format("    const vec<{0}, 8> {1} = *(const vec<{0}, 8>*)({2});\n", e.storage(), name, from);
  };
  if (p.bias) g.source += vector(Elem(), "bias_v", "bias + group * n + ch");
  if (p.residual) g.source += vector(p.residual_elem, "other", "residual + where");
  g.source += fmt::format("    vec<{}, 8> r;\n#pragma unroll\n    for (int e = 0; e < 8; ++e) {{\n      float z = a[e];\n", p.out.storage());
  if (p.bias) g.source += "      z += bias_v.v[e];\n";
  if (p.residual) g.source += fmt::format("      z += {};\n", p.residual_elem.Load("other.v[e]"));
  if (!p.act.empty()) g.source += fmt::format("      {{ typedef float W; const W x = z; z = {}; }}\n", p.act);
  g.source += fmt::format("      r.v[e] = {};\n    }}\n    *(vec<{}, 8>*)(out + where) = r;\n  }}\n{}}}\n", p.out.Store("z"), p.out.storage(),
                          // A block's memory must stay until its neighbours have read it.
                          s.split > 1 ? "  CLUSTER_BARRIER\n" : "");
  g.inputs = static_cast<size_t>(2 + p.bias + p.residual);
  g.bound.push_back({1, p.weights, true});
  if (p.bias) g.bound.push_back({2, p.bias_buffer, false});
  g.sizes = {p.m, p.n, p.k, s.split};
  if (p.image)
    for (int64_t v : {p.in_h, p.in_w, p.channels, p.k_w, p.out_h, p.out_w, p.stride_h, p.stride_w, p.dilation_h, p.dilation_w, p.pad_h, p.pad_w}) g.sizes.push_back(v);
  g.reverses = true;
  g.shared = s.SharedBytes(p.k);
  g.cluster = static_cast<unsigned>(s.split);
  g.waits = true;
  g.block[0] = static_cast<unsigned>(s.threads());
  g.grid[0] = static_cast<unsigned>(CeilDiv(p.m, s.bm) * CeilDiv(p.n, s.bn));
  g.grid[2] = static_cast<unsigned>(s.split * p.groups);
  return g;
}

}  // namespace tfengine::cuda
