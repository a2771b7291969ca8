// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tma_source.h"

#include <limits>

#include "backends/cuda/group_product.h"

namespace tfengine::cuda {
namespace {

constexpr char kInstructions[] = R"cuda(
struct alignas(64) TensorMap { u64 words[16]; };
__forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__forceinline__ void init_barrier(unsigned at, unsigned count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory"); }
__forceinline__ void expect_bytes(unsigned at, unsigned bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory"); }
__forceinline__ void arrive(unsigned at, unsigned count) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(count) : "memory"); }
// Returns when the phase of this parity is over.
__forceinline__ void await_phase(unsigned at, unsigned parity) {
  asm volatile("{\n.reg .pred p;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra.uni over;\nbra.uni again;\nover:\n}" ::"r"(at), "r"(parity) : "memory");
}
__forceinline__ bool is_phase_over(unsigned at, unsigned parity) {
  int over;
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.s32 %0, 1, 0, p;\n}" : "=r"(over) : "r"(at), "r"(parity) : "memory");
  return over;
}
__forceinline__ void load_tensor(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z) : "memory");
}
__forceinline__ void load_box(unsigned to, const TensorMap* map, unsigned barrier, int c, int x, int y, int image) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(c), "r"(x), "r"(y), "r"(image) : "memory");
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
__forceinline__ void store_box(const TensorMap* map, unsigned from, int c, int x, int y, int image) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map), "r"(from), "r"(c), "r"(x), "r"(y), "r"(image) : "memory");
}
__forceinline__ void store_bytes(void* to, unsigned from, unsigned bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes) : "memory");
}
__forceinline__ void sync_group(unsigned id) { asm volatile("bar.sync %0, 128;" ::"r"(id) : "memory"); }
// Rows of `row` bytes, permuted in 16 byte chunks as the accelerator writes them; groups of 8 rows lie one behind the other.
__forceinline__ u64 descriptor_of_rows(unsigned address, int row) { return ((u64)(row == 128 ? 1 : 2) << 62) | ((u64)(8 * row / 16) << 32) | ((u64)1 << 16) | ((address & 0x3ffff) >> 4); }
__forceinline__ u64 descriptor(unsigned address) { return descriptor_of_rows(address, ROW); }
)cuda";

// The operands of p's instruction (GroupProduct).
const char* GroupType(const TmaProduct& p) { return p.codes() ? "u8" : p.fp8() ? "e4m3" : p.type == DType::kFloat16 ? "f16" : "bf16"; }

