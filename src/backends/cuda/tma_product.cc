// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tma_product.h"

#include <algorithm>

#include "backends/cuda/tma_source.h"

namespace tfengine::cuda {
namespace {

// Of shared memory: what its start is rounded up by, and what a slot has beside its bytes.
constexpr int kAlignment = 1024, kBarriers = 16;

// Where the last window of a row or column starts, counted from the image's last pixel.
int64_t UpperCorner(int64_t out, int64_t stride, int64_t pad, int64_t in) { return (out - 1) * stride - pad - (in - 1); }

// A slot of the ring holds what one step multiplies; or the residual of a tile, in whose place the result is put, and behind it
// what the columns need. LINEAR: a tile has whole rows of the result, which lie in the slot as they do in memory.
constexpr char kBody[] = R"cuda(
#define TURNED(number) (backwards ? tiles - 1 - (number) : (number))
  extern __shared__ u8 raw_memory[];
  u8* memory = raw_memory + ((1024 - (shared_address(raw_memory) & 1023)) & 1023);
  const unsigned base = shared_address(memory), full = base + SLOTS * SLOT, empty = full + 8 * SLOTS;
  const int m = (int)m_, n = (int)n_, chunks = (int)chunks_, all_steps = (int)taps * chunks, tiles_n = NORM ? 1 : (n + BN - 1) / BN, tiles_m = (m + BM * (1 + PAIR) - 1) / (BM * (1 + PAIR)), tiles = tiles_n * tiles_m * (int)groups_;
#if SPLIT > 1
  const unsigned parts_known = empty + 8 * SLOTS;
  const int rank = blockIdx.z, first_step = rank * ((all_steps + SPLIT - 1) / SPLIT), steps = min((all_steps + SPLIT - 1) / SPLIT, all_steps - first_step);
#else
  constexpr int first_step = 0;
  const int steps = all_steps;
#endif
#if NORM
  const unsigned rows_known = empty + 8 * SLOTS, rows_at = rows_known + 16;
#endif
  if (threadIdx.x == 0) {
#pragma unroll
    for (int s = 0; s < SLOTS; ++s) init_barrier(full + 8 * s, 1), init_barrier(empty + 8 * s, WARPS * (1 + PAIR));
#if SPLIT > 1
    init_barrier(parts_known, 1);
#endif
#if NORM
    init_barrier(rows_known, 1), init_barrier(rows_known + 8, 1);
#endif
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
#if NORM || PAIR
  sync_cluster();
#else
  __syncthreads();
#endif
  if (threadIdx.x >= 32 * WARPS) {
    if (threadIdx.x > 32 * WARPS) return;
    int slot = 0;
    unsigned parity = 1;
    // Weights do not depend on the kernel in front: they are asked for before waiting for it.
    int early = 0;
    if ((int)blockIdx.x < tiles) {
      const int tile = TURNED((int)blockIdx.x), row = tile / tiles_n / tiles_m * (int)b_rows + TILE_N(tile) * BN;
      for (int c = first_step, tap = 0; early < SLOTS && early < steps; ++early) {
        expect_bytes(full + 8 * early, (BM + BN) * ROW);
        LOAD_B(base + early * SLOT + BM * ROW, full + 8 * early, c * (ROW / SIZE), tap, row);
        if (++c == chunks) c = 0, ++tap;
      }
    }
    after_previous();
    for (int number = blockIdx.x; number < tiles; number += gridDim.x) {
      const int tile = TURNED(number), rest = tile / tiles_n, tile_n = TILE_N(tile), group = rest / tiles_m, row = group * (int)b_rows + tile_n * BN, first = FIRST_ROW(rest);
#if IMAGE
      const int column = first % (int)out_w, line = first / (int)out_w % (int)out_h, image = first / (int)out_w / (int)out_h;
      const int x = column * (int)stride_w - (int)pad_w, y = line * (int)stride_h - (int)pad_h;
      int kx = 0, ky = 0;
#endif
      int c = first_step, tap = 0;
      for (int step = 0; step < steps; ++step) {
        const unsigned to = base + slot * SLOT, barrier = full + 8 * slot;
        if (early > 0) {
          --early;
        } else {
          await_phase(empty + 8 * slot, parity);
          expect_bytes(barrier, (BM + BN) * ROW);
          LOAD_B(to + BM * ROW, barrier, c * (ROW / SIZE), tap, row);
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
#if SPLIT == 1
      const unsigned to = base + slot * SLOT, barrier = full + 8 * slot;
      await_phase(empty + 8 * slot, parity);
#if RESIDUAL || TABLES > 0
      const unsigned bytes = 4 * min(BN, n - tile_n * BN);
      const unsigned whole = LINEAR ? min(BM, m - first) * n * OUT_SIZE : BM * BN * OUT_SIZE;
      expect_bytes(barrier, RESIDUAL * whole + TABLES * bytes);
#if TABLES > 0
#pragma unroll
      for (int t = 0; t < TABLES; ++t) load_bytes(to + BM * BN * OUT_SIZE + t * BN * 4, columns + t * table + (i64)group * n + tile_n * BN, bytes, barrier);
#endif
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
#endif
    }
    return;
  }
  after_previous();
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, part_of = warp / 4;
  int slot = 0, stored = -1;  // the slot whose result may still be on its way
  unsigned parity = 0;
#if NORM
  unsigned turn = 0, turn_parity = 0;
#endif
  for (int number = blockIdx.x; number < tiles; number += gridDim.x) {
    const int tile = TURNED(number), rest = tile / tiles_n, group = rest / tiles_m, tile_n = TILE_N(tile);
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
      if (step > 0 && lane == 0) RELEASE(empty + 8 * last, 1);
      if (step == 0 && stored >= 0) {
        if (threadIdx.x % 128 == 0) {
          asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
          RELEASE(empty + 8 * stored, 4);
        }
        __syncwarp();
      }
      last = slot;
      if (++slot == SLOTS) slot = 0, parity ^= 1;
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
    for (int j = 0; j < BN / 8; ++j) asm volatile("" : SUM_OPERANDS(acc[j]) :: "memory");
#if SPLIT == 1
    if (lane == 0) RELEASE(empty + 8 * last, 1);
    await_phase(full + 8 * slot, parity);
    u8* const place = memory + slot * SLOT;
    const float* const column = (const float*)(place + BM * BN * OUT_SIZE) + lane % 4 * RUN;
#endif
)cuda";

constexpr char kEnd[] = R"cuda(
#if SPLIT == 1
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    sync_group(1 + part_of);
    if (threadIdx.x % 128 == 0) {
#if LINEAR
      const int first = FIRST_ROW(rest) + part_of * 64;
      if (first < m) store_bytes(out + (i64)first * n, base + slot * SLOT + part_of * 64 * n * OUT_SIZE, min(64, m - first) * n * OUT_SIZE);
#else
#pragma unroll
      for (int b = 0; b < BN * OUT_SIZE / OUT_ROW; ++b)
        store_tensor(&out_map, base + slot * SLOT + (b * BM + part_of * 64) * OUT_ROW, tile_n * BN + b * (OUT_ROW / OUT_SIZE), FIRST_ROW(rest) + part_of * 64, group);
#endif
      asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    }
    __syncwarp();
    stored = slot;
    if (++slot == SLOTS) slot = 0, parity ^= 1;
#endif
  }
  if (threadIdx.x % 128 == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
#if PAIR
  // Nobody leaves while the other block may still write to its memory.
  __syncwarp();
  sync_cluster();
#endif
}
)cuda";

constexpr TmaShape kShapes[] = {{2, 256, 1}, {2, 192, 1}, {2, 128, 1}, {2, 128, 2}, {2, 96, 2}, {2, 64, 2}, {2, 64, 3}, {2, 32, 3}, {1, 256, 1}, {1, 192, 2}, {1, 128, 2}, {1, 128, 3}, {1, 96, 3}, {1, 64, 4},
                               {2, 256, 1, true}, {2, 192, 1, true}, {2, 128, 1, true}, {2, 128, 2, true}, {2, 96, 1, true}, {2, 64, 1, true}, {2, 64, 2, true},
                               {1, 256, 1, true}, {1, 192, 1, true}, {1, 192, 2, true}, {1, 128, 1, true}, {1, 128, 2, true}, {1, 96, 1, true}, {1, 96, 2, true}, {1, 64, 1, true}, {1, 64, 2, true},
                               {2, 256, 1, false, true}, {2, 192, 1, false, true}, {2, 128, 1, false, true}, {2, 128, 2, false, true}, {2, 96, 2, false, true}, {2, 64, 2, false, true},
                               {2, 64, 3, false, true}, {1, 256, 1, false, true}, {1, 192, 2, false, true}, {1, 128, 2, false, true}, {1, 128, 3, false, true}, {1, 96, 3, false, true}, {1, 64, 4, false, true},
                               {2, 256, 1, false, false, 4}, {2, 192, 1, false, false, 2}, {2, 128, 1, false, false, 2}, {2, 128, 1, false, false, 4},
                               {1, 128, 2, false, false, 2}, {1, 128, 2, false, false, 4}, {1, 64, 2, false, false, 4}};
constexpr int64_t kMostOfCluster = 8;  // blocks, as every device can


// Where TmaFinish reads residuals and puts results: boxes of OUT_ROW bytes one behind the other, 16 byte chunks permuted.
std::string StagedPlaces(bool linear) {
  const std::string row = "(warp * 16 + lane / 4 + 8 * (h))";
  const std::string at = linear ? row + " * n * OUT_SIZE + at + 16 * (v)" : "(at + 16 * (v)) / OUT_ROW * BM * OUT_ROW + " + row + " * OUT_ROW + "
                         "((((at + 16 * (v)) % OUT_ROW / 16) ^ (OUT_ROW == 128 ? (lane / 4) & 7 : (lane / 4) >> 1 & 3)) << 4)";
  return fmt::format("#define INSIDE(h) ({})\n#define RESULT_AT(h, v) (place + {})\n#define RESIDUAL_AT RESULT_AT\n", linear ? "at < n * OUT_SIZE" : "true", at);
}

// Where results go that are not staged.
constexpr char kSplitPlaces[] = R"cuda(
#define COLUMN_TABLE table
#define COLUMNS_AT (TABLES > 0 ? COLUMN_POINTER + (i64)group * n + tile_n * BN + lane % 4 * RUN : nullptr)
#define ROW_OF(h) (FIRST_ROW(rest) + part_of * 64 + warp % 4 * 16 + lane / 4 + 8 * (h))
#define INSIDE(h) ((h) == (rank & 1) && ROW_OF(h) < m)
#define RESULT_OF(tensor, h, v) ((tensor) + ((((i64)group * m + ROW_OF(h)) * n + tile_n * BN) * OUT_SIZE + at + 16 * (v)))
#define RESULT_AT(h, v) RESULT_OF((u8*)out, h, v)
#define RESIDUAL_AT(h, v) RESULT_OF((const u8*)residual, h, v)
)cuda";

// Where a block's rows start; how it loads B's tile and gives slots back.
constexpr char kAlone[] = R"cuda(
#define FIRST_ROW(rest) ((rest) % tiles_m * BM)
#define LOAD_B(place, bar, column, tap_, line) load_tensor(place, &b_map, bar, column, tap_, line)
#define RELEASE arrive
)cuda";
constexpr char kPair[] = R"cuda(
#define FIRST_ROW(rest) (((rest) % tiles_m * 2 + (int)blockIdx.z) * BM)
#define LOAD_B(place, bar, column, tap_, line) load_tensor_for_both((place) + blockIdx.z * (BN / 2 * ROW), &b_map, bar, column, tap_, (line) + (int)blockIdx.z * (BN / 2))
#define RELEASE(at, count) do { arrive(at, count); arrive_at_block(of_block(at, blockIdx.z ^ 1), count); } while (0)
)cuda";

