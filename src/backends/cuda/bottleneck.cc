// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/bottleneck.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <set>
#include <utility>

#include "backends/ref/element.h"

namespace tfengine::cuda {
namespace {

constexpr int64_t kMostRows = 16;  // and columns, of results a block makes

// Tiles of 8 filters whose columns a thread has as neighbours, given the tiles of a warp.
int64_t GroupOf(int64_t tiles) { return tiles % 4 == 0 ? 4 : 2; }

// [step of 16 terms][pair of tiles][lane][8]: what lane l multiplies with column l / 4 of two tiles: terms l % 4 * 2 + {0, 1, 8, 9}.
// Columns of a thread are neighbouring filters.
template <class Weight>
float* FillTiles(int64_t terms, int64_t tiles, int64_t group, float* to, const Weight& weight) {
  for (int64_t q = 0; q < terms / 16; ++q)
    for (int64_t pair = 0; pair < tiles / 2; ++pair)
      for (int64_t lane = 0; lane < 32; ++lane)
        for (int64_t e = 0; e < 8; ++e) *to++ = weight(q * 16 + lane % 4 * 2 + e % 2 + e % 4 / 2 * 8, ColumnOfRow((pair * 2 + e / 4) * 8 + lane / 4, 2 * group));
  return to;
}

// How much of an image a tile of the depthwise convolution can need: all of it, where one tile covers it.
int64_t MostRead(int64_t wide, int64_t in, int64_t tiles, int64_t pad) { return std::max<int64_t>(1, std::min(in, tiles == 1 ? wide - pad : wide)); }

// How many times as long as without conflicts the reads of shared memory for the taps take.
double ConflictsOf(const Bottleneck& b, const BottleneckPlan& p) {
  std::array<int, 32> hits{};
  for (int64_t lane = 0; lane < 32; ++lane) {
    const int64_t strip = lane / (p.chunk / 2), across = p.columns / p.strip_columns;
    const int64_t pixel = strip / across * p.strip_rows * b.stride_h * p.wide_columns + strip % across * p.strip_columns * b.stride_w;
    ++hits[static_cast<size_t>((pixel * p.wide_pitch() / 2 + lane % (p.chunk / 2)) % 32)];
  }
  return *std::max_element(hits.begin(), hits.end());
}

// A guess in clock cycles of a multiprocessor. Only the order counts.
double CostOf(const Bottleneck& b, const BottleneckPlan& p, int architecture, int processors) {
  const auto n = [](int64_t v) { return static_cast<double>(v); };
  // The mean of what must be done and what is done if warps without work leave a gap.
  const auto spread = [&](int64_t items, int64_t at_once) { return 0.5 * n(items + RoundUp(items, at_once)); };
  constexpr double kProduct = 1.6, kSharedBytes = 128, kGlobalBytes = 40, kMemoryBytes = 13;  // cycles of a product of tiles; bytes a cycle
  const int64_t steps = p.channels / 16, chunk_steps = p.chunk / 16;
  double chunk = n(p.expand_weights() + p.project_weights()) * 2 / kGlobalBytes;
  if (p.expands) {
    const double products = n(p.tiles * p.chunk / 8 * steps) * kProduct, reads = n((p.tiles + chunk_steps) * steps * 4 + p.tiles * p.chunk / 4), sums = n(p.tiles * p.chunk / 2) * 1.2;
    chunk += spread(p.read_tiles() / p.tiles, p.warps) * 1.2 * std::max({products, reads, sums});
  }
  const int64_t loads = ((p.strip_rows - 1) * b.stride_h + b.k_h) * ((p.strip_columns - 1) * b.stride_w + b.k_w), results = p.strip_rows * p.strip_columns;
  const double issue = n(loads * 3 + results * (2 * p.taps + 14) + p.taps + 20) / 4, reads = n(loads) * ConflictsOf(b, p) + n(2 * p.taps + results);
  chunk += spread(CeilDiv(p.strips() * p.chunk / 2, 32), p.warps) * 1.2 * std::max(issue, reads);
  if (p.projects) {
    const int64_t down = p.tiles_down(), across = p.tiles_across();
    chunk += n(p.warps * chunk_steps) * 1.2 * std::max(n(down * across) * kProduct, n(down + across / 2) * 4);
  }
  const int64_t mine = CeilDiv(p.chunks(), p.splits), written = p.projects ? b.filters : mine * p.chunk, read = p.expands ? b.channels : b.expanded;
  const double bytes = n(p.read_pixels() * read * 2) / kGlobalBytes + n(p.pixels() * (written + read * b.stride_h * b.stride_w) * 2) / kMemoryBytes;
  const double work = n(mine) * chunk + bytes + (p.expands ? n(p.wide_bytes()) / kSharedBytes : 0) + (p.projects ? n(p.pixels() * b.filters) / (p.shares_sums() ? 8 : 16) : 0) + 300;
  const double latency = 2500 + n(mine) * n(700 + steps * 30) + (p.shares_sums() ? 1200 : 0);
  const double blocks = n(CeilDiv(b.batch, p.images) * CeilDiv(b.out_h, p.rows) * CeilDiv(b.out_w, p.columns) * p.splits);
  const double each = std::ceil(blocks / processors), at_once = n(p.resident(architecture));
  // Few warps leave gaps that nobody fills.
  const double busy = std::min(1.0, 0.2 + n(p.warps) * std::min(at_once, each) / 20);
  return each * work / busy + std::ceil(each / at_once) * latency;
}

// Sizes that follow from a rectangle.
BottleneckPlan PlanOf(const Bottleneck& b, int64_t rows, int64_t columns) {
  BottleneckPlan p;
  p.rows = rows, p.columns = columns;
  p.expands = b.expands, p.projects = b.projects;
  p.read_channels = b.channels, p.channels = RoundUp(b.channels, 16), p.expanded = b.expanded, p.filters = b.filters, p.taps = b.k_h * b.k_w;
  p.wide_rows = (rows - 1) * b.stride_h + b.k_h;
  p.wide_columns = (columns - 1) * b.stride_w + b.k_w;
  p.read_rows = MostRead(p.wide_rows, b.in_h, CeilDiv(b.out_h, rows), b.pad_h);
  p.read_columns = MostRead(p.wide_columns, b.in_w, CeilDiv(b.out_w, columns), b.pad_w);
  p.k_w = b.k_w, p.stride_w = b.stride_w;
  return p;
}

// Calls `visit` with the divisors of n up to `most`.
template <class Visit>
void Divisors(int64_t n, int64_t most, const Visit& visit) {
  for (int64_t d = 1; d <= std::min(n, most); ++d)
    if (n % d == 0) visit(d);
}

// A plan and what it is guessed to take.
struct Guess {
  BottleneckPlan plan;
  double cost = 0;
};

// The best ways to do one rectangle, one of a name.
void AddGuesses(const Bottleneck& b, BottleneckPlan p, int architecture, int processors, std::vector<Guess>* guesses) {
  constexpr int64_t kMostStrip = 16, kMostRegisters = 232, kMostImages = 4, kMostCluster = 8;
  const bool whole = p.rows >= b.out_h && p.columns >= b.out_w;
  // The best of those that differ in what has no name.
  auto add = [&] {
    std::optional<Guess> best;
    for (p.tiles = 1; p.tiles <= (b.expands ? 2 : 1); ++p.tiles)
      Divisors(p.rows, kMostStrip, [&](int64_t strip_rows) {
        Divisors(p.columns, kMostStrip / strip_rows, [&](int64_t strip_columns) {
          p.strip_rows = strip_rows, p.strip_columns = strip_columns;
          for (p.warps_across = 1; p.warps_across <= (b.projects ? p.warps : 1); p.warps_across *= 2) {
            if (p.registers() > kMostRegisters || p.shared_bytes() > SharedMemory(architecture) - 1024) continue;
            const double cost = CostOf(b, p, architecture, processors);
            if (!best || cost < best->cost) best = Guess{p, cost};
          }
        });
      });
    if (best) guesses->push_back(*best);
  };
  for (p.images = 1; p.images <= (whole ? std::min(kMostImages, b.batch) : 1); p.images *= 2)
    for (const int64_t chunk : {32, 48, 64}) {
      if (chunk >= b.expanded + 32) continue;
      p.chunk = chunk;
      const int64_t most_splits = !b.projects ? p.chunks() : architecture >= 90 ? std::min(kMostCluster, p.chunks()) : 1;
      for (p.splits = 1; p.splits <= most_splits; p.splits *= 2)
        for (p.warps = 4; p.warps <= 8; p.warps *= 2) add();
    }
}

bool IsPossible(const Bottleneck& b, int architecture) {
  constexpr int64_t kMostBatch = int64_t{1} << 28, kMostTaps = 7;
  if (architecture < 80 || (b.type != DType::kFloat16 && b.type != DType::kBfloat16)) return false;
  if (b.batch <= 0 || b.batch >= kMostBatch || b.out_h <= 0 || b.out_w <= 0 || b.in_h <= 0 || b.in_w <= 0) return false;
  if (b.channels % 8 != 0 || b.expanded % 8 != 0 || b.filters % 8 != 0 || b.expanded <= 0 || (b.expands && b.channels <= 0) || (b.projects && b.filters <= 0)) return false;
  return b.k_h <= kMostTaps && b.k_w <= kMostTaps && b.stride_h <= 2 && b.stride_w <= 2;
}

std::string NameOfRectangle(int64_t rows, int64_t columns) { return fmt::format("bottleneck{}x{}c", rows, columns); }

// Everything that can be run, best guess first. `name`: only the rectangle that a plan of this name has, to be quick.
std::vector<Guess> AllGuesses(const Bottleneck& b, int architecture, int processors, const std::string& name = "") {
  std::vector<Guess> guesses;
  if (!IsPossible(b, architecture)) return guesses;
  // One more row only where it saves a tile.
  auto useful = [](int64_t size, int64_t out) { return size == 1 || CeilDiv(out, size) < CeilDiv(out, size - 1); };
  for (int64_t rows = 1; rows <= std::min(b.out_h, kMostRows); ++rows)
    for (int64_t columns = 1; columns <= std::min(b.out_w, kMostRows); ++columns)
      if (useful(rows, b.out_h) && useful(columns, b.out_w) && (name.empty() || name.rfind(NameOfRectangle(rows, columns), 0) == 0)) AddGuesses(b, PlanOf(b, rows, columns), architecture, processors, &guesses);
  std::stable_sort(guesses.begin(), guesses.end(), [](const Guess& a, const Guess& c) { return a.cost < c.cost; });
  return guesses;
}

constexpr char kFunctions[] = R"cuda(
__forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
// Copies 16 bytes, or writes zeros.
__forceinline__ void copy16(void* to, const void* from, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
}
// Has all threads copy a piece of memory.
template <int BYTES> __forceinline__ void copy(void* to, const void* from) {
  const unsigned target = shared_address(to) + threadIdx.x * 16;
  const u8* source = (const u8*)from + threadIdx.x * 16;
#pragma unroll
  for (int i = 0; i < BYTES; i += THREADS * 16) {
    if (threadIdx.x * 16 + i >= BYTES) break;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target + i), "l"(source + i) : "memory");
  }
}
__forceinline__ void await() {
  asm volatile("cp.async.commit_group;" ::: "memory");
  asm volatile("cp.async.wait_group 0;" ::: "memory");
}
__forceinline__ void mma(float* c, const unsigned* a, unsigned b0, unsigned b1) {
  asm volatile(MMA "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__forceinline__ void ldmatrix(unsigned* r, unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from));
}
__forceinline__ unsigned pack(float low, float high) {
  unsigned r;
  asm("cvt.rn.TYPEx2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
__forceinline__ float unpack(unsigned v, int e) {
  T h;
  h.b = (u16)(v >> 16 * e);
  return up(h);
}
__forceinline__ unsigned at_least(unsigned v, unsigned bound) {
  unsigned r;
  asm("max.NaN.TYPEx2 %0, %1, %2;" : "=r"(r) : "r"(v), "r"(bound));
  return r;
}
__forceinline__ unsigned at_most(unsigned v, unsigned bound) {
  unsigned r;
  asm("min.NaN.TYPEx2 %0, %1, %2;" : "=r"(r) : "r"(v), "r"(bound));
  return r;
}
typedef float W;
)cuda";

// A pair of sums as it is stored. Bounds are cheaper for both at once, after rounding.
std::string ActivationCode(const char* name, const BottleneckActivation& act, DType type) {
  auto bound = [&](float v) { return fmt::format("{}u", 0x10001u * (type == DType::kFloat16 ? ref::FloatToHalf(v) : ref::FloatToBfloat16(v))); };
  std::string code = "pack(f(low), f(high))";
  if (std::isfinite(act.lo)) code = fmt::format("at_least({}, {})", code, bound(act.lo));
  if (std::isfinite(act.hi)) code = fmt::format("at_most({}, {})", code, bound(act.hi));
  return fmt::format("__forceinline__ unsigned {}(float low, float high) {{\n  auto f = [](float x) {{ return {}; }};\n  return {};\n}}\n", name, act.expression.empty() ? "x" : act.expression, code);
}

// Expands pixels: products of a few tiles of 16 pixels with a chunk's filters. What lies outside of the image stays zero.
constexpr char kExpand[] = R"cuda(
__forceinline__ void expand(T* wide, unsigned piece, const T* weights, const float* bias, const int* places, int warp, int lane) {
#pragma unroll 1
  for (int item = warp; item < READ_TILES / TILES; item += WARPS) {
    float acc[TILES][CHUNK / 8][4];
#pragma unroll
    for (int g = 0; g < CHUNK / 16; ++g) {
      const float4 start = *(const float4*)(bias + g * 16 + lane % 4 * 4);
#pragma unroll
      for (int i = 0; i < TILES; ++i) {
        acc[i][2 * g][0] = acc[i][2 * g][2] = start.x, acc[i][2 * g][1] = acc[i][2 * g][3] = start.y;
        acc[i][2 * g + 1][0] = acc[i][2 * g + 1][2] = start.z, acc[i][2 * g + 1][1] = acc[i][2 * g + 1][3] = start.w;
      }
    }
    const unsigned from = piece + ((item * TILES * 16 + (lane & 15)) * READ_PITCH + lane / 16 * 8) * 2;
#pragma unroll
    for (int q = 0; q < CHANNELS / 16; ++q) {
      unsigned a[TILES][4];
#pragma unroll
      for (int i = 0; i < TILES; ++i) ldmatrix(a[i], from + (i * 16 * READ_PITCH + q * 16) * 2);
#pragma unroll
      for (int g = 0; g < CHUNK / 16; ++g) {
        const uint4 b = *(const uint4*)(weights + ((q * (CHUNK / 16) + g) * 32 + lane) * 8);
#pragma unroll
        for (int i = 0; i < TILES; ++i) {
          mma(acc[i][2 * g], a[i], b.x, b.y);
          mma(acc[i][2 * g + 1], a[i], b.z, b.w);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < TILES; ++i)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int place = places[(item * TILES + i) * 16 + h * 8 + lane / 4];
        if (place < 0) continue;
#pragma unroll
        for (int g = 0; g < CHUNK / 16; ++g) {
          const float* s = acc[i][2 * g] + 2 * h;
          const uint2 r = {expand_act(s[0], s[1]), expand_act(s[4], s[5])};
          *(uint2*)(wide + place + g * 16 + lane % 4 * 4) = r;
        }
      }
  }
}
)cuda";

// A thread makes strips of results in two channels.
constexpr char kDepthwise[] = R"cuda(
template <class Store> __forceinline__ void depthwise(const T* wide, const float* bias, const Store& store) {
#pragma unroll 1
  for (int item = threadIdx.x; item < STRIPS * (CHUNK / 2); item += THREADS) {
    const int ch = item % (CHUNK / 2) * 2, strip = item / (CHUNK / 2);
    const int x = strip % (COLUMNS / TC) * TC, y = strip / (COLUMNS / TC) % (ROWS / TR) * TR, image = strip / (COLUMNS / TC * (ROWS / TR));
    const T* from = wide + ((image * WIDE_ROWS + y * SH) * WIDE_COLUMNS + x * SW) * WIDE_PITCH + ch;
    const float2 start = *(const float2*)(bias + ch);
    float sums[TR][TC][2];
#pragma unroll
    for (int r = 0; r < TR; ++r)
#pragma unroll
      for (int t = 0; t < TC; ++t) sums[r][t][0] = start.x, sums[r][t][1] = start.y;
#pragma unroll
    for (int row = 0; row < (TR - 1) * SH + KH; ++row) {
      unsigned v[(TC - 1) * SW + KW];
#pragma unroll
      for (int s = 0; s < (TC - 1) * SW + KW; ++s) v[s] = *(const unsigned*)(from + (row * WIDE_COLUMNS + s) * WIDE_PITCH);
#pragma unroll
      for (int r = 0; r < TR; ++r) {
        const int ky = row - r * SH;
        if (ky < 0 || ky >= KH) continue;
#pragma unroll
        for (int kx = 0; kx < KW; ++kx) {
          const float2 tap = *(const float2*)(bias + (1 + ky * KW + kx) * CHUNK + ch);
#pragma unroll
          for (int t = 0; t < TC; ++t) {
            sums[r][t][0] += unpack(v[t * SW + kx], 0) * tap.x;
            sums[r][t][1] += unpack(v[t * SW + kx], 1) * tap.y;
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < TR; ++r)
#pragma unroll
      for (int t = 0; t < TC; ++t) store(image, y + r, x + t, ch, depthwise_act(sums[r][t][0], sums[r][t][1]));
  }
}
)cuda";

constexpr char kProject[] = R"cuda(
__forceinline__ void project(float (&acc)[DOWN][ACROSS][4], unsigned narrow, const T* weights, int warp, int lane) {
  const int wm = warp / WARPS_ACROSS, wn = warp % WARPS_ACROSS;
#pragma unroll
  for (int q = 0; q < CHUNK / 16; ++q) {
    unsigned a[DOWN][4];
#pragma unroll
    for (int i = 0; i < DOWN; ++i) ldmatrix(a[i], narrow + ((min(wm * DOWN + i, PIXEL_TILES - 1) * 16 + (lane & 15)) * NARROW_PITCH + lane / 16 * 8 + q * 16) * 2);
#pragma unroll
    for (int j = 0; j < ACROSS; j += 2) {
      const uint4 b = *(const uint4*)(weights + (((q * WARPS_ACROSS + wn) * (ACROSS / 2) + j / 2) * 32 + lane) * 8);
#pragma unroll
      for (int i = 0; i < DOWN; ++i) {
        mma(acc[i][j], a[i], b.x, b.y);
        mma(acc[i][j + 1], a[i], b.z, b.w);
      }
    }
  }
}
)cuda";

constexpr char kBody[] = R"cuda(
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) k(const T* __restrict__ x, const T* __restrict__ weights, const float* __restrict__ numbers, RESIDUAL_PARAMETER T* __restrict__ out, i64 n, i64 backwards) {
  extern __shared__ __align__(16) u8 memory[];
  T* const piece = (T*)memory;
  T* const wide = (T*)(memory + READ_BYTES);
  T* const narrow = (T*)(memory + READ_BYTES + WIDE_BUFFERS * WIDE_BYTES);
  T* const expand_weights = (T*)(memory + READ_BYTES + WIDE_BUFFERS * WIDE_BYTES + NARROW_BYTES);
  T* const project_weights = expand_weights + EXPAND_WEIGHTS;
  float* const chunk_numbers = (float*)(project_weights + PROJECT_WEIGHTS);  // of two chunks
  int* const places = (int*)(chunk_numbers + 2 * CHUNK_NUMBERS);             // in the expanded rectangle; < 0: nowhere
  const int tid = threadIdx.x, lane = tid & 31, warp = tid / 32;
  const int tile = backwards ? gridDim.x - 1 - blockIdx.x : blockIdx.x, tile_x = tile % TILES_X, tile_y = tile / TILES_X % TILES_Y, picture = tile / (TILES_X * TILES_Y) * IMAGES;
  const int begin_y = tile_y * ROWS * SH - PH, begin_x = tile_x * COLUMNS * SW - PW, first_y = max(begin_y, 0), first_x = max(begin_x, 0);
  const int first = CHUNKS * blockIdx.z / SPLITS, last = CHUNKS * (blockIdx.z + 1) / SPLITS;
  // Weights and numbers do not depend on the kernel in front.
  auto load_numbers = [&](int c) {
    if (EXPANDS) copy<EXPAND_WEIGHTS * 2>(expand_weights, weights + (i64)c * (EXPAND_WEIGHTS + PROJECT_WEIGHTS));
    copy<CHUNK_NUMBERS * 4>(chunk_numbers + c % 2 * CHUNK_NUMBERS, numbers + (i64)c * CHUNK_NUMBERS);
  };
  // Of a rectangle in the image or, without an expansion, of a chunk of it with its border.
  auto load_pixels = [&](T* to, int pitch, int rows, int columns, int from_y, int from_x, int from_ch, int units) {
    for (int i = tid; i < IMAGES * rows * columns * units; i += THREADS) {
      const int pixel = i / units, ch = i % units * 8, x_in = from_x + pixel % columns, y_in = from_y + pixel / columns % rows, image = picture + pixel / (columns * rows);
      const bool valid = (unsigned)x_in < IN_W && (unsigned)y_in < IN_H && image < n && from_ch + ch < READ_CHANNELS;
      copy16(to + pixel * pitch + ch, valid ? x + (((i64)image * IN_H + y_in) * IN_W + x_in) * READ_CHANNELS + from_ch + ch : x, valid);
    }
  };
  load_numbers(first);
  if (EXPANDS) {
    const uint4 zero = {0, 0, 0, 0};
    for (int i = tid; i < WIDE_BYTES / 16; i += THREADS) ((uint4*)wide)[i] = zero;
    for (int i = tid; i < READ_TILES * 16; i += THREADS) {
      const int x_in = first_x + i % READ_COLUMNS, y_in = first_y + i / READ_COLUMNS % READ_ROWS, image = i / (READ_COLUMNS * READ_ROWS);
      const bool valid = x_in < IN_W && y_in < IN_H && x_in - begin_x < WIDE_COLUMNS && y_in - begin_y < WIDE_ROWS && image < IMAGES;
      places[i] = valid ? ((image * WIDE_ROWS + y_in - begin_y) * WIDE_COLUMNS + x_in - begin_x) * WIDE_PITCH : -1;
    }
  }
  after_previous();
  if (EXPANDS) load_pixels(piece, READ_PITCH, READ_ROWS, READ_COLUMNS, first_y, first_x, 0, CHANNELS / 8);
  else load_pixels(wide + first % WIDE_BUFFERS * (WIDE_BYTES / 2), WIDE_PITCH, WIDE_ROWS, WIDE_COLUMNS, begin_y, begin_x, first * CHUNK, CHUNK / 8);
  DECLARE_SUMS
  await();
  __syncthreads();
#pragma unroll 1
  for (int c = first; c < last; ++c) {
    PROJECT_BEFORE
    EXPAND_CHUNK
    __syncthreads();
    // The next chunk comes while this one is filtered.
    if (c + 1 < last) {
      load_numbers(c + 1);
      if (!EXPANDS) load_pixels(wide + (c + 1) % WIDE_BUFFERS * (WIDE_BYTES / 2), WIDE_PITCH, WIDE_ROWS, WIDE_COLUMNS, begin_y, begin_x, (c + 1) * CHUNK, CHUNK / 8);
    }
    if (PROJECTS) copy<PROJECT_WEIGHTS * 2>(project_weights, weights + (i64)c * (EXPAND_WEIGHTS + PROJECT_WEIGHTS) + EXPAND_WEIGHTS);
    depthwise(wide + c % WIDE_BUFFERS * (WIDE_BYTES / 2), chunk_numbers + c % 2 * CHUNK_NUMBERS + CHUNK, [&](int image, int y, int x, int ch, unsigned pair) { STORE_PAIR });
    await();
    __syncthreads();
  }
  FINISH
}
)cuda";

constexpr char kStoreNarrow[] = "*(unsigned*)(narrow + ((image * ROWS + y) * COLUMNS + x) * NARROW_PITCH + ch) = pair;";
constexpr char kStoreOut[] =
    "y += tile_y * ROWS, x += tile_x * COLUMNS, image += picture, ch += c * CHUNK; "
    "if (y < OUT_H && x < OUT_W && image < n && ch < EXPANDED) *(unsigned*)(out + (((i64)image * OUT_H + y) * OUT_W + x) * EXPANDED + ch) = pair;";

constexpr char kFinish[] = R"cuda(
  project(acc, shared_address(narrow), project_weights, warp, lane);
  const int wm = warp / WARPS_ACROSS, wn = warp % WARPS_ACROSS;
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int pixel = (wm * DOWN + i) * 16 + h * 8 + lane / 4;
      const int x_out = tile_x * COLUMNS + pixel % COLUMNS, y_out = tile_y * ROWS + pixel / COLUMNS % ROWS, image = picture + pixel / (COLUMNS * ROWS);
      if (x_out >= OUT_W || y_out >= OUT_H || image >= n || pixel >= IMAGES * ROWS * COLUMNS) continue;
      const i64 at = (((i64)image * OUT_H + y_out) * OUT_W + x_out) * FILTERS;
#pragma unroll
      for (int g = 0; g < ACROSS / GROUP; ++g) {
        const int ch = (wn * ACROSS + g * GROUP) * 8 + lane % 4 * 2 * GROUP;
        if (ch >= FILTERS) continue;
        const vec<float, VECTOR> bias = *(const vec<float, VECTOR>*)(numbers + CHUNKS * CHUNK_NUMBERS + ch);
        RESIDUAL_LOAD
        vec<T, VECTOR> r;
#pragma unroll
        for (int e = 0; e < VECTOR; e += 2) {
          float z[2] = {acc[i][g * GROUP + e / 2][2 * h] + bias.v[e], acc[i][g * GROUP + e / 2][2 * h + 1] + bias.v[e + 1]};
          RESIDUAL_ADD
          *(unsigned*)(r.v + e) = project_act(z[0], z[1]);
        }
        *(vec<T, VECTOR>*)(out + at + ch) = r;
      }
    }
)cuda";