// Four neighbouring sums at a time.
std::string Epilogue(const TmaProduct& p) {
  std::string s;
  auto define = [&](const char* name, const std::string& value) { s += fmt::format("#undef {0}\n#define {1} {2}\n", std::string_view(name).substr(0, std::string_view(name).find('(')), name, value); };
  const bool codes = p.out.quant.quantized(), folded = p.folded;
  define("SUM", p.codes() ? "int" : "float");
  define("SUM_OPERANDS(a)", p.codes() ? "\"+r\"(a[0]), \"+r\"(a[1]), \"+r\"(a[2]), \"+r\"(a[3])" : "\"+f\"(a[0]), \"+f\"(a[1]), \"+f\"(a[2]), \"+f\"(a[3])");
  auto columns = [](const char* type, const char* name, int table) {
    return fmt::format("const vec<{0}, 4> {1} = *(const vec<{0}, 4>*)(column + {2} * COLUMN_TABLE + g * 4 * RUN + 4 * part); ", type, name, table);
  };
  const bool bytes = p.size() == 1;
  if (bytes) {
    define("COLUMNS", columns("float", "scale", 0) + columns("float", "bias", 1) + (p.compensates ? columns("int", "zero", 2) : ""));
    define("WITH_COLUMN(sum, e)", p.compensates ? "fmaf((float)((sum) + zero.v[e]), scale.v[e], bias.v[e])" : "fmaf((float)(sum), scale.v[e], bias.v[e])");
  } else {
    define("COLUMNS", p.bias ? columns("float", "bias", 0) : "");
    define("WITH_COLUMN(sum, e)", p.bias ? "((sum) + bias.v[e])" : "(sum)");
  }
  std::string finish;  // of z, first its value
  auto each = [&](const std::string& code) { finish += "for (int e = 0; e < 4; ++e) { " + code + " } "; };
  if (p.residual) {
    define("RESIDUALS", fmt::format("vec<{}, RUN> others[2] = {{}}; for (int h = 0; h < 2; ++h) for (int v = 0; v < RUN * OUT_SIZE / 16; ++v) if (INSIDE(h)) ((uint4*)&others[h])[v] = *(const uint4*)(RESIDUAL_AT(h, v));",
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
  define("VALUE", finish);
  finish.clear();
  if (codes) {
    define("RESULT", "vec<unsigned, 4>");
    const std::string inverse = Literal(1 / static_cast<double>(p.out.quant.scale), "float");
    if (p.fp8()) {
      if (!folded) each(fmt::format("z[e] *= {};", inverse));
      if (p.least > -448) each(fmt::format("z[e] = z[e] < {0} ? {0} : z[e];", Literal(p.least, "float")));
      if (p.most < 448) each(fmt::format("z[e] = z[e] > {0} ? {0} : z[e];", Literal(p.most, "float")));
      finish += "result[h].v[part] = pack2(z[0], z[1]) | pack2(z[2], z[3]) << 16;";
    } else {
      finish += "int q[4]; ";
      each((folded ? "q[e] = __float2int_rn(z[e]);" : fmt::format("q[e] = z[e] != z[e] ? {1} : __float2int_rn(fminf(fmaxf(z[e] * {0}, -1024.0f), 1024.0f)) + {1};", inverse, p.out.quant.zero)) +
           (p.lo != 0 || p.hi != 255 ? fmt::format(" q[e] = max(min(q[e], {}), {});", p.hi, p.lo) : ""));
      finish += "result[h].v[part] = pack4(q[0], q[1], q[2], q[3]);";
    }
  } else {
    define("RESULT", fmt::format("vec<{}, RUN>", p.out.storage()));
    each(fmt::format("result[h].v[4 * part + e] = {};", p.out.Store("z[e]")));
  }
  define("PUT", finish);
  if (!p.norm) return s;
  define("NORM_COLUMNS", (p.norm->scale ? columns("float", "scale", p.bias) : "") + (p.norm->offset ? columns("float", "offset", p.bias + p.norm->scale) : ""));
  define("EPSILON", Literal(p.norm->epsilon, "float"));
  define("NORMALISED(z, e)", fmt::format("(((z) - mean[h]) * inverse[h]{}{})", p.norm->scale ? " * scale.v[e]" : "", p.norm->offset ? " + offset.v[e]" : ""));
  return s;
}

}  // namespace

namespace {

// A loop over a thread's runs of columns: `head` of each, `columns` of every four, `each` of a row's four, `tail`.
std::string EachRun(const std::string& head, const std::string& columns, const std::string& each, const std::string& tail) {
  return R"cuda(
#pragma unroll
    for (int g = 0; g < BN / (4 * RUN); ++g) {
      const int at = (g * 4 + lane % 4) * RUN * OUT_SIZE;
)cuda" + head + R"cuda(
#pragma unroll
      for (int part = 0; part < RUN / 4; ++part) {
)cuda" + columns + R"cuda(
#pragma unroll
        for (int h = 0; h < 2; ++h) {
)cuda" + each + R"cuda(
        }
      }
)cuda" + tail + "    }\n";
}

// `z` of four sums.
std::string FourOf(const std::string& sum) { return "float z[4];\n#pragma unroll\nfor (int e = 0; e < 4; ++e) z[e] = " + sum + ";\n"; }

constexpr char kSumAt[] = "#define SUM_AT(g, part, e) acc[(g) * (RUN / 2) + (part) * 2 + (e) / 2][2 * h + (e) % 2]\n";
constexpr char kStore[] = R"cuda(
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int v = 0; v < RUN * OUT_SIZE / 16; ++v)
          if (INSIDE(h)) *(uint4*)(RESULT_AT(h, v)) = ((const uint4*)&result[h])[v];
)cuda";

