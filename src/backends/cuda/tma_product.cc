// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tma_product.h"

#include <algorithm>
#include <limits>

namespace tfengine::cuda {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Of shared memory: what its start is rounded up by, and what a slot has beside its bytes.
constexpr int kAlignment = 1024, kBarriers = 16;

// Where the last window of a row or column starts, counted from the image's last pixel.
int64_t UpperCorner(int64_t out, int64_t stride, int64_t pad, int64_t in) { return (out - 1) * stride - pad - (in - 1); }

constexpr char kHead[] = R"cuda(
struct alignas(64) TensorMap { u64 words[16]; };
#define WARPS (4 * WARP_GROUPS)
__forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__forceinline__ void init_barrier(unsigned at, unsigned count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory"); }
__forceinline__ void expect_bytes(unsigned at, unsigned bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory"); }
__forceinline__ void arrive(unsigned at, unsigned count) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(count) : "memory"); }
// Returns when the phase of this parity is over.
__forceinline__ void await_phase(unsigned at, unsigned parity) {
  asm volatile("{\n.reg .pred p;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra.uni over;\nbra.uni again;\nover:\n}" ::"r"(at), "r"(parity) : "memory");
}
__forceinline__ void load_tensor(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z) : "memory");
}
__forceinline__ void load_windows(unsigned to, const TensorMap* map, unsigned barrier, int c, int x, int y, int image, u16 dx, u16 dy) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};"
               ::"r"(to), "l"(map), "r"(barrier), "r"(c), "r"(x), "r"(y), "r"(image), "h"(dx), "h"(dy) : "memory");
}
__forceinline__ void load_bytes(unsigned to, const void* from, unsigned bytes, unsigned barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes), "r"(barrier) : "memory");
}
__forceinline__ void store_tensor(const TensorMap* map, unsigned from, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map), "r"(from), "r"(x), "r"(y), "r"(z) : "memory");
}
__forceinline__ void store_bytes(void* to, unsigned from, unsigned bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes) : "memory");
}
__forceinline__ void sync_group(unsigned id) { asm volatile("bar.sync %0, 128;" ::"r"(id) : "memory"); }
// Rows of ROW bytes, permuted in 16 byte chunks as the accelerator writes them; groups of 8 rows lie one behind the other.
__forceinline__ u64 descriptor(unsigned address) { return ((u64)(ROW == 128 ? 1 : 2) << 62) | ((u64)(8 * ROW / 16) << 32) | ((u64)1 << 16) | ((address & 0x3ffff) >> 4); }
)cuda";

