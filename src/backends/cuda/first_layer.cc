// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/first_layer.h"

#include <algorithm>

#include "backends/cuda/group_product.h"

namespace tfengine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int64_t kMostPixels = 512;

// Sizes that follow from the layer and the cut.
struct Cut {
  int64_t rows, columns;            // of results a block makes
  int64_t conv_rows, conv_columns;  // of the convolution that they need
  int64_t depth;                    // channels in shared memory: pairs of values must start at even places
  int64_t row_terms;                // of a filter row, in whole steps of 8
  int64_t terms;                    // of all rows, in whole steps of 16
  int64_t weight_terms;             // of weights: warp groups read them from rows of 32
  int64_t unit, row_units;          // values of the image that are loaded at once; units of a row of its piece
  bool odd;                         // windows start at odd values of a unit: the piece lies one further
  int64_t image_rows, pitch;        // of the piece
  int64_t block_filters, group;     // tiles of 8 filters whose columns a thread has as neighbours
  bool staged;                      // results go through shared memory, to be pooled
  int64_t tiles;                    // of 16 pixels that a warp multiplies at a time
  int64_t together;                 // pixels of these, of the warps that multiply together: one or four
  int64_t alignment;                // of the weights beyond what shared memory has

  int64_t pixels() const { return conv_rows * conv_columns; }
  int64_t passes() const { return CeilDiv(pixels(), kWarps * 16 * tiles); }
  int64_t weight_bytes() const { return weight_terms * block_filters * 2; }
  int64_t image_bytes() const { return RoundUp(image_rows * pitch * 2, 16); }
  // Of a pixel's results: the vectors that eight lanes write or read fall into different banks.
  int64_t stage_pitch() const { return block_filters % 32 == 0 ? block_filters : block_filters + 8; }
  int64_t shared_bytes() const { return weight_bytes() + image_bytes() + block_filters * 8 + (staged ? RoundUp(pixels(), together) * stage_pitch() * 2 : 0) + alignment; }
  // Blocks of a multiprocessor, by registers: sums and what is loaded ahead take half of them.
  int64_t resident() const { return block_filters <= 32 ? 4 : 2; }
};

Cut CutOf(const FirstLayer& l, int64_t rows, int64_t columns) {
  Cut c;
  c.rows = rows;
  c.columns = columns;
  c.conv_rows = (rows - 1) * l.pool_stride_h + l.pool_h;
  c.conv_columns = (columns - 1) * l.pool_stride_w + l.pool_w;
  c.depth = l.stride_w * l.channels % 2 == 0 ? l.channels : l.channels + 1;
  c.row_terms = RoundUp(l.k_w * c.depth, 8);
  c.terms = RoundUp(l.k_h * c.row_terms, 16);
  c.weight_terms = l.warp_groups ? RoundUp(c.terms, 32) : c.terms;
  c.unit = l.in.size() == 4 ? 4 : 8;
  while (l.in_w * l.channels % c.unit != 0) c.unit /= 2;
  const int64_t columns_in = (c.conv_columns - 1) * l.stride_w + l.k_w;
  c.row_units = CeilDiv(columns_in * l.channels + c.unit - 1, c.unit);
  c.odd = c.depth == l.channels && c.unit > 1 && l.pad_w * l.channels % 2 != 0;
  c.image_rows = (c.conv_rows - 1) * l.stride_h + l.k_h;
  // What is written, and what windows read behind it.
  const int64_t written = (CeilDiv(c.row_units * c.unit, l.channels) + 1) * c.depth;
  c.pitch = RoundUp(std::max(written, (c.conv_columns - 1) * l.stride_w * c.depth + c.row_terms + c.unit), 8);
  c.block_filters = 64;
  while (c.block_filters > 8 && l.filters % c.block_filters != 0) c.block_filters -= 8;
  c.tiles = l.warp_groups ? 1 : 2;
  c.together = (l.warp_groups ? 64 : 16) * c.tiles;
  c.alignment = l.warp_groups ? 512 : 0;
  c.group = c.block_filters % 32 == 0 ? 4 : c.block_filters % 16 == 0 ? 2 : 1;
  c.staged = l.pool_h * l.pool_w > 1;
  return c;
}