// The blocks of a cluster have sums of some chunks each; they share out the results.
constexpr char kFinishCluster[] = R"cuda(
#define CLUSTER_BARRIER asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  project(acc, shared_address(narrow), project_weights, warp, lane);
  __syncthreads();
  float* const sums = (float*)memory;
  const int wm = warp / WARPS_ACROSS, wn = warp % WARPS_ACROSS;
#pragma unroll
  for (int i = 0; i < DOWN; ++i) {
    if (wm * DOWN + i >= PIXEL_TILES) continue;
#pragma unroll
    for (int j = 0; j < ACROSS; ++j) {
      float* const to = sums + ((wm * DOWN + i) * 16 + lane / 4) * SUM_PITCH + (wn * ACROSS + j / GROUP * GROUP) * 8 + lane % 4 * 2 * GROUP + j % GROUP * 2;
      *(float2*)to = make_float2(acc[i][j][0], acc[i][j][1]);
      *(float2*)(to + 8 * SUM_PITCH) = make_float2(acc[i][j][2], acc[i][j][3]);
    }
  }
  CLUSTER_BARRIER
  for (int v = blockIdx.z * THREADS + tid; v < IMAGES * ROWS * COLUMNS * (FILTERS / 8); v += SPLITS * THREADS) {
    const int pixel = v / (FILTERS / 8), ch = v % (FILTERS / 8) * 8;
    const int x_out = tile_x * COLUMNS + pixel % COLUMNS, y_out = tile_y * ROWS + pixel / COLUMNS % ROWS, image = picture + pixel / (COLUMNS * ROWS);
    if (x_out >= OUT_W || y_out >= OUT_H || image >= n) continue;
    const i64 at = (((i64)image * OUT_H + y_out) * OUT_W + x_out) * FILTERS;
    const vec<float, 8> bias = *(const vec<float, 8>*)(numbers + CHUNKS * CHUNK_NUMBERS + ch);
    RESIDUAL_LOAD
    float a[8];
#pragma unroll
    for (int e = 0; e < 8; ++e) a[e] = bias.v[e];
#pragma unroll
    for (int part = 0; part < SPLITS; ++part)
#pragma unroll
      for (int e = 0; e < 8; e += 4) {
        unsigned remote;
        float4 f;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(sums + pixel * SUM_PITCH + ch + e)), "r"((unsigned)part));
        asm volatile("ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(f.x), "=f"(f.y), "=f"(f.z), "=f"(f.w) : "r"(remote) : "memory");
        a[e] += f.x, a[e + 1] += f.y, a[e + 2] += f.z, a[e + 3] += f.w;
      }
    vec<T, 8> r;