constexpr char kKeep[] = R"cuda(
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            SUM_AT(g, part, e) = z[e];
            if (COLUMN_INSIDE(g)) sums[h] += z[e];
          }
)cuda";
constexpr char kNormalise[] = R"cuda(
    // The four threads of a row, then the blocks: means, and squares of what is left (Chan et al., Updating formulae, 1979).
    const float columns_here = min(BN, n - tile_n * BN);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float own = across_quad(sums[h]) / columns_here;
#pragma unroll
      for (int g = 0; g < BN / (4 * RUN); ++g)
        if (COLUMN_INSIDE(g)) {
#pragma unroll
          for (int j = 0; j < RUN; ++j) {
            const float d = SUM_AT(g, 0, j) - own;
            squares[h] = fmaf(d, d, squares[h]);
          }
        }
      const float rest_of_row = across_quad(squares[h]);
      const unsigned row = part_of * 64 + warp % 4 * 16 + lane / 4 + 8 * h;
      for (unsigned rank = lane % 4; rank < CLUSTER; rank += 4)
        send_pair(of_block(rows_at + ((turn * CLUSTER + tile_n) * BM + row) * 8, rank), own, rest_of_row, of_block(rows_known + 8 * turn, rank));
    }
    if (threadIdx.x == 0) expect_bytes(rows_known + 8 * turn, CLUSTER * BM * 8);
    await_phase(rows_known + 8 * turn, turn_parity);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float2* const rows = (const float2*)(memory + (rows_at - base)) + turn * CLUSTER * BM + part_of * 64 + warp % 4 * 16 + lane / 4 + 8 * h;
#pragma unroll
      for (int b = 0; b < CLUSTER; ++b) mean[h] += rows[b * BM].x * min(BN, n - b * BN);
      mean[h] /= n;
      float square = 0;
#pragma unroll
      for (int b = 0; b < CLUSTER; ++b) {
        const float d = rows[b * BM].x - mean[h];
        square += rows[b * BM].y + d * d * min(BN, n - b * BN);
      }
      inverse[h] = rsqrt(square / n + EPSILON);
    }
    turn ^= 1, turn_parity ^= turn == 0;
)cuda";

constexpr char kShare[] = R"cuda(
// A thread's sums belong to the block whose half of the rows' pairs (and of the columns, of four blocks) they are in.
#define OWNER(g, h) ((h) + (SPLIT == 4 ? 2 * ((g) / (BN / 64)) : 0))
#define SHARE (BN / 32 / (SPLIT / 2))  // runs of columns of a thread that a block owns
#define PLACE_OF(from, g, half) ((((from) * SHARE + (g) % SHARE) * 2 + (half)) * 32 * WARPS + threadIdx.x) * 16
    sync_cluster();  // everybody's slots have been read: parts go there
    if (threadIdx.x == 0) expect_bytes(parts_known, (SPLIT - 1) * SHARE * 2 * 32 * WARPS * 16);
#pragma unroll
    for (int g = 0; g < BN / 32; ++g)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        if (OWNER(g, h) != rank) {
          const int owner = OWNER(g, h);
          const unsigned barrier = of_block(parts_known, owner), to = of_block(base + PLACE_OF(rank - (rank > owner), g, 0), owner);
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int j = g * 4 + half * 2;
            send_four(to + half * 32 * WARPS * 16, __float_as_uint(acc[j][2 * h]), __float_as_uint(acc[j][2 * h + 1]), __float_as_uint(acc[j + 1][2 * h]), __float_as_uint(acc[j + 1][2 * h + 1]), barrier);
          }
        }
    await_phase(parts_known, 0);
    const float* const column = COLUMNS_AT;
)cuda";
constexpr char kGather[] = R"cuda(
          if (h != (rank & 1)) continue;
          SUM sums[4] = {SUM_AT(g, part, 0), SUM_AT(g, part, 1), SUM_AT(g, part, 2), SUM_AT(g, part, 3)};
