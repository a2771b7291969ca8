// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/piece_conv.h"

#include <algorithm>

#include "backends/cuda/tma_source.h"

namespace tfengine::cuda {
namespace {

constexpr int64_t kAlignment = 1024, kBarrier = 8;
constexpr int64_t kLongestBox = 256;  // of a dimension

// A block has the same columns in all of its tiles. Slots of the ring of pieces go to the tiles in their order, and tiles to
// the teams in turn. IN_TURN: a team multiplies alone, and lets the next one begin before its last products are done; left to
// themselves, teams would multiply together and then finish together.
constexpr char kStart[] = R"cuda(
  extern __shared__ u8 raw_memory[];
  u8* memory = raw_memory + ((1024 - (shared_address(raw_memory) & 1023)) & 1023);
  const unsigned base = shared_address(memory), filters = base + FILTERS_AT, full = base + BARRIERS_AT, empty = full + 8 * SLOTS, filter_full = empty + 8 * SLOTS, filter_empty = filter_full + 8 * FILTER_SLOTS, turn = filter_empty + 8 * FILTER_SLOTS;
  float* const numbers = (float*)(memory + NUMBERS_AT);
  const int tile_n = blockIdx.x % TILES_N, first = blockIdx.x / TILES_N, stride = gridDim.x / TILES_N, images = (int)images_, tiles = (images + IMAGES - 1) / IMAGES * PIECES;
  if (threadIdx.x == 0) {
    for (int s = 0; s < SLOTS; ++s) init_barrier(full + 8 * s, 1), init_barrier(empty + 8 * s, 4 * GROUPS);
    for (int s = 0; s < FILTER_SLOTS; ++s) init_barrier(filter_full + 8 * s, 1), init_barrier(filter_empty + 8 * s, 4 * GROUPS);
    for (int t = 0; t < TEAMS; ++t) init_barrier(turn + 8 * t, 4 * GROUPS);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
#if TRAIL > 0
  // The gap behind a piece's last line, which no load writes.
  for (int i = threadIdx.x; i < SLOTS * TRAIL * (ROW / 16); i += THREADS) {
    const uint4 zeros = {0, 0, 0, 0};
    *(uint4*)(memory + i / (TRAIL * (ROW / 16)) * SLOT + BOX_PIXELS * ROW + i % (TRAIL * (ROW / 16)) * 16) = zeros;
  }
#endif
#if TABLES > 0
  for (int i = threadIdx.x; i < TABLES * BN; i += THREADS) {
    const int column = tile_n * BN + i % BN;
    numbers[i] = column < COLUMNS_N ? columns[i / BN * TABLE + column] : 0.0f;
  }
#endif
  // A tile's rows as results: their number in its first image and those behind it, or one that none has.
  int* const places = (int*)(memory + PLACES_AT);
  for (int row = threadIdx.x; row < BM; row += THREADS) {
    const int image = IMAGES > 1 ? row / (BOX_LINES * WIDTH) : 0, rest = row - image * (BOX_LINES * WIDTH), line = rest / WIDTH, x = rest % WIDTH;
    places[row] = image < IMAGES && line < LINES && x < OUT_W ? (image * OUT_H + line) * OUT_W + x : 0x7fffffff;
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  if (threadIdx.x >= 32 * WARPS) {
    if (threadIdx.x > 32 * WARPS) return;
    // Weights do not depend on the kernel in front.
    if (!STREAMS && first < tiles)
      for (int step = 0; step < TAPS * CHUNKS; ++step) {
        expect_bytes(filter_full + 8 * step, BN * ROW);
        load_tensor(filters + step * BN * ROW, &b_map, filter_full + 8 * step, step / TAPS * (ROW / SIZE), step % TAPS, tile_n * BN);
      }
    after_previous();
    int at = 0, filter_at = 0;
    for (int tile = first; tile < tiles; tile += stride)
      for (int c = 0; c < CHUNKS; ++c, ++at) {
        const int slot = at % SLOTS;
        await_phase(empty + 8 * slot, at / SLOTS & 1 ^ 1);
        expect_bytes(full + 8 * slot, BOX_PIXELS * ROW);
        load_box(base + slot * SLOT, &a_map, full + 8 * slot, c * (ROW / SIZE), -PAD_W, tile % PIECES * LINES - PAD_H, tile / PIECES * IMAGES);
        for (int tap = 0; STREAMS && tap < TAPS; ++tap, ++filter_at) {
          const int to = filter_at % FILTER_SLOTS;
          await_phase(filter_empty + 8 * to, filter_at / FILTER_SLOTS & 1 ^ 1);
          expect_bytes(filter_full + 8 * to, BN * ROW);
          load_tensor(filters + to * BN * ROW, &b_map, filter_full + 8 * to, c * (ROW / SIZE), tap, tile_n * BN);
        }
      }
    return;
  }
  after_previous();
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, team = warp / (4 * GROUPS), group = warp / 4 % GROUPS;
  int filter_slot = 0;
  unsigned filter_parity = 0, turn_parity = team == 0;
  bool fresh = true;  // weights that stay are awaited once
  for (int tile = first + team * stride, at = team * CHUNKS; tile < tiles; tile += TEAMS * stride, at += TEAMS * CHUNKS) {
    SUM sums[BLOCKS][BN / 8][4];
#pragma unroll
    for (int b = 0; b < BLOCKS; ++b)
#pragma unroll
      for (int j = 0; j < BN / 8; ++j) sums[b][j][0] = sums[b][j][1] = sums[b][j][2] = sums[b][j][3] = 0;
    int last = -1, last_filter = 0;
    if (IN_TURN) await_phase(turn + 8 * team, turn_parity);
    turn_parity ^= 1;
#pragma unroll 1
    for (int c = 0; c < CHUNKS; ++c) {
      const int slot = (at + c) % SLOTS;
      await_phase(full + 8 * slot, (at + c) / SLOTS & 1);
      unsigned from = base + slot * SLOT + group * BLOCKS * 64 * ROW;
#pragma unroll 1
      for (int tap = 0, kx = 0; tap < TAPS; ++tap) {
        if (STREAMS || fresh) await_phase(filter_full + 8 * filter_slot, filter_parity);
        const u64 a = descriptor(from), b = descriptor(filters + filter_slot * BN * ROW);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#if PROMOTE
        // Tensor cores keep some 14 bits of a sum: only a step's products are summed there.
#pragma unroll
        for (int i = 0; i < BLOCKS; ++i) {
          SUM part[BN / 8][4];
#pragma unroll
          for (int q = 0; q < ROW / 32; ++q) multiply(part, a + i * (64 * ROW / 16) + 2 * q, b + 2 * q, q > 0);
          asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
          for (int j = 0; j < BN / 8; ++j) {
            asm volatile("" : SUM_OPERANDS(part[j]) :: "memory");
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[i][j][e] += part[j][e];
          }
        }
#else
#pragma unroll
        for (int q = 0; q < ROW / 32; ++q)
#pragma unroll
          for (int i = 0; i < BLOCKS; ++i) multiply(sums[i], a + i * (64 * ROW / 16) + 2 * q, b + 2 * q, 1);
        asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 1;" ::: "memory");
#endif
        if (lane == 0 && tap == 0 && c > 0) arrive(empty + 8 * last, 1);
        if (STREAMS && lane == 0 && tap + c > 0) arrive(filter_empty + 8 * last_filter, 1);
        last_filter = filter_slot;
        if (++filter_slot == FILTER_SLOTS) filter_slot = 0, filter_parity ^= STREAMS;
        from += ROW;
        if (++kx == K_W) kx = 0, from += (WIDTH - K_W) * ROW;
      }
      last = slot;
    }
    fresh = false;
    if (IN_TURN && lane == 0) arrive(turn + 8 * ((team + 1) % TEAMS), 1);
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
    for (int b = 0; b < BLOCKS; ++b)
#pragma unroll
      for (int j = 0; j < BN / 8; ++j) asm volatile("" : SUM_OPERANDS(sums[b][j]) :: "memory");
    if (lane == 0) {
      arrive(empty + 8 * last, 1);
      if (STREAMS) arrive(filter_empty + 8 * last_filter, 1);
    }
    const int image = tile / PIECES * IMAGES, line = tile % PIECES * LINES;
    const int limit = (IMAGES > 1 ? (images - image) * OUT_H : OUT_H - line) * OUT_W;
    const i64 pixel = ((i64)image * OUT_H + line) * OUT_W;
    const float* const column = numbers + lane % 4 * RUN;
#pragma unroll
    for (int b = 0; b < BLOCKS; ++b) {
      const SUM (&acc)[BN / 8][4] = sums[b];
      const int* const place = places + (group * BLOCKS + b) * 64 + warp % 4 * 16 + lane / 4;
      const int where[2] = {place[0], place[8]};
)cuda";

constexpr char kEnd[] = R"cuda(
    }
  }
}
)cuda";

// Where TmaFinish reads residuals and puts results: a quad's threads write 64 bytes together.
constexpr char kPlaces[] = R"cuda(
#define COLUMN_TABLE BN
#define INSIDE(h) (where[h] < limit && (COLUMNS_N % BN == 0 || tile_n * BN * OUT_SIZE + at < COLUMNS_N * OUT_SIZE))
#define BYTE_OF(h, v) ((pixel + where[h]) * (COLUMNS_N * OUT_SIZE) + tile_n * BN * OUT_SIZE + at + 16 * (v))
#define RESULT_AT(h, v) ((u8*)out + BYTE_OF(h, v))
#define RESIDUAL_AT(h, v) ((const u8*)residual + BYTE_OF(h, v))
)cuda";