// A slot of the ring holds what one step multiplies; or the residual of a tile, in whose place the result is put, and behind it
// what the columns need. LINEAR: a tile has whole rows of the result, which lie in the slot as they do in memory.
constexpr char kBody[] = R"cuda(
  extern __shared__ u8 raw_memory[];
  u8* memory = raw_memory + ((1024 - (shared_address(raw_memory) & 1023)) & 1023);
  const unsigned base = shared_address(memory), full = base + SLOTS * SLOT, empty = full + 8 * SLOTS;
  const int m = (int)m_, n = (int)n_, chunks = (int)chunks_, steps = (int)taps * chunks, tiles_n = (n + BN - 1) / BN, tiles_m = (m + BM - 1) / BM, tiles = tiles_n * tiles_m * (int)groups_;
  if (threadIdx.x == 0) {
#pragma unroll
    for (int s = 0; s < SLOTS; ++s) init_barrier(full + 8 * s, 1), init_barrier(empty + 8 * s, WARPS);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x >= 32 * WARPS) {
    if (threadIdx.x > 32 * WARPS) return;
    int slot = 0;
    unsigned parity = 1;
    // Weights do not depend on the kernel in front: they are asked for before waiting for it.
    int early = 0;
    if ((int)blockIdx.x < tiles) {
      const int row = (int)blockIdx.x / tiles_n / tiles_m * (int)b_rows + (int)blockIdx.x % tiles_n * BN;
      for (int c = 0, tap = 0; early < SLOTS && early < steps; ++early) {
        expect_bytes(full + 8 * early, (BM + BN) * ROW);
        load_tensor(base + early * SLOT + BM * ROW, &b_map, full + 8 * early, c * (ROW / SIZE), tap, row);
        if (++c == chunks) c = 0, ++tap;
      }
    }
    after_previous();
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const int rest = tile / tiles_n, tile_n = tile % tiles_n, group = rest / tiles_m, row = group * (int)b_rows + tile_n * BN, first = rest % tiles_m * BM;
#if IMAGE
      const int column = first % (int)out_w, line = first / (int)out_w % (int)out_h, image = first / (int)out_w / (int)out_h;
      const int x = column * (int)stride_w - (int)pad_w, y = line * (int)stride_h - (int)pad_h;
      int kx = 0, ky = 0;
#endif
      int c = 0, tap = 0;
      for (int step = 0; step < steps; ++step) {
        const unsigned to = base + slot * SLOT, barrier = full + 8 * slot;
        if (early > 0) {
          --early;
        } else {
          await_phase(empty + 8 * slot, parity);
          expect_bytes(barrier, (BM + BN) * ROW);
          load_tensor(to + BM * ROW, &b_map, barrier, c * (ROW / SIZE), tap, row);
        }
#if IMAGE
        load_windows(to, &a_map, barrier, c * (ROW / SIZE), x, y, image, (u16)(kx * (int)dilation_w), (u16)(ky * (int)dilation_h));
#else
        load_tensor(to, &a_map, barrier, c * (ROW / SIZE), 0, first);
#endif
        if (++c == chunks) {
          c = 0, ++tap;
#if IMAGE
          if (++kx == (int)k_w) kx = 0, ++ky;
#endif
        }
        if (++slot == SLOTS) slot = 0, parity ^= 1;
      }
      const unsigned to = base + slot * SLOT, barrier = full + 8 * slot;
      await_phase(empty + 8 * slot, parity);
#if RESIDUAL || TABLES > 0
      const unsigned bytes = 4 * min(BN, n - tile_n * BN);
      const unsigned whole = LINEAR ? min(BM, m - first) * n * OUT_SIZE : BM * BN * OUT_SIZE;
      expect_bytes(barrier, RESIDUAL * whole + TABLES * bytes);
#pragma unroll
      for (int t = 0; t < TABLES; ++t) load_bytes(to + BM * BN * OUT_SIZE + t * BN * 4, columns + t * table + (i64)group * n + tile_n * BN, bytes, barrier);
#else
      arrive(barrier, 1);
#endif
#if RESIDUAL && LINEAR
      load_bytes(to, residual + (i64)first * n, whole, barrier);
#elif RESIDUAL
#pragma unroll
      for (int b = 0; b < BN * OUT_SIZE / OUT_ROW; ++b)
        load_tensor(to + b * BM * OUT_ROW, &residual_map, barrier, tile_n * BN + b * (OUT_ROW / OUT_SIZE), first, group);
#endif
      if (++slot == SLOTS) slot = 0, parity ^= 1;
    }
    return;
  }
  after_previous();
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, part_of = warp / 4;
  int slot = 0, stored = -1;  // the slot whose result may still be on its way
  unsigned parity = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int rest = tile / tiles_n, group = rest / tiles_m, tile_n = tile % tiles_n;
    SUM acc[BN / 8][4];