bool Possible(const TmaProduct& p, const Device& device) {
  if (!TmaOperands(p, device) || p.then) return false;
  if (!p.image) return true;
  // Corners and offsets of windows have 8 bits each.
  auto fits = [](int64_t k, int64_t dilation, int64_t pad, int64_t in, int64_t out, int64_t stride) {
    const int64_t upper = UpperCorner(out, stride, pad, in);
    return pad <= 127 && (k - 1) * dilation <= 255 && upper >= -128 && upper <= 127 && stride <= 8;
  };
  return fits(p.k_h, p.dilation_h, p.pad_h, p.in_h, p.out_h, p.stride_h) && fits(p.k_w, p.dilation_w, p.pad_w, p.in_w, p.out_w, p.stride_w);
}

bool Suits(const TmaProduct& p, const TmaShape& s) {
  // Sums of E4M3 take twice the registers; a multiprocessor's quarters have 16384 each, shared out by warp.
  const int warps = (s.resident * s.threads() / 32 + 3) / 4, registers = 16384 / (32 * warps);
  if (p.fp8() && s.bn + 36 > registers) return false;
  if (s.normalises != p.norm.has_value() || (s.normalises && (p.groups > 1 || s.bn >= p.n || CeilDiv(p.n, s.bn) > kMostOfCluster))) return false;
  // A block of a cluster has one tile, and some of its terms.
  const int64_t steps = CeilDiv(p.channels * static_cast<int64_t>(p.size()), p.row_bytes());
  if (s.split > 1 && (p.image || p.size() != 2 || s.bn / 2 >= p.n || (s.split - 1) * CeilDiv(steps, s.split) >= steps || s.bn % 64 != 0)) return false;
  if (s.pairs && (p.image || p.n <= s.bn || p.m <= s.bm())) return false;
  return s.bn % (4 * p.run()) == 0 && (s.bn <= 64 || s.bn / 2 < p.n) && s.Slots(p) >= 2;
}