// Blocks of a multiprocessor.
int64_t AtOnce(const Cut& c, int architecture) { return std::min(c.resident(), SharedMemory(architecture) / (c.shared_bytes() + 1024)); }

// A guess in clock cycles of a multiprocessor. Only the order counts.
double CostOf(const FirstLayer& l, const Cut& c, int architecture, int processors) {
  const auto n = [](int64_t v) { return static_cast<double>(v); };
  const double blocks = n(l.batch * CeilDiv(l.pooled_h, c.rows) * CeilDiv(l.pooled_w, c.columns) * (l.filters / c.block_filters));
  const double tiles = n(RoundUp(c.pixels(), c.together)) / 32, steps = n(c.terms / 16), columns = n(c.block_filters / 8);
  // Products wait for shared memory; then what a thread does with its sums, loads and pooling.
  const double products = tiles * steps * (l.warp_groups ? 2 * columns + 2 : 3 * columns + 8), sums = tiles * columns * 14;
  const double units = n(c.image_rows * c.row_units), loads = units * (8 + 6 * n(c.unit)) / 128 + units * n(c.unit) * n(l.in.size()) / 34;
  const double pool = c.staged ? n(c.rows * c.columns) * columns / 32 * n(l.pool_h * l.pool_w) * 5 : 0;
  const double work = products + sums + loads + pool + 300;
  const double latency = 2500 + n(c.passes()) * (steps * 40 + 300);
  const double each = std::ceil(blocks / processors), at_once = n(AtOnce(c, architecture));
  return each * work + std::ceil(each / at_once) * latency;
}

// The cut with the least work on the busiest multiprocessor; nullopt: none fits.
std::optional<Cut> BestCut(const FirstLayer& l, int architecture, int processors) {
  std::optional<Cut> best;
  double least = 0;
  for (int64_t rows = 1; rows <= std::min<int64_t>(l.pooled_h, 32); ++rows)
    for (int64_t columns = 1; columns <= std::min<int64_t>(l.pooled_w, 128); ++columns) {
      const Cut c = CutOf(l, rows, columns);
      if (c.pixels() > kMostPixels || c.shared_bytes() > SharedMemory(architecture) / 2 - 1024) continue;
      const double cost = CostOf(l, c, architecture, processors);
      if (best && cost >= least) continue;
      best = c;
      least = cost;
    }
  return best;
}