#pragma unroll
    for (int j = 0; j < BN / 8; ++j) acc[j][0] = acc[j][1] = acc[j][2] = acc[j][3] = 0;
    int last = 0;
    for (int step = 0; step < steps; ++step) {
      await_phase(full + 8 * slot, parity);
      const u64 a = descriptor(base + slot * SLOT + part_of * 64 * ROW), b = descriptor(base + slot * SLOT + BM * ROW);
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#if PROMOTE
      // Tensor cores keep some 14 bits of a sum: only a step's products are summed there.
      SUM part[BN / 8][4];
#pragma unroll
      for (int q = 0; q < ROW / 32; ++q) multiply(part, a + 2 * q, b + 2 * q, q > 0);
      asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
      for (int j = 0; j < BN / 8; ++j) {
        asm volatile("" : SUM_OPERANDS(part[j]) :: "memory");
#pragma unroll
        for (int e = 0; e < 4; ++e) acc[j][e] += part[j][e];
      }
#else
#pragma unroll
      for (int q = 0; q < ROW / 32; ++q) multiply(acc, a + 2 * q, b + 2 * q, 1);
      asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 1;" ::: "memory");
#endif
      if (step > 0 && lane == 0) arrive(empty + 8 * last, 1);
      if (step == 0 && stored >= 0) {
        if (threadIdx.x % 128 == 0) {
          asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
          arrive(empty + 8 * stored, 4);
        }
        __syncwarp();
      }
      last = slot;
      if (++slot == SLOTS) slot = 0, parity ^= 1;
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
    for (int j = 0; j < BN / 8; ++j) asm volatile("" : SUM_OPERANDS(acc[j]) :: "memory");
    if (lane == 0) arrive(empty + 8 * last, 1);
    await_phase(full + 8 * slot, parity);
    u8* const place = memory + slot * SLOT;
    const float* const column = (const float*)(place + BM * BN * OUT_SIZE) + lane % 4 * RUN;
#pragma unroll
    for (int g = 0; g < BN / (4 * RUN); ++g) {
      const int at = (g * 4 + lane % 4) * RUN * OUT_SIZE;
      RESULT result[2];
      RESIDUALS
#pragma unroll
      for (int part = 0; part < RUN / 4; ++part) {
        COLUMNS
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float z[4];
#pragma unroll
          for (int e = 0; e < 4; ++e) z[e] = WITH_COLUMN(acc[g * (RUN / 2) + part * 2 + e / 2][2 * h + e % 2], e);
          FINISH
        }
      }
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int v = 0; v < RUN * OUT_SIZE / 16; ++v)
          if (!LINEAR || at < n * OUT_SIZE) *(uint4*)(place + PLACE(h, v)) = ((const uint4*)&result[h])[v];
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    sync_group(1 + part_of);
    if (threadIdx.x % 128 == 0) {
#if LINEAR
      const int first = rest % tiles_m * BM + part_of * 64;
      if (first < m) store_bytes(out + (i64)first * n, base + slot * SLOT + part_of * 64 * n * OUT_SIZE, min(64, m - first) * n * OUT_SIZE);
#else
#pragma unroll
      for (int b = 0; b < BN * OUT_SIZE / OUT_ROW; ++b)
        store_tensor(&out_map, base + slot * SLOT + (b * BM + part_of * 64) * OUT_ROW, tile_n * BN + b * (OUT_ROW / OUT_SIZE), rest % tiles_m * BM + part_of * 64, group);
#endif
      asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    }
    __syncwarp();
    stored = slot;
    if (++slot == SLOTS) slot = 0, parity ^= 1;
  }
  if (threadIdx.x % 128 == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}
)cuda";

std::string Multiply(const TmaProduct& p, int bn) {
  const bool bytes = p.size() == 1;
  std::string list, operands;
  for (int i = 0; i < bn / 2; ++i) {
    list += fmt::format("{}%{}", i == 0 ? "" : ",", i);
    operands += fmt::format("{}\"+{}\"(acc[{}][{}])", i == 0 ? "" : ", ", p.codes() ? "r" : "f", i / 4, i % 4);
  }
  const std::string type = p.codes() ? "s32.u8.s8" : p.fp8() ? "f32.e4m3.e4m3" : p.type == DType::kFloat16 ? "f32.f16.f16" : "f32.bf16.bf16";
  // keep = 0, of 8-bit operands: what acc held is dropped.
  return fmt::format("__forceinline__ void multiply({0} (&acc)[BN / 8][4], u64 a, u64 b, int keep) {{\n  asm volatile(\"{{\\n.reg .pred p;\\nsetp.ne.b32 p, {9}, 0;\\n"
                     "wgmma.mma_async.sync.aligned.m64n{1}k{2}.{3} {{{4}}}, %{5}, %{6}, p{7};\\n}}\"\n               : {8} : \"l\"(a), \"l\"(b){10});\n}}\n",
                     p.codes() ? "int" : "float", bn, bytes ? 32 : 16, type, list, bn / 2, bn / 2 + 1, p.codes() ? "" : p.fp8() ? ", 1, 1" : ", 1, 1, 0, 0", operands,
                     bytes ? fmt::format("%{}", bn / 2 + 2) : "1", bytes ? ", \"r\"(keep)" : "");
}