#pragma unroll
          for (int from = 0; from < SPLIT - 1; ++from) {
            const vec<SUM, 4> other = *(const vec<SUM, 4>*)(memory + PLACE_OF(from, g, part));
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[e] += other.v[e];
          }
)cuda";

constexpr char kResults[] = "RESULT result[2];\nRESIDUALS\n";

}  // namespace

std::string TmaFinish() { return kSumAt + EachRun(kResults, "COLUMNS", FourOf("WITH_COLUMN(SUM_AT(g, part, e), e)") + "VALUE PUT", kStore); }

std::string TmaNormFinish() {
  return std::string(kSumAt) + "float sums[2] = {0, 0}, squares[2] = {0, 0}, mean[2] = {0, 0}, inverse[2] = {0, 0};\n" +
         EachRun("RESIDUALS", "COLUMNS", FourOf("WITH_COLUMN(SUM_AT(g, part, e), e)") + "VALUE" + kKeep, "") + kNormalise +
         EachRun("RESULT result[2];", "NORM_COLUMNS", FourOf("NORMALISED(SUM_AT(g, part, e), e)") + "PUT", kStore);
}

std::string TmaSplitFinish() {
  return std::string(kSumAt) + kShare +
         EachRun(std::string("if ((SPLIT == 4 && g / (BN / 64) != rank / 2) || tile_n * BN * OUT_SIZE + at >= n * OUT_SIZE) continue;\n") + kResults, "COLUMNS",
                 kGather + FourOf("WITH_COLUMN(sums[e], e)") + "VALUE PUT", kStore);
}

std::string TmaKeep() {
  return kSumAt + EachRun("RESULT result[2];\n", "COLUMNS", FourOf("WITH_COLUMN(SUM_AT(g, part, e), e)") + "VALUE PUT", R"cuda(
#pragma unroll
      for (int word = 0; word < 4; ++word)
#pragma unroll
        for (int h = 0; h < 2; ++h) kept[b][2 * g + word / 2][word % 2 * 2 + h] = ((const unsigned*)&result[h])[word];
)cuda");
}

int64_t ChannelInRegisters(int64_t at, size_t size) {
  const auto bytes = static_cast<int64_t>(size);
  const int64_t byte = at * bytes, step = byte / 32, word = step % 2 * 2 + byte % 32 / 16, lane = byte % 16 / 4;
  return (step / 2 * 64 + lane * 16 + word * 4 + byte % 4) / bytes;
}

const char kClusterFunctions[] = R"cuda(
// Wider scopes of release and acquire would cost a fence of all memory each (1 us): what blocks tell each other here goes through
// barriers in shared memory that count bytes.
__forceinline__ void sync_cluster() { asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory"); }
// A place in the memory of another block of the cluster.
__forceinline__ unsigned of_block(unsigned address, unsigned rank) {
  unsigned remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  return remote;
}
__forceinline__ void arrive_at_block(unsigned remote, unsigned count) { asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0], %1;" ::"r"(remote), "r"(count) : "memory"); }
// To the same place of both blocks of a cluster.
__forceinline__ void load_tensor_for_both(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "h"((u16)3) : "memory");
}
__forceinline__ void send_pair(unsigned to, float a, float b, unsigned barrier) {
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(to), "f"(a), "f"(b), "r"(barrier) : "memory");
}
__forceinline__ void send_four(unsigned to, unsigned a, unsigned b, unsigned c, unsigned d, unsigned barrier) {
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(to), "r"(a), "r"(b), "r"(c), "r"(d), "r"(barrier) : "memory");
}
__forceinline__ float across_quad(float a) {
  a += __shfl_xor_sync(0xffffffffu, a, 1);
  return a + __shfl_xor_sync(0xffffffffu, a, 2);
}
)cuda";