constexpr char kBody[] = R"cuda(
__forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__forceinline__ void mma(float* c, const unsigned* a, uint2 b) {
  asm volatile(MMA "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
}
__forceinline__ unsigned most(unsigned a, unsigned b) {
  unsigned r;
  asm("max." PAIR " %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}
// Where a pixel's results from channel ch on are staged.
__forceinline__ int place(int pixel, int ch) { return pixel * STAGE_PITCH + (FILTERS % 64 == 0 ? ch ^ (pixel & 1) * 32 : ch); }
extern "C" __global__ void __launch_bounds__(256, RESIDENT) k(const IN* __restrict__ image, const T* __restrict__ weights, PARAMETERS OUT* __restrict__ out, i64 n) {
  extern __shared__ __align__(16) u8 raw_memory[];
  u8* const memory = raw_memory + (WARP_GROUPS ? -shared_address(raw_memory) & 511 : 0);
  T* const ws = (T*)memory;
  T* const piece = (T*)(memory + WEIGHT_BYTES);
  float* const numbers = (float*)(memory + WEIGHT_BYTES + IMAGE_BYTES);  // scales and biases: there, they do not take registers early
  STAGED* const stage = (STAGED*)(numbers + NUMBERS * FILTERS);
  const int tid = threadIdx.x, lane = tid & 31, warp = tid / 32, pair = lane % 4 * 2;
  for (int i = tid; i < WEIGHT_BYTES / 16; i += 256)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(memory + i * 16)), "l"((const u8*)weights + (i64)blockIdx.y * WEIGHT_BYTES + i * 16) : "memory");
  asm volatile("cp.async.commit_group;" ::: "memory");
  if (tid < FILTERS) { KEEP_NUMBERS }
  after_previous();
  // Rows of a tile's piece of the image, in units that lie either in the image or outside it; all loads before the first use.
  constexpr int kUnits = IMAGE_ROWS * ROW_UNITS, kRounds = (kUnits + 255) / 256, kBatch = kRounds < 8 ? kRounds : 8;
  vec<IN, UNIT> loaded[kBatch];
  auto load = [&](int tile, int round) {
    const int first_y = (tile / TILES_X % TILES_Y * ROWS * POOL_SH - POOL_PH) * SH - PH, start = ((tile % TILES_X * COLUMNS * POOL_SW - POOL_PW) * SW - PW) * CHANNELS & -UNIT;
    const IN* from = image + (i64)(tile / (TILES_X * TILES_Y)) * (IN_H * IN_W * CHANNELS);
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = (round + b) * 256 + tid, y = first_y + i / ROW_UNITS, at = start + i % ROW_UNITS * UNIT;
#pragma unroll
      for (int e = 0; e < UNIT; ++e) loaded[b].v[e] = BLANK;
      if (i < kUnits && (unsigned)y < IN_H && (unsigned)at < IN_W * CHANNELS) loaded[b] = *(const vec<IN, UNIT>*)(from + y * (IN_W * CHANNELS) + at);
    }
  };
  load(blockIdx.x, 0);
  for (int tile = blockIdx.x; tile < (int)n * (TILES_X * TILES_Y); tile += gridDim.x) {
    const int tile_x = tile % TILES_X, tile_y = tile / TILES_X % TILES_Y;
    const i64 picture = tile / (TILES_X * TILES_Y);
    const int conv_y = tile_y * ROWS * POOL_SH - POOL_PH, conv_x = tile_x * COLUMNS * POOL_SW - POOL_PW;
    const int first = (conv_x * SW - PW) * CHANNELS, shift = first - (first & -UNIT);
#pragma unroll 1
    for (int round = 0; round < kRounds; round += kBatch) {
      if (round > 0) load(tile, round);
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int i = (round + b) * 256 + tid, row = i / ROW_UNITS, at = i % ROW_UNITS * UNIT;
        vec<T, UNIT> values;
#pragma unroll
        for (int e = 0; e < UNIT; ++e) values.v[e] = value(loaded[b].v[e]);
        T* const to = piece + row * PITCH + at;
#if ODD
        // One further: vectors begin with the last value of the unit in front, which the lane in front has.
        vec<T, UNIT> moved;
        moved.v[0].b = (u16)__shfl_up_sync(0xffffffffu, (unsigned)values.v[UNIT - 1].b, 1);
#pragma unroll
        for (int e = 1; e < UNIT; ++e) moved.v[e] = values.v[e - 1];
        if (i >= kUnits) continue;
        if (lane > 0) {
          *(vec<T, UNIT>*)to = moved;
        } else {
#pragma unroll
          for (int e = 1; e < UNIT; ++e) to[e] = moved.v[e];
        }
        if (lane == 31 || i % ROW_UNITS == ROW_UNITS - 1) to[UNIT] = values.v[UNIT - 1];
#else
        if (i >= kUnits) continue;
        if (DEPTH == CHANNELS) {
          *(vec<T, UNIT>*)to = values;
          continue;
        }
#pragma unroll
        for (int e = 0; e < UNIT; ++e) {
          const int in = at + e - shift;
          if (in < 0) continue;
          T* const spread = piece + row * PITCH + in / CHANNELS * DEPTH + in % CHANNELS;
          spread[0] = values.v[e];
          if (in % CHANNELS == CHANNELS - 1) spread[1] = value(BLANK);
        }
#endif
      }
    }
    asm volatile("cp.async.wait_group 0;" ::: "memory");
#if WARP_GROUPS
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    // Weights: rows of 32 terms, 16-byte columns exchanged by the row's number; filters lie in groups of 8.
    const u64 b = ((u64)2 << 62) | ((u64)32 << 32) | ((u64)1 << 16) | ((shared_address(memory) & 0x3ffff) >> 4);
#endif
    __syncthreads();
    // The last terms of a filter row are not the window's: they belong to pixels behind it, and count as 0 whatever they are.
    const int left = KW * DEPTH % 8 - pair;
    const unsigned mask = KW * DEPTH % 8 == 0 || left >= 2 ? 0xffffffffu : left == 1 ? 0xffffu : 0u;
    const T* const windows = piece + pair + (DEPTH == CHANNELS ? shift + ODD : 0);
#pragma unroll 1
    for (int start = warp / (TOGETHER / (16 * TILES)) * TOGETHER; start < PIXELS; start += 128 * TILES) {
      const int base = start + warp % (TOGETHER / (16 * TILES)) * (16 * TILES);
      const T* window[TILES][2];
      int to[TILES][2];  // in the picture's result; < 0: nowhere
#pragma unroll
      for (int t = 0; t < TILES; ++t)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int pixel = base + t * 16 + h * 8 + lane / 4, p = min(pixel, PIXELS - 1), y = p / CONV_COLUMNS, x = p % CONV_COLUMNS;
          window[t][h] = windows + y * SH * PITCH + x * SW * DEPTH;
          to[t][h] = conv_y + y < CONV_H && conv_x + x < CONV_W && pixel < PIXELS ? ((conv_y + y) * CONV_W + conv_x + x) * ALL_FILTERS : -1;
        }
      float acc[TILES][FILTERS / 8][4];
#pragma unroll
      for (int t = 0; t < TILES; ++t)
#pragma unroll
        for (int j = 0; j < FILTERS / 8; ++j) acc[t][j][0] = acc[t][j][1] = acc[t][j][2] = acc[t][j][3] = 0;
      unsigned a[2][TILES][4];
#pragma unroll
      for (int q = 0; q < TERMS / 16; ++q) {
#pragma unroll
        for (int t = 0; t < TILES; ++t)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const int term = q * 16 + r / 2 * 8, ky = term / ROW_TERMS, kk = term % ROW_TERMS;
            a[q % 2][t][r] = 0;
            if (ky < KH) {
              a[q % 2][t][r] = *(const unsigned*)(window[t][r % 2] + ky * PITCH + kk);
              if (kk + 8 == ROW_TERMS && KW * DEPTH % 8 != 0) a[q % 2][t][r] &= mask;
            }
          }
#if WARP_GROUPS
        start_products();
#pragma unroll
        for (int t = 0; t < TILES; ++t) multiply(acc[t], a[q % 2][t], b + q / 2 * (FILTERS * 4) + q % 2 * 2, 1);
        commit_products();
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");  // those whose pixels are replaced next
#else
#pragma unroll
        for (int j = 0; j < FILTERS / 8; ++j) {
          const uint2 b = *(const uint2*)(ws + ((q * (FILTERS / 8) + j) * 32 + lane) * 4);
#pragma unroll
          for (int t = 0; t < TILES; ++t) mma(acc[t][j], a[q % 2][t], b);
        }
#endif
      }