// The pieces of the epilogue: four neighbouring sums at a time.
void DefineEpilogue(const TmaProduct& p, bool linear, std::string* s) {
  auto define = [&](const char* name, const std::string& value) { *s += fmt::format("#define {} {}\n", name, value); };
  const bool codes = p.out.quant.quantized(), folded = p.folded;
  define("SUM", p.codes() ? "int" : "float");
  define("SUM_OPERANDS(a)", p.codes() ? "\"+r\"(a[0]), \"+r\"(a[1]), \"+r\"(a[2]), \"+r\"(a[3])" : "\"+f\"(a[0]), \"+f\"(a[1]), \"+f\"(a[2]), \"+f\"(a[3])");
  auto columns = [](const char* type, const char* name, int table) {
    return fmt::format("const vec<{0}, 4> {1} = *(const vec<{0}, 4>*)(column + {2} * BN + g * 4 * RUN + 4 * part); ", type, name, table);
  };
  const bool bytes = p.size() == 1;
  if (bytes) {
    define("COLUMNS", columns("float", "scale", 0) + columns("float", "bias", 1) + (p.compensates ? columns("int", "zero", 2) : ""));
    define("WITH_COLUMN(sum, e)", p.compensates ? "fmaf((float)((sum) + zero.v[e]), scale.v[e], bias.v[e])" : "fmaf((float)(sum), scale.v[e], bias.v[e])");
  } else {
    define("COLUMNS", p.bias ? columns("float", "bias", 0) : "");
    define("WITH_COLUMN(sum, e)", p.bias ? "((sum) + bias.v[e])" : "(sum)");
  }
  std::string finish;
  auto each = [&](const std::string& code) { finish += "for (int e = 0; e < 4; ++e) { " + code + " } "; };
  // Where 16 bytes of a row lie: boxes of OUT_ROW bytes one behind the other, chunks permuted.
  const std::string row = "(warp * 16 + lane / 4 + 8 * (h))";
  define("PLACE(h, v)", linear ? "(" + row + " * n * OUT_SIZE + at + 16 * (v))" : "((at + 16 * (v)) / OUT_ROW * BM * OUT_ROW + " + row + " * OUT_ROW + "
                        "((((at + 16 * (v)) % OUT_ROW / 16) ^ (OUT_ROW == 128 ? (lane / 4) & 7 : (lane / 4) >> 1 & 3)) << 4))");
  if (p.residual) {
    define("RESIDUALS", fmt::format("vec<{}, RUN> others[2] = {{}}; for (int h = 0; h < 2; ++h) for (int v = 0; v < RUN * OUT_SIZE / 16; ++v) if (!LINEAR || at < n * OUT_SIZE) ((uint4*)&others[h])[v] = *(const uint4*)(place + PLACE(h, v));",
                                    p.residual->storage()));
    const double steps = folded ? static_cast<double>(p.residual->quant.scale) / static_cast<double>(p.out.quant.scale) : 1;
    // 2^23 + code as the bits of a float.
    each(folded && p.fp8() ? fmt::format("z[e] = fmaf(up(others[h].v[4 * part + e]), {}, z[e]);", Literal(steps, "float"))
         : folded ? fmt::format("z[e] = fmaf(__uint_as_float(0x4B000000u | others[h].v[4 * part + e]) - {}, {}, z[e]);", Literal(8388608.0 + p.residual->quant.zero, "float"),
                                Literal(steps, "float"))
                  : fmt::format("z[e] += {};", p.residual->Load("others[h].v[4 * part + e]")));
  } else {
    define("RESIDUALS", "");
  }
  if (!p.act.empty()) each(fmt::format("typedef float W; const W x = z[e]; z[e] = {};", p.act));
  if (codes) {
    define("RESULT", "vec<unsigned, 4>");
    const std::string inverse = Literal(1 / static_cast<double>(p.out.quant.scale), "float");
    if (p.fp8()) {
      *s += kPackE4m3;
      if (!folded) each(fmt::format("z[e] *= {};", inverse));
      if (p.least > -448) each(fmt::format("z[e] = z[e] < {0} ? {0} : z[e];", Literal(p.least, "float")));
      if (p.most < 448) each(fmt::format("z[e] = z[e] > {0} ? {0} : z[e];", Literal(p.most, "float")));
      finish += "result[h].v[part] = pack2(z[0], z[1]) | pack2(z[2], z[3]) << 16;";
    } else {
      *s += kPackCodes;
      finish += "int q[4]; ";
      each((folded ? "q[e] = __float2int_rn(z[e]);" : fmt::format("q[e] = z[e] != z[e] ? {1} : __float2int_rn(fminf(fmaxf(z[e] * {0}, -1024.0f), 1024.0f)) + {1};", inverse, p.out.quant.zero)) +
           (p.lo != 0 || p.hi != 255 ? fmt::format(" q[e] = max(min(q[e], {}), {});", p.hi, p.lo) : ""));
      finish += "result[h].v[part] = pack4(q[0], q[1], q[2], q[3]);";
    }
  } else {
    define("RESULT", fmt::format("vec<{}, RUN>", p.out.storage()));
    each(fmt::format("result[h].v[4 * part + e] = {};", p.out.Store("z[e]")));
  }
  define("FINISH", finish);
}

