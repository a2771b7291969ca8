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
#if THEN
  const unsigned thens = base + THENS_AT, results = base + RESULTS_AT, then_full = turn + 8 * TEAMS, then_empty = then_full + 8 * THEN_RINGS * THEN_SLOTS, result_full = then_empty + 8 * THEN_RINGS * THEN_SLOTS, result_empty = result_full + 8 * TEAMS * RESULTS;
#endif
  float* const numbers = (float*)(memory + NUMBERS_AT);
  const int tile_n = blockIdx.x % TILES_N, first = blockIdx.x / TILES_N, stride = gridDim.x / TILES_N, images = (int)images_, tiles = ((images + IMAGES - 1) / IMAGES * PIECES + PAIR) / (1 + PAIR);
  if (threadIdx.x == 0) {
    for (int s = 0; s < SLOTS; ++s) init_barrier(full + 8 * s, 1), init_barrier(empty + 8 * s, 4 * GROUPS);
    for (int s = 0; s < FILTER_SLOTS; ++s) init_barrier(filter_full + 8 * s, 1), init_barrier(filter_empty + 8 * s, 4 * GROUPS * (1 + PAIR));
    for (int t = 0; t < TEAMS; ++t) init_barrier(turn + 8 * t, 4 * GROUPS);
#if THEN
    for (int s = 0; s < THEN_RINGS * THEN_SLOTS; ++s) init_barrier(then_full + 8 * s, 1), init_barrier(then_empty + 8 * s, 4 * GROUPS * (1 + PAIR));
    for (int s = 0; s < TEAMS * RESULTS; ++s) init_barrier(result_full + 8 * s, 1), init_barrier(result_empty + 8 * s, 1);
#endif
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
#if THEN_TABLES > 0
  for (int i = threadIdx.x; i < THEN_TABLES * THEN_N; i += THREADS) ((float*)(memory + THEN_NUMBERS_AT))[i] = then_columns[i / THEN_N * THEN_TABLE + i % THEN_N];
#endif
#if !THEN
  // A tile's rows as results: their number in its first image and those behind it, or one that none has.
  int* const places = (int*)(memory + PLACES_AT);
  for (int row = threadIdx.x; row < BM; row += THREADS) {
    const int image = IMAGES > 1 ? row / (BOX_LINES * WIDTH) : 0, rest = row - image * (BOX_LINES * WIDTH), line = rest / WIDTH, x = rest % WIDTH;
    places[row] = image < IMAGES && line < LINES && x < OUT_W ? (image * OUT_H + line) * OUT_W + x : 0x7fffffff;
  }
#endif
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
#if PAIR
  sync_cluster();
#endif
  if (threadIdx.x >= 32 * WARPS) {
    if (threadIdx.x % 32 != 0) return;
#if THEN
    if (threadIdx.x == 32 * WARPS + 32) {
      // A team finishes when it likes: whatever ring has room is filled.
      constexpr int kWeights = THEN_CHUNKS * THEN_STEPS;
      int weights[TEAMS], results_asked[TEAMS], end[TEAMS];  // so many slots of the rings have been filled; tiles of a team
#pragma unroll
      for (int t = 0; t < TEAMS; ++t) weights[t] = results_asked[t] = 0, end[t] = max(0, (tiles - first - t * stride + TEAMS * stride - 1) / (TEAMS * stride));
      auto load_weights = [&](int slot, int number) {
        expect_bytes(then_full + 8 * slot, THEN_BN * THEN_ROW);
        LOAD_WEIGHTS(thens + slot * (THEN_BN * THEN_ROW), THEN_BN, THEN_ROW, &then_map, then_full + 8 * slot, number % THEN_STEPS * (THEN_ROW / SIZE), 0, number / THEN_STEPS % THEN_CHUNKS * THEN_BN);
      };
      for (int i = 0; !THEN_STREAMS && i < kWeights; ++i) load_weights(i, i);
      after_previous();
      for (bool more = true; more;) {
        more = false;
#pragma unroll
        for (int t = 0; t < TEAMS; ++t) {
          const int weights_slot = t * THEN_SLOTS + weights[t] % THEN_SLOTS, slot = t * RESULTS + results_asked[t] % RESULTS;
          if (THEN_STREAMS && weights[t] < end[t] * kWeights) {
            more = true;
            if (is_phase_over(then_empty + 8 * weights_slot, weights[t] / THEN_SLOTS & 1 ^ 1)) load_weights(weights_slot, weights[t]++);
          }
          if (results_asked[t] == end[t] * THEN_CHUNKS) continue;
          more = true;
          if (!is_phase_over(result_empty + 8 * slot, results_asked[t] / RESULTS & 1 ^ 1)) continue;
#if THEN_RESIDUAL
          const int tile = TILE(first + (results_asked[t] / THEN_CHUNKS * TEAMS + t) * stride);
          expect_bytes(result_full + 8 * slot, RESULT_PIXELS * 128);
          load_box(results + slot * RESULT_SLOT, &residual_map, result_full + 8 * slot, results_asked[t] % THEN_CHUNKS * THEN_BN, 0, tile % PIECES * LINES, tile / PIECES * IMAGES);
#else
          arrive(result_full + 8 * slot, 1);
#endif
          ++results_asked[t];
        }
      }
      return;
    }
#endif
    // Weights do not depend on the kernel in front.
    if (!STREAMS && first < tiles)
      for (int step = 0; step < TAPS * CHUNKS; ++step) {
        expect_bytes(filter_full + 8 * step, BN * ROW);
        LOAD_WEIGHTS(filters + step * BN * ROW, BN, ROW, &b_map, filter_full + 8 * step, step / TAPS * (ROW / SIZE), step % TAPS, tile_n * BN);
      }
    after_previous();
    int at = 0, filter_at = 0;
    for (int tile = first; tile < tiles; tile += stride)
      for (int c = 0; c < CHUNKS; ++c, ++at) {
        const int slot = at % SLOTS;
        await_phase(empty + 8 * slot, at / SLOTS & 1 ^ 1);
        expect_bytes(full + 8 * slot, BOX_PIXELS * ROW);
        load_box(base + slot * SLOT, &a_map, full + 8 * slot, c * (ROW / SIZE), -PAD_W, TILE(tile) % PIECES * LINES - PAD_H, TILE(tile) / PIECES * IMAGES);
        for (int tap = 0; STREAMS && tap < TAPS; ++tap, ++filter_at) {
          const int to = filter_at % FILTER_SLOTS;
          await_phase(filter_empty + 8 * to, filter_at / FILTER_SLOTS & 1 ^ 1);
          expect_bytes(filter_full + 8 * to, BN * ROW);
          LOAD_WEIGHTS(filters + to * BN * ROW, BN, ROW, &b_map, filter_full + 8 * to, c * (ROW / SIZE), tap, tile_n * BN);
        }
      }
    return;
  }
  after_previous();
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, team = warp / (4 * GROUPS), group = warp / 4 % GROUPS;
  unsigned turn_parity = team == 0;
  bool fresh = true;  // weights that stay are awaited once
#if THEN
  int order = 0;  // of the team's chunks of results
#endif
  for (int tile = first + team * stride, at = team * CHUNKS; tile < tiles; tile += TEAMS * stride, at += TEAMS * CHUNKS) {
    SUM sums[BLOCKS][BN / 8][4];
#pragma unroll
    for (int b = 0; b < BLOCKS; ++b)
#pragma unroll
      for (int j = 0; j < BN / 8; ++j) sums[b][j][0] = sums[b][j][1] = sums[b][j][2] = sums[b][j][3] = 0;
    int last = -1, last_filter = 0, filter_slot = at / CHUNKS * (TAPS * CHUNKS) % FILTER_SLOTS;
    unsigned filter_parity = STREAMS ? at / CHUNKS * (TAPS * CHUNKS) / FILTER_SLOTS & 1 : 0;
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
        if (STREAMS && lane == 0 && tap + c > 0) RELEASE_WEIGHTS(filter_empty + 8 * last_filter);
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
      if (STREAMS) RELEASE_WEIGHTS(filter_empty + 8 * last_filter);
    }
)cuda";