#if WARP_GROUPS
      await_products();
#pragma unroll
      for (int t = 0; t < TILES; ++t)
#pragma unroll
        for (int j = 0; j < FILTERS / 8; ++j) asm volatile("" : "+f"(acc[t][j][0]), "+f"(acc[t][j][1]), "+f"(acc[t][j][2]), "+f"(acc[t][j][3]) :: "memory");
#endif
      // Columns of GROUP tiles are neighbouring channels.
#pragma unroll
      for (int g = 0; g < FILTERS / 8 / GROUP; ++g) {
        const int ch = g * 8 * GROUP + lane % 4 * 2 * GROUP;
        CHANNEL_NUMBERS
#pragma unroll
        for (int t = 0; t < TILES; ++t)
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            vec<STAGED, 2 * GROUP> r;
#pragma unroll
            for (int e = 0; e < 2 * GROUP; ++e) {
              float z = acc[t][g * GROUP + e / 2][2 * h + e % 2];
              FINISH
              r.v[e] = (STAGED)STORED;
            }
            if (POOLED) *(vec<STAGED, 2 * GROUP>*)(stage + place(base + t * 16 + h * 8 + lane / 4, ch)) = r;
            else if (to[t][h] >= 0) *(vec<STAGED, 2 * GROUP>*)((STAGED*)out + picture * (CONV_H * CONV_W * ALL_FILTERS) + to[t][h] + blockIdx.y * FILTERS + ch) = r;
          }
      }
    }
    __syncthreads();
    const int next = tile + gridDim.x;
    if (next < (int)n * (TILES_X * TILES_Y)) load(next, 0);
    if (!POOLED) continue;
    // A thread pools two rows: what both read it reads once.
    for (int i = tid; i < (ROWS + 1) / 2 * COLUMNS * (FILTERS / 8); i += 256) {
      const int ch = i % (FILTERS / 8) * 8, x = i / (FILTERS / 8) % COLUMNS, y = i / (FILTERS / 8) / COLUMNS * 2, to_x = tile_x * COLUMNS + x;
      if (to_x >= OUT_W) continue;
      uint4 best[2] = {{LOWEST, LOWEST, LOWEST, LOWEST}, {LOWEST, LOWEST, LOWEST, LOWEST}};
#pragma unroll
      for (int dy = 0; dy < POOL_SH + POOL_H; ++dy) {
        const int line = y * POOL_SH + dy;
        if ((unsigned)(conv_y + line) >= CONV_H || line >= CONV_ROWS) continue;
#pragma unroll
        for (int dx = 0; dx < POOL_W; ++dx) {
          const int column = x * POOL_SW + dx;
          if ((unsigned)(conv_x + column) >= CONV_W) continue;
          const uint4 v = *(const uint4*)(stage + place(line * CONV_COLUMNS + column, ch));
#pragma unroll
          for (int r = 0; r < 2; ++r)
            if (dy >= r * POOL_SH && dy < r * POOL_SH + POOL_H)
              best[r].x = most(best[r].x, v.x), best[r].y = most(best[r].y, v.y), best[r].z = most(best[r].z, v.z), best[r].w = most(best[r].w, v.w);
        }
      }
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int to_y = tile_y * ROWS + y + h;
        if (y + h >= ROWS || to_y >= OUT_H) continue;
        const uint4 r = best[h];
        OUT* const to = out + ((picture * OUT_H + to_y) * OUT_W + to_x) * ALL_FILTERS + blockIdx.y * FILTERS + ch;
        POOLED_STORE
      }
    }
  }
}
)cuda";