// Blocks that a device has room for. Clusters lie within a group of processors, of which some have fewer than others: an H100 has
// room for 31 clusters of four.
int64_t Places(const TmaProduct& p, const TmaShape& s, int processors) {
  const int64_t places = int64_t{processors} * s.resident, cluster = s.Cluster(p);
  return cluster <= 2 ? places : std::max<int64_t>(1, places * 19 / 20 / cluster) * cluster;
}

// Cycles, roughly; only the order counts.
double Cost(const TmaProduct& p, const TmaShape& s, int processors) {
  const int64_t tiles = CeilDiv(p.m, s.bm()) * CeilDiv(p.n, s.bn) * p.groups, blocks = Places(p, s, processors);
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
  return std::min(8, (kShared / resident - kOfABlock - kAlignment - ClusterBytes(p)) / (SlotBytes(p) + kBarriers));
}

// What two tiles' rows are in each block, and barriers of that; of split terms, a barrier.
int TmaShape::ClusterBytes(const TmaProduct& p) const { return normalises ? 2 * (8 + 8 * bm() * Cluster(p)) : split > 1 ? 8 : 0; }

int TmaShape::Cluster(const TmaProduct& p) const { return normalises ? static_cast<int>(CeilDiv(p.n, bn)) : pairs ? 2 : split; }