#pragma unroll
    for (int e = 0; e < 8; e += 2) {
      float z[2] = {a[e], a[e + 1]};
      RESIDUAL_ADD
      *(unsigned*)(r.v + e) = project_act(z[0], z[1]);
    }
    *(vec<T, 8>*)(out + at + ch) = r;
  }
  CLUSTER_BARRIER  // a block's memory must stay until its neighbours have read it
)cuda";

constexpr char kDeclareSums[] = R"cuda(float acc[DOWN][ACROSS][4];
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j) acc[i][j][0] = acc[i][j][1] = acc[i][j][2] = acc[i][j][3] = 0;
)cuda";

void Replace(std::string* text, const std::string& word, const std::string& by) { text->replace(text->find(word), word.size(), by); }

}  // namespace

int64_t BottleneckPlan::read_tiles() const { return RoundUp(CeilDiv(read_pixels(), 16), tiles); }
int64_t BottleneckPlan::tiles_down() const { return CeilDiv(pixel_tiles(), warps / warps_across); }
int64_t BottleneckPlan::tiles_across() const { return RoundUp(CeilDiv(filters, 8 * warps_across), 2); }

// Of the expansion's stores, 8 bytes a lane, four pixels go into different banks.
int64_t BottleneckPlan::wide_pitch() const { return chunk % 32 == 0 ? chunk + 16 : chunk; }