// The conversion of a value of the image to what is multiplied, as a function.
std::string ValueCode(const FirstLayer& l) {
  const Elem type{l.type};
  std::string body;
  if (!l.codes) {
    body = l.in.dtype == l.type ? "return v;" : fmt::format("return {};", type.Store(l.in.Load("v")));
  } else if (l.in.quant.quantized()) {
    body = fmt::format("return to_f16(__uint_as_float(0x4b000000u | v) - {}.0f);", 8388608 + l.codes->quant.zero);
  } else {
    // As to_code() rounds. Adding and taking away 1.5 x 2^23 rounds to whole numbers; a product with the inverse is as good as
    // the quotient but near a tie.
    const Quant& q = l.codes->quant;
    body = fmt::format(
        "const float x = {}, t = fminf(fmaxf(x * {}, {}.0f - 0.25f), {}.0f + 0.25f);\n  float c = (t + 12582912.0f) - 12582912.0f;\n"
        "  if (fabsf(t - c) > 0.4998f) c = rintf(__fdiv_rn(x, {}));\n  return to_f16(x != x ? 0.0f : c);",
        l.in.Load("v"), Literal(1 / static_cast<double>(q.scale), "float"), l.codes->lo - q.zero, l.codes->hi - q.zero, Literal(q.scale, "float"));
  }
  return fmt::format("__forceinline__ T value(IN v) {{\n  {}\n}}\n", body);
}

}  // namespace

bool FirstLayer::in_steps() const { return codes && out.quant.quantized() && act.empty(); }

bool FirstLayer::Fits(int architecture, int processors) const {
  constexpr int64_t kMost = int64_t{1} << 31;
  // Sums of products of codes are exact below 2^24.
  constexpr int64_t kMostTerms = (int64_t{1} << 24) / (255 * 127);
  if (type != DType::kFloat16 && (type != DType::kBfloat16 || codes)) return false;
  if (codes && (k_h * k_w * channels > kMostTerms || codes->quant.zero < codes->lo || codes->quant.zero > codes->hi)) return false;
  if (pool_h * pool_w > 1 && out.size() == 4) return false;
  return architecture >= 80 && channels >= 1 && channels <= 4 && filters % 8 == 0 && k_h * k_w > 1 && in_h * in_w * channels < kMost &&
         out_h * out_w * filters < kMost && batch > 0 && batch * out_h * out_w < kMost && pooled_h > 0 && pooled_w > 0 && BestCut(*this, architecture, processors);
}