namespace {

std::string Sizes(const TmaProduct& p, int bn) {
  std::string s;
  for (const auto& [name, value] : {std::pair<const char*, int64_t>{"BN", bn}, {"RUN", p.run()}, {"OUT_SIZE", static_cast<int64_t>(p.out.size())}}) s += fmt::format("#undef {0}\n#define {0} {1}\n", name, value);
  return s;
}

const char* Pack(const TmaProduct& p) { return !p.out.quant.quantized() ? "" : p.fp8() ? kPackE4m3 : kPackCodes; }

}  // namespace

std::string TmaFunctions(const TmaProduct& p, int bn) {
  const std::pair<const char*, int64_t> numbers[] = {{"ROW", p.row_bytes()}, {"SIZE", static_cast<int64_t>(p.size())}, {"PROMOTE", p.fp8()}, {"FLOATS", !p.codes()}};
  std::string s = Sizes(p, bn);
  for (const auto& [name, value] : numbers) s += fmt::format("#define {} {}\n", name, value);
  return s + kInstructions + GroupProduct("multiply", bn, GroupType(p), false, false) + Pack(p) + Epilogue(p);
}

std::string TmaThenFunctions(const TmaProduct& p, int bn) {
  const TmaProduct& then = *p.then;
  return GroupProduct("multiply_then", bn, GroupType(then), true, false) + (*Pack(p) == 0 ? Pack(then) : "");
}

std::string TmaThenEpilogue(const TmaProduct& p, int bn) { return Sizes(*p.then, bn) + Epilogue(*p.then); }

std::string TmaParameters(const TmaProduct& p) {
  const TmaProduct& last = p.then ? *p.then : p;
  return fmt::format("const u8* x, const u8* w, {}{}{}{}{}* out", p.tables() > 0 ? "const float* columns, " : "", p.then ? "const u8* then_w, " : "",
                     p.then && p.then->tables() > 0 ? "const float* then_columns, " : "", last.residual ? fmt::format("const {}* residual, ", last.residual->storage()) : "", last.out.storage());
}

size_t ThenWeights(const TmaProduct& p) { return p.tables() > 0 ? 3 : 2; }

void BindTmaOperands(const TmaProduct& p, Generated* g) {
  g->inputs = 1;
  auto bind = [&](const TmaProduct& product) {
    g->bound.push_back({g->inputs++, product.weights, true});
    if (product.tables() > 0) g->bound.push_back({g->inputs++, product.columns, false});
  };
  bind(p);
  if (p.then) bind(*p.then);
  g->inputs += (p.then ? *p.then : p).residual.has_value();
}

bool TmaOperands(const TmaProduct& p, const Device& device) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  if (device.architecture() != 90 || p.m <= 0 || p.n <= 0 || p.channels <= 0 || p.m > kMost || p.n > kMost) return false;
  if (p.image && p.batch * p.in_h * p.in_w >= kMost) return false;
  // The accelerator's rows are multiples of 16 bytes; a residual is read as results are written.
  return p.channels * static_cast<int64_t>(p.size()) % 16 == 0 && p.n % p.run() == 0 && (!p.residual || p.residual->size() == p.out.size());
}

TensorMap TmaWeightsMap(const TmaProduct& p, int bn, size_t operand) {
  const auto size = static_cast<int64_t>(p.size());
  auto u64 = [](int64_t v) { return static_cast<uint64_t>(v); };
  TensorMap b;
  b.operand = operand;
  b.type = p.type;
  b.row_bytes = p.row_bytes();
  b.dims = {u64(p.channels), u64(p.k_h * p.k_w), u64(p.b_rows * p.groups)};
  b.strides = {u64(p.channels * size), u64(p.b_pitch)};
  b.box = {static_cast<uint32_t>(p.row_bytes() / size), 1, static_cast<uint32_t>(bn)};
  b.steps = {1, 1, 1};
  return b;
}

}  // namespace tfengine::cuda