constexpr PieceShape kShapes[] = {{2, 1, 4, 64, 1}, {2, 1, 2, 64, 1}, {2, 1, 2, 64, 2}, {1, 1, 4, 64, 2}, {1, 2, 2, 64, 1}, {1, 2, 2, 64, 2}, {1, 2, 4, 64, 1}, {2, 1, 2, 128, 1}, {1, 2, 2, 128, 1}, {1, 2, 1, 128, 2},
                                  {1, 2, 1, 256, 1}, {1, 2, 2, 96, 1}, {2, 1, 4, 32, 1}, {2, 1, 1, 64, 2}};

int64_t PadBottom(const TmaProduct& p) { return p.out_h + p.k_h - 1 - p.pad_h - p.in_h; }
int64_t PadRight(const TmaProduct& p) { return p.out_w + p.k_w - 1 - p.pad_w - p.in_w; }

int64_t Chunks(const TmaProduct& p) { return CeilDiv(p.channels * static_cast<int64_t>(p.size()), p.row_bytes()); }
int64_t Steps(const TmaProduct& p) { return p.k_h * p.k_w * Chunks(p); }

int64_t Tiles(const TmaProduct& p, const Piece& piece) { return CeilDiv(p.batch, piece.images) * piece.per_image; }

bool Possible(const TmaProduct& p, const Device& device) {
  return TmaOperands(p, device) && p.image && p.groups == 1 && p.k_h * p.k_w > 1 && p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.pad_h >= 0 && p.pad_w >= 0 &&
         PadBottom(p) >= 0 && PadRight(p) >= 0;
}