int64_t FirstLayer::WeightCount() const { return CutOf(*this, 1, 1).weight_terms * filters; }

void FirstLayer::FillWeights(const float* filter, float* to) const {
  const Cut c = CutOf(*this, 1, 1);
  // The filters of columns 2 t and 2 t + 1 of every tile of a group are neighbours: those of thread t.
  auto value = [&](int64_t block, int64_t term, int64_t j, int64_t column) {
    const int64_t ky = term / c.row_terms, kk = term % c.row_terms, kx = kk / c.depth, ch = kk % c.depth;
    const int64_t k = block * c.block_filters + ColumnOfRow(j * 8 + column, 2 * c.group);
    const bool real = ky < k_h && kx < k_w && ch < channels;
    return real ? filter[((ky * k_w + kx) * channels + ch) * filters + k] : 0.0f;
  };
  for (int64_t block = 0; block < filters / c.block_filters; ++block) {
    if (warp_groups) {
      // [32 terms][filter][32], eight terms exchanged by the filter's number as wgmma's 64 byte swizzle has it.
      for (int64_t i = 0; i < c.weight_terms * c.block_filters; ++i) {
        const int64_t row = i / 32, n = row % c.block_filters, term = row / c.block_filters * 32 + ((i / 8 ^ n / 2) % 4) * 8 + i % 8;
        *to++ = value(block, term, n / 8, n % 8);
      }
      continue;
    }
    // [step of 16][8 filters][lane][4]: what lane l multiplies with column l / 4: terms l % 4 * 2 + {0, 1, 8, 9}.
    for (int64_t q = 0; q < c.terms / 16; ++q)
      for (int64_t j = 0; j < c.block_filters / 8; ++j)
        for (int64_t lane = 0; lane < 32; ++lane)
          for (int64_t e = 0; e < 4; ++e) *to++ = value(block, q * 16 + lane % 4 * 2 + e % 2 + e / 2 * 8, j, lane / 4);
  }
}