constexpr TmaShape kShapes[] = {{2, 256, 1}, {2, 192, 1}, {2, 128, 1}, {2, 128, 2}, {2, 96, 2}, {2, 64, 2}, {2, 64, 3}, {2, 32, 3}, {1, 256, 1}, {1, 192, 2}, {1, 128, 2}, {1, 128, 3}, {1, 96, 3}, {1, 64, 4}};

bool Possible(const TmaProduct& p, const Device& device) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  const auto element = static_cast<int64_t>(p.size());
  if (device.architecture() != 90 || p.m <= 0 || p.n <= 0 || p.channels <= 0 || p.m > kMost || p.n > kMost) return false;
  // The accelerator's rows are multiples of 16 bytes; a residual lies where the result is put.
  if (p.channels * element % 16 != 0 || p.n % p.run() != 0 || (p.residual && p.residual->size() != p.out.size())) return false;
  if (!p.image) return true;
  // Corners and offsets of windows have 8 bits each.
  auto fits = [](int64_t k, int64_t dilation, int64_t pad, int64_t in, int64_t out, int64_t stride) {
    const int64_t upper = UpperCorner(out, stride, pad, in);
    return pad <= 127 && (k - 1) * dilation <= 255 && upper >= -128 && upper <= 127 && stride <= 8;
  };
  return fits(p.k_h, p.dilation_h, p.pad_h, p.in_h, p.out_h, p.stride_h) && fits(p.k_w, p.dilation_w, p.pad_w, p.in_w, p.out_w, p.stride_w) &&
         p.batch * p.in_h * p.in_w < kMost;
}

bool Suits(const TmaProduct& p, const TmaShape& s) {
  // Sums of E4M3 take twice the registers; a multiprocessor's quarters have 16384 each, shared out by warp.
  const int warps = (s.resident * s.threads() / 32 + 3) / 4, registers = 16384 / (32 * warps);
  if (p.fp8() && s.bn + 36 > registers) return false;
  return s.bn % (4 * p.run()) == 0 && (s.bn <= 64 || s.bn / 2 < p.n) && s.Slots(p) >= 2;
}

// Cycles, roughly; only the order counts.
double Cost(const TmaProduct& p, const TmaShape& s, int processors) {
  const int64_t tiles = CeilDiv(p.m, s.bm()) * CeilDiv(p.n, s.bn) * p.groups, blocks = int64_t{processors} * s.resident;
  const double steps = static_cast<double>(p.k_h * p.k_w * CeilDiv(p.channels * static_cast<int64_t>(p.size()), p.row_bytes()));
  const double bytes = static_cast<double>(s.bm() + s.bn) * p.row_bytes() / 36;
  const double multiply = steps * std::max(static_cast<double>(s.bm()) * s.bn * p.row_bytes() / 128 / 64 * 1.1, bytes);
  const double finish = static_cast<double>(s.bm()) * s.bn * (p.residual ? 0.14 : 0.08) + 500;
  const auto rounds = static_cast<double>(CeilDiv(tiles, blocks));
  // With several blocks on a multiprocessor, one finishes while another multiplies.
  return rounds * (s.resident > 1 ? s.resident * std::max(multiply, finish) : multiply + finish) + multiply;
}

}  // namespace