size_t TmaShape::SharedBytes(const TmaProduct& p) const { return static_cast<size_t>(kAlignment + Slots(p) * (SlotBytes(p) + kBarriers) + ClusterBytes(p)); }

std::string TmaShape::Name() const { return fmt::format("{}{}x{}{}{}", normalises ? "norm" : "tma", bm(), bn, resident > 1 ? fmt::format("r{}", resident) : "", pairs ? "p" : split > 1 ? fmt::format("/{}", split) : ""); }

std::vector<std::string> TmaNames(bool normalises) {
  std::vector<std::string> names;
  for (const TmaShape& s : kShapes)
    if (s.normalises == normalises) names.push_back(s.Name());
  return names;
}

std::vector<TmaShape> TmaShapes(const TmaProduct& p, const Device& device) {
  std::vector<TmaShape> shapes;
  // Fewer rows: other kernels share out the terms of a tile.
  if (!Possible(p, device)) return shapes;
  std::vector<TmaShape> split;
  for (const TmaShape& s : kShapes) {
    const int64_t blocks = CeilDiv(p.m, s.bm()) * CeilDiv(p.n, s.bn) * p.groups * s.split, places = Places(p, s, device.processors());
    if (s.split > 1 && Suits(p, s) && blocks <= places && blocks * 4 > places) split.push_back(s);
  }
  // Of fewer rows alone other kernels take care.
  if (!p.norm && p.m * p.groups * p.n < int64_t{64} * 64 * device.processors() / 2) return split;
  for (const TmaShape& s : kShapes)
    if (Suits(p, s) && !s.pairs && s.split == 1) shapes.push_back(s);
  std::stable_sort(shapes.begin(), shapes.end(), [&](const TmaShape& a, const TmaShape& b) { return Cost(p, a, device.processors()) < Cost(p, b, device.processors()); });
  const size_t kMost = p.norm ? 5 : 6;
  if (shapes.size() > kMost) shapes.resize(kMost);
  const size_t alone = shapes.size();
  for (size_t i = 0; i < std::min<size_t>(alone, 4); ++i)
    for (const TmaShape& s : kShapes)
      if (TmaShape{s.warp_groups, s.bn, s.resident} == shapes[i] && s.pairs && Suits(p, s)) shapes.push_back(s);
  shapes.insert(shapes.end(), split.begin(), split.end());
  return shapes;
}

std::optional<TmaShape> FindTmaShape(const TmaProduct& p, const Device& device, const std::string& name) {
  for (const TmaShape& s : kShapes)
    if (s.Name() == name && Possible(p, device) && Suits(p, s)) return s;
  return std::nullopt;
}