bool Suits(const TmaProduct& p, const PieceShape& s) {
  // Sums of E4M3 take more registers; a multiprocessor's quarters have 16384 each, shared out by warp.
  const int warps = (s.resident * s.threads() / 32 + 3) / 4, registers = 16384 / (32 * warps), sums = s.blocks * s.bn / 2;
  if (p.fp8() && sums + s.bn / 2 + 36 > registers) return false;
  return s.bn % (4 * p.run()) == 0 && (s.bn <= 64 || s.bn / 2 < p.n) && PieceOf(p, s.bm()).images > 0 && MemoryOf(p, s).slots > 0;
}

// Cycles, roughly; only the order counts.
double Cost(const TmaProduct& p, const PieceShape& s, int processors) {
  const Piece piece = PieceOf(p, s.bm());
  const PieceMemory memory = MemoryOf(p, s);
  const auto steps = static_cast<double>(Steps(p));
  const int at_once = s.teams * s.resident;
  const double multiply = steps * s.bm() * std::max(s.bn, 64) * p.row_bytes() / 128 / 32;
  const double load = 5.0 * (static_cast<double>(piece.box_pixels() * Chunks(p)) + (memory.streams ? steps * s.bn : 0));
  const double finish = 0.1 * s.bm() * s.bn + 500;
  const auto rounds = static_cast<double>(CeilDiv(Tiles(p, piece) * CeilDiv(p.n, s.bn), int64_t{processors} * at_once));
  return rounds * (at_once > 1 ? at_once * std::max({multiply, load, finish}) : std::max(multiply, load) + finish);
}

}  // namespace