int64_t BottleneckPlan::shared_bytes() const {
  const int64_t places = expands ? read_tiles() * 16 * 4 : 0;
  const int64_t sums = shares_sums() ? pixel_tiles() * 16 * sum_pitch() * 4 : 0;
  return std::max(sums, read_bytes() + wide_bytes() * wide_buffers() + narrow_bytes() + (expand_weights() + project_weights()) * 2 + 2 * chunk_numbers() * 4 + places);
}

int64_t BottleneckPlan::registers() const {
  constexpr int64_t kAddresses = 30;
  const int64_t sums = projects ? tiles_down() * tiles_across() * 4 : 0;
  const int64_t expansion = expands ? tiles * chunk / 2 + tiles * 4 + 8 : 0;
  const int64_t filter = strip_rows * strip_columns * 2 + ((strip_columns - 1) * stride_w + k_w) * 3 + 2 * k_w;
  const int64_t projection = projects ? tiles_down() * 4 + 8 : 0;
  return RoundUp(kAddresses + sums + std::max({expansion, filter, projection}), 8);
}

int64_t BottleneckPlan::resident(int architecture) const {
  constexpr int64_t kRegisters = 65536, kMost = 6, kMostThreads = 1536;
  return std::clamp<int64_t>(std::min({SharedMemory(architecture) / (shared_bytes() + 1024), kRegisters / (registers() * threads()), kMostThreads / threads()}), 1, kMost);
}