constexpr char kPlain[] = R"cuda(
    const int image = TILE(tile) / PIECES * IMAGES, line = TILE(tile) % PIECES * LINES;
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

// The result stays in registers, as the left operand of what comes then.
constexpr char kKeep[] = R"cuda(
    unsigned kept[BLOCKS][BN * SIZE / 32][4];
    {
      const float* const column = numbers + lane % 4 * RUN;
#pragma unroll
      for (int b = 0; b < BLOCKS; ++b) {
        const SUM (&acc)[BN / 8][4] = sums[b];
)cuda";

constexpr char kThen[] = R"cuda(
      }
    }
    int stored = -1;  // the slot whose result may still be on its way
    SUM more[1 + LAG][THEN_BN / 8][4];
    // Starts to multiply a block of rows with a chunk of columns, the first of which waits for the weights.
    auto start = [&](SUM (&acc)[THEN_BN / 8][4], const unsigned (&rows)[BN * SIZE / 32][4], int chunk, bool waits) {
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int step = 0; step < THEN_STEPS; ++step) {
        const int number = THEN_STREAMS ? (order + chunk) * THEN_STEPS + step : chunk * THEN_STEPS + step, from = THEN_STREAMS ? team * THEN_SLOTS + number % THEN_SLOTS : number;
        if (waits) await_phase(then_full + 8 * from, THEN_STREAMS ? number / THEN_SLOTS & 1 : 0);
        const u64 weights = descriptor_of_rows(thens + from * (THEN_BN * THEN_ROW), THEN_ROW);
#pragma unroll
        for (int q = 0; q < THEN_ROW / 32; ++q) multiply_then(acc, rows[step * (THEN_ROW / 32) + q], weights + 2 * q, step + q > 0);
      }
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    };
    if (LAG) start(more[0], kept[0], 0, true);