int TmaProduct::row_bytes() const {
  const int64_t bytes = channels * static_cast<int64_t>(size());
  return bytes <= 64 || (bytes > 128 && bytes <= 192) ? 64 : 128;
}

int TmaProduct::out_row_bytes(int bn) const { return bn * static_cast<int>(out.size()) % 128 == 0 ? 128 : 64; }

int TmaShape::SlotBytes(const TmaProduct& p) const {
  const int result = bm() * bn * static_cast<int>(p.out.size()) + p.tables() * bn * 4;
  return (std::max((bm() + bn) * p.row_bytes(), result) + 1023) / 1024 * 1024;
}

int TmaShape::Slots(const TmaProduct& p) const {
  constexpr int kShared = 227 << 10, kOfABlock = 1024;
  return std::min(8, (kShared / resident - kOfABlock - kAlignment) / (SlotBytes(p) + kBarriers));
}

size_t TmaShape::SharedBytes(const TmaProduct& p) const { return static_cast<size_t>(kAlignment + Slots(p) * (SlotBytes(p) + kBarriers)); }

std::string TmaShape::Name() const { return fmt::format("tma{}x{}{}", bm(), bn, resident > 1 ? fmt::format("r{}", resident) : ""); }

std::vector<std::string> TmaNames() {
  std::vector<std::string> names;
  for (const TmaShape& s : kShapes) names.push_back(s.Name());
  return names;
}

std::vector<TmaShape> TmaShapes(const TmaProduct& p, const Device& device) {
  std::vector<TmaShape> shapes;
  // Fewer rows: other kernels share out the terms of a tile.
  if (!Possible(p, device) || p.m * p.groups * p.n < int64_t{64} * 64 * device.processors() / 2) return shapes;
  for (const TmaShape& s : kShapes)
    if (Suits(p, s)) shapes.push_back(s);
  std::stable_sort(shapes.begin(), shapes.end(), [&](const TmaShape& a, const TmaShape& b) { return Cost(p, a, device.processors()) < Cost(p, b, device.processors()); });
  constexpr size_t kMost = 6;
  if (shapes.size() > kMost) shapes.resize(kMost);
  return shapes;
}

std::optional<TmaShape> FindTmaShape(const TmaProduct& p, const Device& device, const std::string& name) {
  for (const TmaShape& s : kShapes)
    if (s.Name() == name && Possible(p, device) && Suits(p, s)) return s;
  return std::nullopt;
}