std::string BottleneckPlan::Name() const {
  return fmt::format("{}{}w{}{}{}", NameOfRectangle(rows, columns), chunk, warps, images > 1 ? fmt::format("i{}", images) : "", splits > 1 ? fmt::format("s{}", splits) : "");
}

void BottleneckPlan::FillWeights(const BottleneckConstants& c, float* to) const {
  for (int64_t at = 0; at < expanded; at += chunk) {
    auto inside = [&](int64_t ch) { return at + ch < expanded; };
    if (expands) to = FillTiles(channels, chunk / 8, 2, to, [&](int64_t term, int64_t ch) { return inside(ch) && term < read_channels ? c.expand[term * expanded + at + ch] : 0.0f; });
    if (!projects) continue;
    const int64_t across = tiles_across();
    // Warps' tiles lie one behind the other within a step.
    to = FillTiles(chunk, warps_across * across, GroupOf(across), to, [&](int64_t term, int64_t filter) { return inside(term) && filter < filters ? c.project[(at + term) * filters + filter] : 0.0f; });
  }
}

void BottleneckPlan::FillNumbers(const BottleneckConstants& c, float* to) const {
  auto row = [&](const float* from, int64_t at) {
    for (int64_t ch = at; ch < at + chunk; ++ch) *to++ = from != nullptr && ch < expanded ? from[ch] : 0.0f;
  };
  for (int64_t at = 0; at < expanded; at += chunk) {
    row(c.expand_bias, at);
    row(c.depthwise_bias, at);
    for (int64_t tap = 0; tap < taps; ++tap) row(c.depthwise + tap * expanded, at);
  }
  for (int64_t filter = 0; filter < filters; ++filter) *to++ = c.project_bias != nullptr ? c.project_bias[filter] : 0.0f;
}