#pragma unroll 1
    for (int chunk = 0; chunk < THEN_CHUNKS; ++chunk) {
      const int number = order + chunk, slot = team * RESULTS + number % RESULTS;
      u8* const place = memory + RESULTS_AT + slot * RESULT_SLOT;
      const float* const column = (const float*)(memory + THEN_NUMBERS_AT) + chunk * THEN_BN + lane % 4 * RUN;
#pragma unroll
      for (int b = 0; b < BLOCKS; ++b) {
        // The next rows are multiplied while these are finished; behind the last there are none: once more the last columns.
        if (LAG) start(more[(b + 1) & LAG], kept[(b + 1) % BLOCKS], b + 1 < BLOCKS ? chunk : min(chunk + 1, THEN_CHUNKS - 1), b + 1 == BLOCKS && chunk + 1 < THEN_CHUNKS);
        else start(more[0], kept[b], chunk, b == 0);
        asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LAG) : "memory");
        SUM (&acc)[THEN_BN / 8][4] = more[b & LAG];
#pragma unroll
        for (int j = 0; j < THEN_BN / 8; ++j) asm volatile("" : SUM_OPERANDS(acc[j]) :: "memory");
        if (b == 0) await_phase(result_full + 8 * slot, number / RESULTS & 1);
        const int row = (group * BLOCKS + b) * 64 + warp % 4 * 16 + lane / 4;
)cuda";