Generated TmaProductCode(const TmaProduct& p, const TmaShape& s, int processors) {
  const int row = p.row_bytes(), out_row = p.out_row_bytes(s.bn);
  const int cluster = s.Cluster(p);
  const bool linear = p.n <= s.bn && p.groups == 1 && s.split == 1;
  Generated g;
  const std::pair<const char*, int64_t> numbers[] = {{"BM", s.bm()}, {"SLOTS", s.Slots(p)}, {"SLOT", s.SlotBytes(p)},
                                                     {"WARPS", 4 * s.warp_groups}, {"IMAGE", p.image}, {"RESIDUAL", p.residual.has_value()}, {"TABLES", p.tables()}, {"LINEAR", linear}, {"OUT_ROW", out_row}, {"CLUSTER", cluster}, {"NORM", s.normalises}, {"PAIR", s.pairs}, {"SPLIT", s.split}};
  for (const auto& [name, value] : numbers) g.source += fmt::format("#define {} {}\n", name, value);
  g.source += s.normalises ? "#define TILE_N(tile) ((int)blockIdx.z)\n" : "#define TILE_N(tile) ((tile) % tiles_n)\n";
  g.source += s.pairs ? kPair : kAlone;
  g.source += fmt::format("#define COLUMN_POINTER {}\n", p.tables() > 0 ? "columns" : "(const float*)nullptr");
  if (s.normalises) g.source += fmt::format("#define COLUMN_INSIDE(g) ({})\n", p.n % s.bn == 0 ? "true" : "tile_n * BN + ((g) * 4 + lane % 4) * RUN < n");
  g.source += s.split > 1 ? kSplitPlaces : "#define COLUMN_TABLE BN\n" + StagedPlaces(linear);
  g.source += TmaFunctions(p, s.bn) + (cluster > 1 ? kClusterFunctions : "");
  g.source += fmt::format("extern \"C\" __global__ void __launch_bounds__({}, {}) k({}, i64 m_, i64 n_, i64 taps, i64 chunks_, i64 groups_, i64 b_rows, i64 table, {}"
                          "i64 backwards, const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map, const __grid_constant__ TensorMap out_map{}) {{\n",
                          s.threads(), s.resident, TmaParameters(p),
                          p.image ? "i64 out_h, i64 out_w, i64 k_w, i64 stride_h, i64 stride_w, i64 dilation_h, i64 dilation_w, i64 pad_h, i64 pad_w, " : "",
                          p.residual ? ", const __grid_constant__ TensorMap residual_map" : "");
  g.source += kBody;
  g.source += s.normalises ? TmaNormFinish() : s.split > 1 ? TmaSplitFinish() : TmaFinish();
  g.source += kEnd;
  BindTmaOperands(p, &g);
  const int64_t run_bytes = p.channels * static_cast<int64_t>(p.size()), chunks = CeilDiv(run_bytes, row), taps = p.k_h * p.k_w;
  g.sizes = {p.m, p.n, taps, chunks, p.groups, p.b_rows, p.table};
  if (p.image)
    for (int64_t v : {p.out_h, p.out_w, p.k_w, p.stride_h, p.stride_w, p.dilation_h, p.dilation_w, p.pad_h, p.pad_w}) g.sizes.push_back(v);
  auto u64 = [](int64_t v) { return static_cast<uint64_t>(v); };
  auto u32 = [](int64_t v) { return static_cast<uint32_t>(v); };
  const auto chunk = u32(row / static_cast<int64_t>(p.size()));
  g.reverses = true;
  TensorMap a;
  a.operand = 0;
  a.type = p.type;
  a.row_bytes = row;
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
  TensorMap out;
  out.operand = g.inputs;
  out.type = p.out.dtype;
  out.row_bytes = out_row;
  const auto out_size = static_cast<int64_t>(p.out.size());
  out.dims = {u64(p.n), u64(p.m), u64(p.groups)};
  out.strides = {u64(p.n * out_size), u64(p.m * p.n * out_size)};
  out.box = {u32(out_row / out_size), 64, 1};
  out.steps = {1, 1, 1};
  g.maps = {std::move(a), TmaWeightsMap(p, s.pairs ? s.bn / 2 : s.bn), out};
  if (p.residual) {
    out.operand = g.inputs - 1;
    out.type = p.residual->dtype;
    out.box[1] = u32(s.bm());
    g.maps.push_back(std::move(out));
  }
  g.shared = s.SharedBytes(p);
  g.waits = true;
  g.block[0] = static_cast<unsigned>(s.threads());
  const int64_t tiles = CeilDiv(p.m, s.bm() * (s.pairs ? 2 : 1)) * (s.normalises ? 1 : CeilDiv(p.n, s.bn)) * p.groups, at_once = std::max<int64_t>(1, Places(p, s, processors) / cluster);
  g.grid[0] = static_cast<unsigned>(s.split > 1 ? tiles : CeilDiv(tiles, CeilDiv(tiles, at_once)));
  g.grid[2] = g.cluster = static_cast<unsigned>(cluster);
  return g;
}

}  // namespace tfengine::cuda