Generated TmaProductCode(const TmaProduct& p, const TmaShape& s, int processors) {
  const int row = p.row_bytes(), out_row = p.out_row_bytes(s.bn);
  const bool linear = p.n <= s.bn && p.groups == 1;
  Generated g;
  const std::pair<const char*, int64_t> numbers[] = {{"BM", s.bm()}, {"BN", s.bn}, {"ROW", row}, {"SIZE", static_cast<int64_t>(p.size())}, {"RUN", p.run()}, {"SLOTS", s.Slots(p)}, {"SLOT", s.SlotBytes(p)},
                                                     {"WARP_GROUPS", s.warp_groups}, {"IMAGE", p.image}, {"RESIDUAL", p.residual.has_value()}, {"TABLES", p.tables()}, {"LINEAR", linear}, {"PROMOTE", p.fp8()}, {"FLOATS", !p.codes()}, {"OUT_SIZE", static_cast<int64_t>(p.out.size())}, {"OUT_ROW", out_row}};
  for (const auto& [name, value] : numbers) g.source += fmt::format("#define {} {}\n", name, value);
  g.source += kHead;
  g.source += Multiply(p, s.bn);
  DefineEpilogue(p, linear, &g.source);
  const bool columns = p.tables() > 0;
  g.source += fmt::format("extern \"C\" __global__ void __launch_bounds__({}, {}) k(const u8* x, const u8* w, {}{}{}* out, i64 m_, i64 n_, i64 taps, i64 chunks_, i64 groups_, i64 b_rows, i64 table{}, "
                          "const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map, const __grid_constant__ TensorMap out_map{}) {{\n",
                          s.threads(), s.resident, columns ? "const float* columns, " : "", p.residual ? fmt::format("const {}* residual, ", p.residual->storage()) : "", p.out.storage(),
                          p.image ? ", i64 out_h, i64 out_w, i64 k_w, i64 stride_h, i64 stride_w, i64 dilation_h, i64 dilation_w, i64 pad_h, i64 pad_w" : "",
                          p.residual ? ", const __grid_constant__ TensorMap residual_map" : "");
  g.source += kBody;
  g.inputs = static_cast<size_t>(2 + columns + p.residual.has_value());
  g.bound.push_back({1, p.weights, true});
  if (columns) g.bound.push_back({2, p.columns, false});
  const int64_t run_bytes = p.channels * static_cast<int64_t>(p.size()), chunks = CeilDiv(run_bytes, row), taps = p.k_h * p.k_w;
  g.sizes = {p.m, p.n, taps, chunks, p.groups, p.b_rows, p.table};
  if (p.image)
    for (int64_t v : {p.out_h, p.out_w, p.k_w, p.stride_h, p.stride_w, p.dilation_h, p.dilation_w, p.pad_h, p.pad_w}) g.sizes.push_back(v);
  auto u64 = [](int64_t v) { return static_cast<uint64_t>(v); };
  auto u32 = [](int64_t v) { return static_cast<uint32_t>(v); };
  const auto chunk = u32(row / static_cast<int64_t>(p.size()));
  TensorMap a, b;
  a.operand = 0, b.operand = 1;
  a.type = b.type = p.type;
  a.row_bytes = b.row_bytes = row;
  if (p.image) {
    a.dims = {u64(p.channels), u64(p.in_w), u64(p.in_h), u64(p.batch)};
    a.strides = {u64(run_bytes), u64(run_bytes * p.in_w), u64(run_bytes * p.in_w * p.in_h)};
    a.box = {chunk, u32(s.bm())};
    a.steps = {1, u32(p.stride_w), u32(p.stride_h), 1};
    a.windows = true;
    a.lower = {static_cast<int>(-p.pad_w), static_cast<int>(-p.pad_h)};
    a.upper = {static_cast<int>(UpperCorner(p.out_w, p.stride_w, p.pad_w, p.in_w)), static_cast<int>(UpperCorner(p.out_h, p.stride_h, p.pad_h, p.in_h))};
  } else {
    a.dims = {u64(p.channels), 1, u64(p.m)};
    a.strides = {u64(run_bytes), u64(run_bytes)};
    a.box = {chunk, 1, u32(s.bm())};
    a.steps = {1, 1, 1};
  }
  b.dims = {u64(p.channels), u64(taps), u64(p.b_rows * p.groups)};
  b.strides = {u64(run_bytes), u64(p.b_pitch)};
  b.box = {chunk, 1, u32(s.bn)};
  b.steps = {1, 1, 1};
  TensorMap out;
  out.operand = g.inputs;
  out.type = p.out.dtype;
  out.row_bytes = out_row;
  const auto out_size = static_cast<int64_t>(p.out.size());
  out.dims = {u64(p.n), u64(p.m), u64(p.groups)};
  out.strides = {u64(p.n * out_size), u64(p.m * p.n * out_size)};
  out.box = {u32(out_row / out_size), 64, 1};
  out.steps = {1, 1, 1};
  g.maps = {std::move(a), std::move(b), out};
  if (p.residual) {
    out.operand = g.inputs - 1;
    out.type = p.residual->dtype;
    out.box[1] = u32(s.bm());
    g.maps.push_back(std::move(out));
  }
  g.shared = s.SharedBytes(p);
  g.waits = true;
  g.block[0] = static_cast<unsigned>(s.threads());
  const int64_t tiles = CeilDiv(p.m, s.bm()) * CeilDiv(p.n, s.bn) * p.groups, at_once = int64_t{processors} * s.resident;
  g.grid[0] = static_cast<unsigned>(CeilDiv(tiles, CeilDiv(tiles, at_once)));
  return g;
}

}  // namespace tfengine::cuda