constexpr char kThenEnd[] = R"cuda(
      }
      if (LAG && chunk + 1 == THEN_CHUNKS) asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (THEN_STREAMS && lane == 0)
        for (int step = 0; step < THEN_STEPS; ++step) RELEASE_WEIGHTS(then_empty + 8 * (team * THEN_SLOTS + (number * THEN_STEPS + step) % THEN_SLOTS));
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
      asm volatile("bar.sync %0, %1;" ::"r"(1 + team), "n"(128 * GROUPS) : "memory");
      if (threadIdx.x % (128 * GROUPS) == 0) {
        store_box(&out_map, results + slot * RESULT_SLOT, chunk * THEN_BN, 0, TILE(tile) % PIECES * LINES, TILE(tile) / PIECES * IMAGES);
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        if (stored >= 0) {
          asm volatile("cp.async.bulk.wait_group.read 1;" ::: "memory");
          arrive(result_empty + 8 * stored, 1);
        }
        stored = slot;
      }
      __syncwarp();
    }
    order += THEN_CHUNKS;
    if (threadIdx.x % (128 * GROUPS) == 0) {
      asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
      arrive(result_empty + 8 * stored, 1);
    }
    __syncwarp();
  }
  if (threadIdx.x % (128 * GROUPS) == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
#if PAIR
  // Nobody leaves while the other block may still write to its memory.
  __syncwarp();
  sync_cluster();
#endif
}
)cuda";

// Which tile comes at which number, how a block loads weights and gives their slots back.
constexpr char kTurned[] = "#define TURNED(tile) (backwards ? tiles - 1 - (tile) : (tile))\n";
constexpr char kAlone[] = R"cuda(
#define TILE(tile) TURNED(tile)
#define LOAD_WEIGHTS(place, rows, row, map, bar, c, tap, n) load_tensor(place, map, bar, c, tap, n)
#define RELEASE_WEIGHTS(at) arrive(at, 1)
)cuda";
constexpr char kPair[] = R"cuda(
#define TILE(tile) (2 * TURNED(tile) + (int)blockIdx.z)
#define LOAD_WEIGHTS(place, rows, row, map, bar, c, tap, n) load_tensor_for_both((place) + blockIdx.z * ((rows) / 2 * (row)), map, bar, c, tap, (n) + (int)blockIdx.z * ((rows) / 2))
#define RELEASE_WEIGHTS(at) do { arrive(at, 1); arrive_at_block(of_block(at, blockIdx.z ^ 1), 1); } while (0)
)cuda";

// Where TmaFinish reads residuals and puts results: a quad's threads write 64 bytes together.
constexpr char kPlaces[] = R"cuda(
#define COLUMN_TABLE BN
#define INSIDE(h) (where[h] < limit && (COLUMNS_N % BN == 0 || tile_n * BN * OUT_SIZE + at < COLUMNS_N * OUT_SIZE))
#define BYTE_OF(h, v) ((pixel + where[h]) * (COLUMNS_N * OUT_SIZE) + tile_n * BN * OUT_SIZE + at + 16 * (v))
#define RESULT_AT(h, v) ((u8*)out + BYTE_OF(h, v))
#define RESIDUAL_AT(h, v) ((const u8*)residual + BYTE_OF(h, v))
)cuda";

// The same for a chunk of what comes then, in shared memory: rows of 128 bytes whose 16 byte chunks are permuted.
constexpr char kThenPlaces[] = R"cuda(
#undef COLUMN_TABLE
#undef INSIDE
#undef RESULT_AT
#undef RESIDUAL_AT
#define COLUMN_TABLE THEN_N
#define INSIDE(h) (row + 8 * (h) < RESULT_PIXELS)
#define RESULT_AT(h, v) (place + (row + 8 * (h)) * 128 + ((((at + 16 * (v)) / 16) ^ (lane / 4)) << 4))
#define RESIDUAL_AT RESULT_AT
)cuda";

constexpr int kResultRow = 128;  // bytes of a row of a chunk of results

constexpr PieceShape kShapes[] = {{2, 1, 4, 64, 1}, {2, 1, 2, 64, 1}, {2, 1, 2, 64, 2}, {1, 1, 4, 64, 2}, {1, 2, 2, 64, 1}, {1, 2, 2, 64, 2}, {1, 2, 4, 64, 1}, {2, 1, 2, 128, 1}, {1, 2, 2, 128, 1}, {1, 2, 1, 128, 2},
                                  {1, 2, 1, 256, 1}, {1, 2, 2, 96, 1}, {2, 1, 4, 32, 1}, {2, 1, 1, 64, 2},
                                  {2, 1, 1, 128, 1}, {2, 1, 1, 128, 1, true}, {3, 1, 2, 64, 1}, {3, 1, 1, 128, 1}};