std::string PieceShape::Name() const {
  auto more = [](const char* letter, int n) { return n > 1 ? fmt::format("{}{}", letter, n) : ""; };
  return fmt::format("piece{}x{}{}{}{}", 64 * blocks, bn, more("g", groups), more("t", teams), more("r", resident));
}

Piece PieceOf(const TmaProduct& p, int bm) {
  Piece piece;
  piece.width = p.in_w + std::max(p.pad_w, PadRight(p));
  if (p.out_w > bm || piece.width > kLongestBox) return {};
  const int64_t height = p.in_h + std::max(p.pad_h, PadBottom(p)), whole = (p.out_h - 1) * piece.width + p.out_w;
  if (whole <= bm && height <= kLongestBox) {
    piece.images = std::min(p.batch, 1 + (bm - whole) / (height * piece.width));
    piece.lines = p.out_h;
    piece.box_lines = height;
  } else {
    const int64_t most = std::min(1 + (bm - p.out_w) / piece.width, kLongestBox - (p.k_h - 1));
    if (most < 1) return {};
    piece.images = 1;
    piece.per_image = CeilDiv(p.out_h, most);
    piece.lines = CeilDiv(p.out_h, piece.per_image);
    piece.box_lines = piece.lines + p.k_h - 1;
  }
  const int64_t last = ((piece.images - 1) * piece.box_lines + piece.lines - 1) * piece.width + p.out_w - 1;
  piece.used = last + (p.k_h - 1) * piece.width + p.k_w;
  return piece;
}

PieceMemory MemoryOf(const TmaProduct& p, const PieceShape& s) {
  constexpr int64_t kShared = 227 << 10, kOfABlock = 1024, kMostSlots = 8, kFewestFilters = 3;
  const Piece piece = PieceOf(p, s.bm());
  const int64_t row = p.row_bytes(), slot = CeilDiv(std::max(piece.box_pixels(), piece.used) * row, kAlignment) * kAlignment;
  const int64_t filter = s.bn * row, numbers = (p.tables() * s.bn + s.bm()) * 4;
  const int64_t available = kShared / s.resident - kOfABlock - kAlignment - numbers - s.teams * kBarrier;
  // The rows of a tile that are no results may lie behind the last slot: whatever is there.
  const int64_t behind = std::max<int64_t>(0, (s.bm() + (p.k_h - 1) * piece.width + p.k_w) * row - slot);
  auto slots = [&](int64_t rest) { return std::min(kMostSlots, rest / (slot + 2 * kBarrier)); };
  PieceMemory m;
  int64_t filters = Steps(p), pieces = slots(available - filters * (filter + 2 * kBarrier));
  if (pieces < s.teams + 1 || filters * filter < behind) {
    if (s.teams > 1) return m;
    m.streams = true;
    pieces = 2;
    filters = std::min(kMostSlots, (available - pieces * (slot + 2 * kBarrier)) / (filter + 2 * kBarrier));
    if (filters < kFewestFilters || filters * filter < behind) return m;
  }
  m.slots = static_cast<int>(pieces), m.slot = static_cast<int>(slot), m.filters = static_cast<int>(filters);
  m.bytes = static_cast<size_t>(kAlignment + pieces * (slot + 2 * kBarrier) + filters * (filter + 2 * kBarrier) + numbers + s.teams * kBarrier);
  return m;
}

std::vector<std::string> PieceNames() {
  std::vector<std::string> names;
  for (const PieceShape& s : kShapes) names.push_back(s.Name());
  return names;
}

std::vector<PieceShape> PieceShapes(const TmaProduct& p, const Device& device) {
  std::vector<PieceShape> shapes;
  // Fewer rows: other kernels share out the terms of a tile.
  if (!Possible(p, device) || p.m * p.n < int64_t{64} * 64 * device.processors() / 2) return shapes;
  for (const PieceShape& s : kShapes)
    if (Suits(p, s)) shapes.push_back(s);
  std::stable_sort(shapes.begin(), shapes.end(), [&](const PieceShape& a, const PieceShape& b) { return Cost(p, a, device.processors()) < Cost(p, b, device.processors()); });
  constexpr size_t kMost = 5;
  if (shapes.size() > kMost) shapes.resize(kMost);
  return shapes;
}