std::vector<BottleneckPlan> BottleneckPlans(const Bottleneck& b, int architecture, int processors) {
  constexpr size_t kMost = 5;
  constexpr double kHopeless = 2.5;  // times the best guess
  std::vector<BottleneckPlan> plans;
  std::set<std::pair<int, int64_t>> seen;
  const std::vector<Guess> guesses = AllGuesses(b, architecture, processors);
  for (const Guess& g : guesses) {
    if (plans.size() == kMost || g.cost > kHopeless * guesses[0].cost) break;
    // Neighbours in size say little about how good the guesses are.
    if (seen.emplace(std::bit_width(static_cast<uint64_t>(g.plan.pixels())), g.plan.warps).second) plans.push_back(g.plan);
  }
  return plans;
}

std::optional<BottleneckPlan> FindBottleneckPlan(const Bottleneck& b, int architecture, int processors, const std::string& name) {
  if (!name.empty())
    for (const Guess& g : AllGuesses(b, architecture, processors, name))
      if (g.plan.Name() == name) return g.plan;
  const std::vector<Guess> guesses = AllGuesses(b, architecture, processors);
  return guesses.empty() ? std::nullopt : std::optional(guesses[0].plan);
}

Generated BottleneckCode(const Bottleneck& b, const BottleneckPlan& p, int architecture) {
  const char* type = b.type == DType::kFloat16 ? "f16" : "bf16";
  const int64_t tiles_y = CeilDiv(b.out_h, p.rows), tiles_x = CeilDiv(b.out_w, p.columns);
  Generated g;
  g.source = fmt::format("#define T {0}\n#define MMA \"mma.sync.aligned.m16n8k16.row.col.f32.{0}.{0}.f32 \"\n", type);
  const std::pair<const char*, int64_t> numbers[] = {
      {"THREADS", p.threads()}, {"WARPS", p.warps}, {"RESIDENT", p.resident(architecture)}, {"EXPANDS", p.expands}, {"PROJECTS", p.projects}, {"SPLITS", p.splits}, {"IMAGES", p.images},
      {"ROWS", p.rows}, {"COLUMNS", p.columns}, {"TILES_X", tiles_x}, {"TILES_Y", tiles_y}, {"TR", p.strip_rows}, {"TC", p.strip_columns}, {"STRIPS", p.strips()},
      {"KH", b.k_h}, {"KW", b.k_w}, {"SH", b.stride_h}, {"SW", b.stride_w}, {"PH", b.pad_h}, {"PW", b.pad_w}, {"IN_H", b.in_h}, {"IN_W", b.in_w}, {"OUT_H", b.out_h}, {"OUT_W", b.out_w},
      {"READ_CHANNELS", b.expands ? b.channels : b.expanded}, {"CHANNELS", p.channels}, {"EXPANDED", b.expanded}, {"CHUNK", p.chunk}, {"CHUNKS", p.chunks()}, {"FILTERS", b.filters},
      {"READ_ROWS", p.read_rows}, {"READ_COLUMNS", p.read_columns}, {"READ_TILES", p.read_tiles()}, {"READ_PITCH", p.read_pitch()}, {"READ_BYTES", p.read_bytes()}, {"TILES", p.tiles},
      {"WIDE_ROWS", p.wide_rows}, {"WIDE_COLUMNS", p.wide_columns}, {"WIDE_PITCH", p.wide_pitch()}, {"WIDE_BYTES", p.wide_bytes()}, {"WIDE_BUFFERS", p.wide_buffers()},
      {"NARROW_PITCH", p.narrow_pitch()}, {"NARROW_BYTES", p.narrow_bytes()}, {"EXPAND_WEIGHTS", p.expand_weights()}, {"PROJECT_WEIGHTS", p.project_weights()},
      {"CHUNK_NUMBERS", p.chunk_numbers()}, {"PIXEL_TILES", p.pixel_tiles()}, {"WARPS_ACROSS", p.warps_across}, {"SUM_PITCH", p.sum_pitch()}};
  for (const auto& [name, value] : numbers) g.source += fmt::format("#define {} {}\n", name, value);
  std::string functions = kFunctions;
  for (size_t at; (at = functions.find("TYPE")) != std::string::npos;) functions.replace(at, 4, type);
  g.source += functions;
  for (const auto& [name, act] : {std::pair{"expand_act", &b.expand_act}, {"depthwise_act", &b.depthwise_act}, {"project_act", &b.project_act}}) g.source += ActivationCode(name, *act, b.type);
  if (b.expands) g.source += kExpand;
  g.source += kDepthwise;
  std::string body = kBody, finish;
  if (b.projects) {
    g.source += fmt::format("#define DOWN {}\n#define ACROSS {}\n#define GROUP {}\n#define VECTOR {}\n", p.tiles_down(), p.tiles_across(), GroupOf(p.tiles_across()), p.shares_sums() ? 8 : 2 * GroupOf(p.tiles_across())) + kProject;
    finish = p.shares_sums() ? kFinishCluster : kFinish;
    Replace(&finish, "RESIDUAL_LOAD", b.residual ? "const vec<T, VECTOR> other = *(const vec<T, VECTOR>*)(residual + at + ch);" : "");
    Replace(&finish, "RESIDUAL_ADD", b.residual ? "z[0] += up(other.v[e]), z[1] += up(other.v[e + 1]);" : "");
  }
  Replace(&body, "RESIDUAL_PARAMETER", b.residual ? "const T* __restrict__ residual," : "");
  Replace(&body, "DECLARE_SUMS", b.projects ? kDeclareSums : "");
  Replace(&body, "PROJECT_BEFORE", b.projects ? "if (c > first) project(acc, shared_address(narrow), project_weights, warp, lane);" : "");
  Replace(&body, "EXPAND_CHUNK", b.expands ? "expand(wide, shared_address(piece), expand_weights, chunk_numbers + c % 2 * CHUNK_NUMBERS, places, warp, lane);" : "");
  Replace(&body, "STORE_PAIR", b.projects ? kStoreNarrow : kStoreOut);
  Replace(&body, "FINISH", finish);
  g.source += body;
  g.inputs = static_cast<size_t>(3 + b.residual);
  g.bound.push_back({1, b.weights, true});
  g.bound.push_back({2, b.numbers, false});
  g.sizes = {b.batch};
  g.reverses = true;
  g.shared = static_cast<size_t>(p.shared_bytes());
  g.waits = true;
  g.block[0] = static_cast<unsigned>(p.threads());
  g.grid[0] = static_cast<unsigned>(CeilDiv(b.batch, p.images) * tiles_y * tiles_x);
  g.grid[2] = static_cast<unsigned>(p.splits);
  if (p.shares_sums()) g.cluster = static_cast<unsigned>(p.splits);
  return g;
}

}  // namespace tfengine::cuda