int64_t PadBottom(const TmaProduct& p) { return p.out_h + p.k_h - 1 - p.pad_h - p.in_h; }
int64_t PadRight(const TmaProduct& p) { return p.out_w + p.k_w - 1 - p.pad_w - p.in_w; }

int64_t Chunks(const TmaProduct& p) { return CeilDiv(p.channels * static_cast<int64_t>(p.size()), p.row_bytes()); }
int64_t Steps(const TmaProduct& p) { return p.k_h * p.k_w * Chunks(p); }

int64_t Tiles(const TmaProduct& p, const Piece& piece) { return CeilDiv(p.batch, piece.images) * piece.per_image; }

// Columns of a chunk of p.then's result.
int ThenColumns(const TmaProduct& p) { return kResultRow / static_cast<int>(p.then->out.size()); }

// Steps of p.then's terms.
int64_t ThenSteps(const TmaProduct& p) { return CeilDiv(p.n * static_cast<int64_t>(p.size()), p.then->row_bytes()); }

int64_t ThenSlots(const TmaProduct& p) { return p.then->n / ThenColumns(p) * ThenSteps(p); }

// Registers of a thread; a multiprocessor's quarters have 16384 each, shared out by warp.
int Registers(const TmaProduct& p, const PieceShape& s) { return 16384 / (32 * ((s.resident * s.threads(p) / 32 + 3) / 4)); }

// Whether p.then's next rows are multiplied while some are finished: if there are registers for both.
int ThenLag(const TmaProduct& p, const PieceShape& s) { return s.blocks % 2 == 0 && s.blocks * s.bn * static_cast<int>(p.size()) / 8 + ThenColumns(p) + 48 <= Registers(p, s); }

// Pixels of a chunk of p.then's result as a box.
int64_t ResultPixels(const Piece& piece) { return piece.images * (piece.images > 1 ? piece.box_lines : piece.lines) * piece.width; }

bool ThenPossible(const TmaProduct& p, const Device& device) {
  const TmaProduct& then = *p.then;
  const auto bytes = p.n * static_cast<int64_t>(p.size());
  // Sums of E4M3 are promoted after 128 terms; whoever wants more of the result's columns or terms takes a kernel of its own.
  return TmaOperands(then, device) && !then.image && then.groups == 1 && !then.norm && !p.residual && then.m == p.m && then.channels == p.n && then.type == p.type && p.out.dtype == p.type &&
         bytes % 64 == 0 && bytes % then.row_bytes() == 0 && (!p.fp8() || bytes <= 128) && then.n % ThenColumns(p) == 0 && ThenColumns(p) % (4 * then.run()) == 0;
}

bool Possible(const TmaProduct& p, const Device& device) {
  return TmaOperands(p, device) && (!p.then || ThenPossible(p, device)) && p.image && p.groups == 1 && p.k_h * p.k_w > 1 && p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 && p.pad_h >= 0 && p.pad_w >= 0 &&
         PadBottom(p) >= 0 && PadRight(p) >= 0;
}

bool Suits(const TmaProduct& p, const PieceShape& s) {
  const int registers = Registers(p, s), sums = s.blocks * s.bn / 2;  // those of E4M3 are added to others
  if (p.fp8() && sums + s.bn / 2 + 36 > registers) return false;
  if (s.pairs) {
    const PieceMemory memory = MemoryOf(p, s);
    if (!p.then || (!memory.streams && !memory.then_streams)) return false;
  }
  if (s.teams > 2 && !p.then) return false;
  if (p.then) {
    if (s.bn != p.n) return false;
    const int kept = s.blocks * s.bn * static_cast<int>(p.size()) / 8;  // take the place of the sums
    if (std::max(sums + 8, kept + ThenColumns(p) / 2) + 28 > registers) return false;
  }
  return s.bn % (4 * p.run()) == 0 && (s.bn <= 64 || s.bn / 2 < p.n) && PieceOf(p, s.bm()).images > 0 && MemoryOf(p, s).slots > 0;
}