std::optional<PieceShape> FindPieceShape(const TmaProduct& p, const Device& device, const std::string& name) {
  for (const PieceShape& s : kShapes)
    if (s.Name() == name && Possible(p, device) && Suits(p, s)) return s;
  return std::nullopt;
}

Generated PieceConvCode(const TmaProduct& p, const PieceShape& s, int processors) {
  const Piece piece = PieceOf(p, s.bm());
  const PieceMemory memory = MemoryOf(p, s);
  const auto size = static_cast<int64_t>(p.size());
  const int64_t row = p.row_bytes(), tiles_n = CeilDiv(p.n, s.bn), filters_at = int64_t{memory.slots} * memory.slot, numbers_at = filters_at + memory.filters * s.bn * row, places_at = numbers_at + p.tables() * s.bn * 4;
  const std::pair<const char*, int64_t> numbers[] = {
      {"BM", s.bm()},
      {"WARPS", s.warps()}, {"THREADS", s.threads()}, {"TEAMS", s.teams}, {"GROUPS", s.groups}, {"BLOCKS", s.blocks}, {"IN_TURN", s.teams > 1 && !p.fp8()},
      {"SLOTS", memory.slots}, {"SLOT", memory.slot}, {"FILTER_SLOTS", memory.filters}, {"STREAMS", memory.streams},
      {"FILTERS_AT", filters_at}, {"NUMBERS_AT", numbers_at}, {"PLACES_AT", places_at}, {"BARRIERS_AT", places_at + s.bm() * 4},
      {"TAPS", p.k_h * p.k_w}, {"K_W", p.k_w}, {"CHUNKS", Chunks(p)}, {"PAD_H", p.pad_h}, {"PAD_W", p.pad_w}, {"OUT_H", p.out_h}, {"OUT_W", p.out_w},
      {"IMAGES", piece.images}, {"PIECES", piece.per_image}, {"LINES", piece.lines}, {"WIDTH", piece.width}, {"BOX_LINES", piece.box_lines}, {"BOX_PIXELS", piece.box_pixels()},
      {"TRAIL", std::max<int64_t>(0, piece.used - piece.box_pixels())}, {"COLUMNS_N", p.n}, {"TILES_N", tiles_n}, {"TABLES", p.tables()}, {"TABLE", p.table}};
  Generated g;
  for (const auto& [name, value] : numbers) g.source += fmt::format("#define {} {}\n", name, value);
  g.source += kPlaces + TmaFunctions(p, s.bn);
  g.source += fmt::format("extern \"C\" __global__ void __launch_bounds__({}, {}) k({}, i64 images_, const __grid_constant__ TensorMap a_map, "
                          "const __grid_constant__ TensorMap b_map) {{\n",
                          s.threads(), s.resident, TmaParameters(p));
  g.source += kStart;
  g.source += TmaFinish();
  g.source += kEnd;
  BindTmaOperands(p, &g);
  g.sizes = {p.batch};
  auto u64 = [](int64_t v) { return static_cast<uint64_t>(v); };
  auto u32 = [](int64_t v) { return static_cast<uint32_t>(v); };
  TensorMap a;
  a.operand = 0;
  a.type = p.type;
  a.row_bytes = p.row_bytes();
  const int64_t pixel = p.channels * size;
  a.dims = {u64(p.channels), u64(p.in_w), u64(p.in_h), u64(p.batch)};
  a.strides = {u64(pixel), u64(pixel * p.in_w), u64(pixel * p.in_w * p.in_h)};
  a.box = {u32(row / size), u32(piece.width), u32(piece.box_lines), u32(piece.images)};
  a.steps = {1, 1, 1, 1};
  g.maps = {std::move(a), TmaWeightsMap(p, s.bn)};
  g.shared = memory.bytes;
  g.waits = true;
  g.block[0] = static_cast<unsigned>(s.threads());
  // Blocks that run at once, with about the same number of tiles each.
  const int64_t turns = CeilDiv(Tiles(p, piece), s.teams), at_once = std::max<int64_t>(1, int64_t{processors} * s.resident / tiles_n);
  g.grid[0] = static_cast<unsigned>(tiles_n * CeilDiv(turns, CeilDiv(turns, at_once)));
  return g;
}

}  // namespace tfengine::cuda