Generated FirstLayerCode(const FirstLayer& l, int architecture, int processors) {
  const Cut c = *BestCut(l, architecture, processors);
  const bool half = l.type == DType::kFloat16, codes = l.out.quant.quantized();
  const int64_t tiles_y = CeilDiv(l.pooled_h, c.rows), tiles_x = CeilDiv(l.pooled_w, c.columns);
  Generated g;
  g.source = fmt::format("#define T {0}\n#define IN {1}\n#define OUT {2}\n#define STAGED {3}\n#define MMA \"mma.sync.aligned.m16n8k16.row.col.f32.{0}.{0}.f32 \"\n", half ? "f16" : "bf16",
                         l.in.storage(), l.out.storage(), c.staged && codes ? "u16" : l.out.storage());
  // Codes in 16 bits are ordered like the small f16 numbers with their bits.
  g.source += fmt::format("#define PAIR \"{}x2\"\n#define LOWEST {}\n", half || codes ? "f16" : "bf16", codes ? "0u" : half ? "0xfc00fc00u" : "0xff80ff80u");
  g.source += fmt::format("#define BLANK {}\n", l.in.quant.quantized() ? fmt::format("{}", l.in.quant.zero) : l.in.Store("0.0f"));
  std::string parameters, keep, numbers_of, finish;
  int kept = 0;
  for (const char* name : {"scale", "bias"}) {
    if (*name == 's' ? !l.codes : !l.bias) continue;
    parameters += fmt::format("const float* __restrict__ {}, ", name);
    keep += fmt::format("numbers[{} * FILTERS + tid] = {}[blockIdx.y * FILTERS + tid]; ", kept, name);
    numbers_of += fmt::format("const vec<float, 2 * GROUP> {}_of = *(const vec<float, 2 * GROUP>*)(numbers + {} * FILTERS + ch); ", name, kept++);
    finish += *name == 's' ? "z *= scale_of.v[e]; " : "z += bias_of.v[e]; ";
  }
  if (!l.act.empty()) finish += fmt::format("{{ typedef float W; const W x = z; z = {}; }}", l.act);
  std::string stored = l.out.Store("z");
  if (l.in_steps()) {  // rounded by adding 1.5 x 2^23, whose bits end in the code then
    const int zero = l.out.quant.zero;
    stored = fmt::format("(__float_as_uint(fminf(fmaxf(z, {}.0f), {}.0f) + 12582912.0f) + {}u)", l.out.lo - zero, l.out.hi - zero, static_cast<uint32_t>(zero - 0x4b400000));
  }
  g.source += fmt::format("#define PARAMETERS {}\n#define NUMBERS {}\n#define KEEP_NUMBERS {}\n#define CHANNEL_NUMBERS {}\n#define FINISH {}\n#define STORED {}\n", parameters, kept, keep, numbers_of, finish, stored);
  g.source += fmt::format("#define POOLED_STORE {}\n", codes ? "const uint2 packed = {((r.x | r.x >> 8) & 0xffff) | (r.y | r.y >> 8) << 16, ((r.z | r.z >> 8) & 0xffff) | (r.w | r.w >> 8) << 16}; *(uint2*)to = packed;"
                                                              : "*(uint4*)to = r;");
  const std::pair<const char*, int64_t> numbers[] = {
      {"WEIGHT_BYTES", c.weight_bytes()}, {"IMAGE_BYTES", c.image_bytes()}, {"TILES_X", tiles_x}, {"TILES_Y", tiles_y}, {"ROWS", c.rows}, {"COLUMNS", c.columns},
      {"POOL_H", l.pool_h}, {"POOL_W", l.pool_w}, {"POOL_SH", l.pool_stride_h}, {"POOL_SW", l.pool_stride_w}, {"POOL_PH", l.pool_pad_h}, {"POOL_PW", l.pool_pad_w},
      {"SH", l.stride_h}, {"SW", l.stride_w}, {"PH", l.pad_h}, {"PW", l.pad_w}, {"KH", l.k_h}, {"KW", l.k_w}, {"IN_H", l.in_h}, {"IN_W", l.in_w}, {"CHANNELS", l.channels},
      {"DEPTH", c.depth}, {"IMAGE_ROWS", c.image_rows}, {"PITCH", c.pitch}, {"UNIT", c.unit}, {"ROW_UNITS", c.row_units}, {"ODD", c.odd}, {"PIXELS", c.pixels()},
      {"CONV_ROWS", c.conv_rows}, {"CONV_COLUMNS", c.conv_columns}, {"TERMS", c.terms}, {"ROW_TERMS", c.row_terms}, {"FILTERS", c.block_filters}, {"GROUP", c.group}, {"ALL_FILTERS", l.filters},
      {"STAGE_PITCH", c.stage_pitch()}, {"WARP_GROUPS", l.warp_groups}, {"TILES", c.tiles}, {"TOGETHER", c.together}, {"POOLED", c.staged}, {"RESIDENT", c.resident()}, {"CONV_H", l.out_h}, {"CONV_W", l.out_w}, {"OUT_H", l.pooled_h}, {"OUT_W", l.pooled_w}};
  for (const auto& [name, value] : numbers) g.source += fmt::format("#define {} {}\n", name, value);
  if (l.warp_groups) g.source += kGroupProducts + GroupProduct("multiply", c.block_filters, half ? "f16" : "bf16", true, false);
  g.source += ValueCode(l) + kBody;
  g.inputs = 2;
  g.bound.push_back({1, l.weights, true});
  if (l.codes) g.bound.push_back({g.inputs++, l.scale_buffer, false});
  if (l.bias) g.bound.push_back({g.inputs++, l.bias_buffer, false});
  g.block[0] = 256;
  // Blocks stay, with their weights, and take tile after tile.
  const int64_t tiles = l.batch * tiles_y * tiles_x, columns = l.filters / c.block_filters;
  g.grid[0] = static_cast<unsigned>(CeilDiv(tiles, CeilDiv(tiles, std::max<int64_t>(1, processors * AtOnce(c, architecture) / columns))));
  g.grid[1] = static_cast<unsigned>(columns);
  g.sizes = {l.batch};
  g.shared = static_cast<size_t>(c.shared_bytes());
  g.waits = true;
  return g;
}

}  // namespace tfengine::cuda