// Cycles, roughly; only the order counts.
double Cost(const TmaProduct& p, const PieceShape& s, int processors) {
  const Piece piece = PieceOf(p, s.bm());
  const PieceMemory memory = MemoryOf(p, s);
  const auto steps = static_cast<double>(Steps(p));
  const int at_once = s.teams * s.resident;
  const double multiply = steps * s.bm() * std::max(s.bn, 64) * p.row_bytes() / 128 / 32;
  double load = 5.0 * (static_cast<double>(piece.box_pixels() * Chunks(p)) + (memory.streams ? steps * s.bn : 0));
  double finish = 0.1 * s.bm() * s.bn + 500;
  if (p.then) {
    const double chunks = static_cast<double>(p.then->n) / ThenColumns(p);
    load += 5.0 * chunks * (static_cast<double>(ResultPixels(piece)) * (p.then->residual ? 2 : 1) + (memory.then_streams ? static_cast<double>(ThenSteps(p)) * ThenColumns(p) : 0));
    finish += 0.1 * s.bm() * static_cast<double>(p.then->n) + 300 * chunks;
  }
  const auto rounds = static_cast<double>(CeilDiv(Tiles(p, piece) * CeilDiv(p.n, s.bn), int64_t{processors} * at_once));
  return rounds * (at_once > 1 ? at_once * std::max({multiply, load, finish}) : std::max(multiply, load) + finish);
}

}  // namespace

std::string PieceShape::Name() const {
  auto more = [](const char* letter, int n) { return n > 1 ? fmt::format("{}{}", letter, n) : ""; };
  return fmt::format("piece{}x{}{}{}{}{}", 64 * blocks, bn, more("g", groups), more("t", teams), more("r", resident), pairs ? "p" : "");
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
  constexpr int64_t kShared = 227 << 10, kOfABlock = 1024, kMostSlots = 8, kFewestFilters = 3, kFewestResults = 2;
  const Piece piece = PieceOf(p, s.bm());
  const int64_t row = p.row_bytes(), slot = CeilDiv(std::max(piece.box_pixels(), piece.used) * row, kAlignment) * kAlignment;
  const int64_t filter = s.bn * row, numbers = p.then ? (p.tables() * s.bn + p.then->tables() * p.then->n) * 4 : (p.tables() * s.bn + s.bm()) * 4;
  const int64_t whole = kShared / s.resident - kOfABlock;
  int64_t available = whole - kAlignment - numbers - s.teams * kBarrier;
  // The rows of a tile that are no results may lie behind the last slot: whatever is there.
  const int64_t behind = std::max<int64_t>(0, (s.bm() + (p.k_h - 1) * piece.width + p.k_w) * row - slot);
  const int64_t barriers = 2 * s.teams * kBarrier;  // of a slot, at most
  PieceMemory m;
  m.slot = static_cast<int>(slot);
  auto take = [&](int64_t count, int64_t bytes) {
    available -= count * (bytes + barriers);
    return static_cast<int>(count);
  };
  auto most = [&](int64_t bytes) { return std::min(kMostSlots, available / (bytes + barriers)); };
  // Weights stay if they leave room for what must pass: those of the convolution first.
  const int64_t then_filter = p.then ? int64_t{ThenColumns(p)} * p.then->row_bytes() : 0, all_then = p.then ? ThenSlots(p) : 0, few_then = p.then ? ThenSteps(p) + 1 : 0;
  const int64_t result = p.then ? RoundUp(ResultPixels(piece) * kResultRow, kAlignment) : 0;
  if (p.then) m.results = take(kFewestResults, s.teams * result), m.result = static_cast<int>(result);
  // Those that pass have a ring for each team.
  auto fits = [&](int64_t pieces, int64_t filters, bool then_stays) {
    const int64_t then_filters = !p.then ? 0 : then_stays ? all_then : std::min(all_then, s.teams * few_then);
    return filters * filter >= behind && pieces * (slot + barriers) + filters * (filter + barriers) + then_filters * (then_filter + barriers) <= available;
  };
  const int64_t pieces = p.then ? 2 : s.teams + 1;
  const bool stay = fits(pieces, Steps(p), false);
  if (!stay && (!fits(2, kFewestFilters, false) || (s.teams > 1 && p.fp8() && !p.then))) return {};  // what passes is taken in turn
  m.streams = !stay;
  m.then_streams = p.then && all_then > s.teams * few_then && !fits(stay ? pieces : 2, stay ? Steps(p) : kFewestFilters, true);
  const int64_t then_ring = (m.then_streams ? s.teams : 1) * then_filter;
  m.then_filters = take(m.then_streams ? few_then : all_then, then_ring);
  if (stay) {
    m.filters = take(Steps(p), filter);
    m.slots = take(p.then ? 2 : most(slot), slot);
  } else {
    m.slots = take(2, slot);
    m.filters = take(p.then ? kFewestFilters : most(filter), filter);
  }
  // What is left: for rings that pass, in turn.
  for (bool more = p.then != nullptr; more;) {
    more = false;
    auto one = [&](bool wanted, int* count, int64_t bytes) {
      if (!wanted || *count == kMostSlots || bytes + barriers > available) return;
      *count += take(1, bytes);
      more = true;
    };
    one(m.streams, &m.filters, filter);
    one(m.then_streams, &m.then_filters, then_ring);
    one(true, &m.results, s.teams * result);
    one(m.slots < Chunks(p) + 1, &m.slots, slot);
  }
  m.bytes = static_cast<size_t>(whole - available);
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
  const int64_t row = p.row_bytes(), tiles_n = CeilDiv(p.n, s.bn), filters_at = int64_t{memory.slots} * memory.slot, thens_at = filters_at + memory.filters * s.bn * row;
  const TmaProduct* then = p.then.get();
  const int64_t then_bn = then ? ThenColumns(p) : 0, results_at = thens_at + (then ? (memory.then_streams ? s.teams : 1) * memory.then_filters * then_bn * then->row_bytes() : 0), numbers_at = results_at + int64_t{memory.results} * s.teams * memory.result;
  const int64_t places_at = numbers_at + p.tables() * s.bn * 4, barriers_at = places_at + (then ? then->tables() * then->n : s.bm()) * 4;
  const std::pair<const char*, int64_t> numbers[] = {
      {"BM", s.bm()},
      {"WARPS", s.warps()}, {"THREADS", s.threads(p)}, {"TEAMS", s.teams}, {"GROUPS", s.groups}, {"BLOCKS", s.blocks}, {"IN_TURN", s.teams > 1 && (!p.fp8() || p.then)},
      {"SLOTS", memory.slots}, {"SLOT", memory.slot}, {"FILTER_SLOTS", memory.filters}, {"STREAMS", memory.streams},
      {"FILTERS_AT", filters_at}, {"NUMBERS_AT", numbers_at}, {"PLACES_AT", places_at}, {"BARRIERS_AT", barriers_at},
      {"TAPS", p.k_h * p.k_w}, {"K_W", p.k_w}, {"CHUNKS", Chunks(p)}, {"PAD_H", p.pad_h}, {"PAD_W", p.pad_w}, {"OUT_H", p.out_h}, {"OUT_W", p.out_w},
      {"IMAGES", piece.images}, {"PIECES", piece.per_image}, {"LINES", piece.lines}, {"WIDTH", piece.width}, {"BOX_LINES", piece.box_lines}, {"BOX_PIXELS", piece.box_pixels()},
      {"TRAIL", std::max<int64_t>(0, piece.used - piece.box_pixels())}, {"COLUMNS_N", p.n}, {"TILES_N", tiles_n}, {"TABLES", p.tables()}, {"TABLE", p.table}, {"THEN", then != nullptr}, {"PAIR", s.pairs}};
  Generated g;
  for (const auto& [name, value] : numbers) g.source += fmt::format("#define {} {}\n", name, value);
  if (then)
    for (const auto& [name, value] : {std::pair<const char*, int64_t>{"THENS_AT", thens_at}, {"RESULTS_AT", results_at}, {"THEN_NUMBERS_AT", places_at}, {"THEN_SLOTS", memory.then_filters}, {"THEN_STREAMS", memory.then_streams},
                                      {"RESULTS", memory.results}, {"RESULT_SLOT", memory.result}, {"RESULT_PIXELS", ResultPixels(piece)}, {"THEN_N", then->n}, {"THEN_BN", then_bn}, {"THEN_CHUNKS", then->n / then_bn},
                                      {"THEN_STEPS", ThenSteps(p)}, {"THEN_ROW", then->row_bytes()}, {"THEN_TABLES", then->tables()}, {"THEN_TABLE", then->table}, {"THEN_RESIDUAL", then->residual.has_value()}, {"THEN_RINGS", memory.then_streams ? s.teams : 1}, {"LAG", ThenLag(p, s)}})
      g.source += fmt::format("#define {} {}\n", name, value);
  g.source += std::string(kTurned) + (s.pairs ? kPair : kAlone) + std::string(kPlaces) + TmaFunctions(p, s.bn) + (s.pairs ? kClusterFunctions : "");
  if (then) g.source += TmaThenFunctions(p, static_cast<int>(then_bn));
  g.source += fmt::format("extern \"C\" __global__ void __launch_bounds__({}, {}) k({}, i64 images_, i64 backwards, const __grid_constant__ TensorMap a_map, "
                          "const __grid_constant__ TensorMap b_map{}{}) {{\n",
                          s.threads(p), s.resident, TmaParameters(p), then ? ", const __grid_constant__ TensorMap then_map, const __grid_constant__ TensorMap out_map" : "",
                          then && then->residual ? ", const __grid_constant__ TensorMap residual_map" : "");
  g.source += kStart;
  g.source += then ? kKeep + TmaKeep() + kThen + kThenPlaces + TmaThenEpilogue(p, static_cast<int>(then_bn)) + TmaFinish() + kThenEnd : kPlain + TmaFinish() + kEnd;
  BindTmaOperands(p, &g);
  g.sizes = {p.batch};
  g.reverses = true;
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
  const int blocks = s.pairs ? 2 : 1;
  g.maps = {std::move(a), TmaWeightsMap(p, s.bn / blocks)};
  if (then) {
    g.maps.push_back(TmaWeightsMap(*then, static_cast<int>(then_bn) / blocks, ThenWeights(p)));
    TensorMap out;
    out.operand = g.inputs;
    out.type = then->out.dtype;
    const int64_t out_pixel = then->n * static_cast<int64_t>(then->out.size());
    out.dims = {u64(then->n), u64(p.out_w), u64(p.out_h), u64(p.batch)};
    out.strides = {u64(out_pixel), u64(out_pixel * p.out_w), u64(out_pixel * p.out_w * p.out_h)};
    out.box = {u32(then_bn), u32(piece.width), u32(piece.images > 1 ? piece.box_lines : piece.lines), u32(piece.images)};
    out.steps = {1, 1, 1, 1};
    g.maps.push_back(out);
    if (then->residual) {
      out.operand = g.inputs - 1;
      out.type = then->residual->dtype;
      g.maps.push_back(std::move(out));
    }
  }
  g.shared = memory.bytes;
  g.waits = true;
  g.block[0] = static_cast<unsigned>(s.threads(p));
  // Blocks that run at once, with about the same number of tiles each.
  const int64_t turns = CeilDiv(Tiles(p, piece), s.teams * blocks), at_once = std::max<int64_t>(1, int64_t{processors} * s.resident / tiles_n / blocks);
  g.grid[0] = static_cast<unsigned>(tiles_n * CeilDiv(turns, CeilDiv(turns, at_once)));
  g.grid[2] = g.cluster = static_cast<unsigned>(blocks);
  return g;
}

}  // namespace tfengine::cuda
