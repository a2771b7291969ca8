// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/first_layer.h"

#include <algorithm>

namespace tfengine::cuda {
namespace {

constexpr int kWarps = 8, kPass = kWarps * 32;  // pixels that the warps multiply at a time: two tiles of 16 each
constexpr int64_t kMostPixels = 2 * kPass;
constexpr int64_t kMostShared = 110 << 10;  // two blocks a multiprocessor

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t RoundUp(int64_t n, int64_t to) { return CeilDiv(n, to) * to; }

// Sizes that follow from the layer and the cut.
struct Cut {
  int64_t rows, columns;            // of results a block makes
  int64_t conv_rows, conv_columns;  // of the convolution that they need
  int64_t depth;                    // channels in shared memory: pairs of values must start at even places
  int64_t row_terms;                // of a filter row, in whole steps of 8
  int64_t terms;                    // of all rows, in whole steps of 16
  int64_t image_rows, pitch;        // of the piece of the image
  int64_t block_filters;

  int64_t pixels() const { return conv_rows * conv_columns; }
  int64_t passes() const { return CeilDiv(pixels(), kPass); }
  int64_t weight_bytes() const { return terms * block_filters * 2; }
  int64_t image_bytes() const { return RoundUp(image_rows * pitch * 2, 16); }
  int64_t shared_bytes() const { return weight_bytes() + image_bytes() + passes() * kPass * (block_filters + 8) * 2; }
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
  c.image_rows = (c.conv_rows - 1) * l.stride_h + l.k_h;
  c.pitch = RoundUp(((c.conv_columns - 1) * l.stride_w + l.k_w) * c.depth, 2) + 8;
  c.block_filters = 64;
  while (c.block_filters > 8 && l.filters % c.block_filters != 0) c.block_filters -= 8;
  return c;
}

// The cut with the least work on the busiest multiprocessor; nullopt: none fits.
std::optional<Cut> BestCut(const FirstLayer& l, int processors) {
  std::optional<Cut> best;
  int64_t least = 0;
  for (int64_t rows = 1; rows <= std::min<int64_t>(l.pooled_h, 32); ++rows)
    for (int64_t columns = 1; columns <= std::min<int64_t>(l.pooled_w, 64); ++columns) {
      const Cut c = CutOf(l, rows, columns);
      if (c.pixels() > kMostPixels || c.shared_bytes() > kMostShared) continue;
      const int64_t blocks = l.batch * CeilDiv(l.pooled_h, rows) * CeilDiv(l.pooled_w, columns) * (l.filters / c.block_filters);
      // The image's piece costs about as much to load as a few hundred pixels' products.
      const int64_t cost = CeilDiv(blocks, 2 * processors) * (c.passes() * 4 * kPass + c.image_rows * c.pitch / 8 + kPass);
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
extern "C" __global__ void __launch_bounds__(256, 2) k(const IN* image, const T* weights, PARAMETERS T* out, i64 n) {
  extern __shared__ __align__(16) u8 memory[];
  T* const ws = (T*)memory;
  T* const piece = (T*)(memory + WEIGHT_BYTES);
  T* const conv = (T*)(memory + WEIGHT_BYTES + IMAGE_BYTES);  // [pixels][FILTERS + 8]
  const int tid = threadIdx.x, lane = tid & 31, warp = tid / 32, pair = lane % 4 * 2;
  for (int i = tid; i < WEIGHT_BYTES / 16; i += 256)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(memory + i * 16)), "l"((const u8*)weights + (i64)blockIdx.y * WEIGHT_BYTES + i * 16) : "memory");
  asm volatile("cp.async.commit_group;" ::: "memory");
  after_previous();
  const int tile_x = blockIdx.x % TILES_X, tile_y = blockIdx.x / TILES_X % TILES_Y;
  const i64 picture = blockIdx.x / (TILES_X * TILES_Y);
  const int conv_y = tile_y * ROWS * POOL_SH - POOL_PH, conv_x = tile_x * COLUMNS * POOL_SW - POOL_PW;
  const int first_y = conv_y * SH - PH, first_x = conv_x * SW - PW;
  const IN* from = image + picture * (IN_H * IN_W * CHANNELS);
#pragma unroll 8
  for (int i = tid; i < IMAGE_ROWS * PITCH; i += 256) {
    const int row = i / PITCH, at = i % PITCH, y = first_y + row;
    const int x = first_x + at / DEPTH, c = at % DEPTH;
    T v = ZERO;
    if (y >= 0 && y < IN_H && x >= 0 && x < IN_W && c < CHANNELS) { const IN u = from[(y * IN_W + x) * CHANNELS + c]; v = ROUNDED; }
    piece[i] = v;
  }
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  // The last terms of a filter row are not the window's: they belong to pixels behind it, and count as 0 whatever they are.
  const int left = KW * DEPTH % 8 - pair;
  const unsigned mask = KW * DEPTH % 8 == 0 || left >= 2 ? 0xffffffffu : left == 1 ? 0xffffu : 0u;
#pragma unroll 1
  for (int pass = 0; pass < PASSES; ++pass) {
    const int base = pass * 256 + warp * 32 + lane / 4;
    const T* window[2][2];
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int p = min(base + t * 16 + h * 8, PIXELS - 1);
        window[t][h] = piece + p / CONV_COLUMNS * SH * PITCH + p % CONV_COLUMNS * SW * DEPTH + pair;
      }
    float acc[2][FILTERS / 8][4];
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int j = 0; j < FILTERS / 8; ++j) acc[t][j][0] = acc[t][j][1] = acc[t][j][2] = acc[t][j][3] = 0;
#pragma unroll
    for (int q = 0; q < TERMS / 16; ++q) {
      unsigned a[2][4];
#pragma unroll
      for (int t = 0; t < 2; ++t)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int term = q * 16 + r / 2 * 8, ky = term / ROW_TERMS, kk = term % ROW_TERMS;
          a[t][r] = 0;
          if (ky < KH) {
            a[t][r] = *(const unsigned*)(window[t][r % 2] + ky * PITCH + kk);
            if (kk + 8 == ROW_TERMS && KW * DEPTH % 8 != 0) a[t][r] &= mask;
          }
        }
#pragma unroll
      for (int j = 0; j < FILTERS / 8; ++j) {
        const uint2 b = *(const uint2*)(ws + ((q * (FILTERS / 8) + j) * 32 + lane) * 4);
        mma(acc[0][j], a[0], b);
        mma(acc[1][j], a[1], b);
      }
    }
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int j = 0; j < FILTERS / 8; ++j)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          unsigned packed = 0;
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float z = acc[t][j][2 * h + e];
            FINISH
            packed |= (unsigned)STORED.b << (16 * e);
          }
          *(unsigned*)(conv + (base + t * 16 + h * 8) * (FILTERS + 8) + j * 8 + pair) = packed;
        }
  }
  __syncthreads();
  for (int i = tid; i < ROWS * COLUMNS * (FILTERS / 8); i += 256) {
    const int ch = i % (FILTERS / 8) * 8, x = i / (FILTERS / 8) % COLUMNS, y = i / (FILTERS / 8) / COLUMNS;
    const int to_y = tile_y * ROWS + y, to_x = tile_x * COLUMNS + x;
    if (to_y >= OUT_H || to_x >= OUT_W) continue;
    uint4 r = {LOWEST, LOWEST, LOWEST, LOWEST};
#pragma unroll
    for (int dy = 0; dy < POOL_H; ++dy)
#pragma unroll
      for (int dx = 0; dx < POOL_W; ++dx) {
        const int line = y * POOL_SH + dy, column = x * POOL_SW + dx;
        if (POOL_H * POOL_W > 1 && ((unsigned)(conv_y + line) >= CONV_H || (unsigned)(conv_x + column) >= CONV_W)) continue;
        const uint4 v = *(const uint4*)(conv + (line * CONV_COLUMNS + column) * (FILTERS + 8) + ch);
        if (POOL_H * POOL_W == 1) r = v;
        else r.x = most(r.x, v.x), r.y = most(r.y, v.y), r.z = most(r.z, v.z), r.w = most(r.w, v.w);
      }
    *(uint4*)(out + ((picture * OUT_H + to_y) * OUT_W + to_x) * ALL_FILTERS + blockIdx.y * FILTERS + ch) = r;
  }
}
)cuda";

}  // namespace

bool FirstLayer::Fits(int architecture, int processors) const {
  return architecture >= 80 && (type == DType::kFloat16 || type == DType::kBfloat16) && channels >= 1 && channels <= 4 && filters % 8 == 0 && k_h * k_w > 1 &&
         in_h * in_w * channels < (int64_t{1} << 31) && batch > 0 && pooled_h > 0 && pooled_w > 0 && BestCut(*this, processors);
}

int64_t FirstLayer::WeightCount() const { return CutOf(*this, 1, 1).terms * filters; }

void FirstLayer::FillWeights(const float* filter, float* to) const {
  const Cut c = CutOf(*this, 1, 1);
  // [block][step of 16][8 filters][lane][4]: what lane l multiplies with filter l / 4: terms l % 4 * 2 + {0, 1, 8, 9}.
  for (int64_t block = 0; block < filters / c.block_filters; ++block)
    for (int64_t q = 0; q < c.terms / 16; ++q)
      for (int64_t j = 0; j < c.block_filters / 8; ++j)
        for (int64_t lane = 0; lane < 32; ++lane)
          for (int64_t e = 0; e < 4; ++e) {
            const int64_t term = q * 16 + lane % 4 * 2 + e % 2 + e / 2 * 8, ky = term / c.row_terms, kk = term % c.row_terms;
            const int64_t kx = kk / c.depth, ch = kk % c.depth, k = block * c.block_filters + j * 8 + lane / 4;
            const bool real = ky < k_h && kx < k_w && ch < channels;
            *to++ = real ? filter[((ky * k_w + kx) * channels + ch) * filters + k] : 0.0f;
          }
}

Generated FirstLayerCode(const FirstLayer& l, int processors) {
  const Cut c = *BestCut(l, processors);
  const bool half = l.type == DType::kFloat16;
  const Elem type{l.type};
  const int64_t tiles_y = CeilDiv(l.pooled_h, c.rows), tiles_x = CeilDiv(l.pooled_w, c.columns);
  Generated g;
  g.source = fmt::format("#define T {0}\n#define IN {1}\n#define MMA \"mma.sync.aligned.m16n8k16.row.col.f32.{0}.{0}.f32 \"\n#define PAIR \"{0}x2\"\n", half ? "f16" : "bf16", l.in.storage());
  g.source += fmt::format("#define ZERO {}\n#define ROUNDED {}\n#define STORED {}\n#define LOWEST {}\n#define PARAMETERS {}\n", type.Store("0.0f"), type.Store(l.in.Load("u")),
                          type.Store("z"), half ? "0xfc00fc00u" : "0xff80ff80u", l.bias ? "const float* bias," : "");
  std::string finish = l.bias ? "z += bias[blockIdx.y * FILTERS + j * 8 + pair + e];" : "";
  if (!l.act.empty()) finish += fmt::format(" {{ typedef float W; const W x = z; z = {}; }}", l.act);
  g.source += fmt::format("#define FINISH {}\n", finish);
  const std::pair<const char*, int64_t> numbers[] = {
      {"WEIGHT_BYTES", c.weight_bytes()}, {"IMAGE_BYTES", c.image_bytes()}, {"TILES_X", tiles_x}, {"TILES_Y", tiles_y}, {"ROWS", c.rows}, {"COLUMNS", c.columns},
      {"POOL_H", l.pool_h}, {"POOL_W", l.pool_w}, {"POOL_SH", l.pool_stride_h}, {"POOL_SW", l.pool_stride_w}, {"POOL_PH", l.pool_pad_h}, {"POOL_PW", l.pool_pad_w},
      {"SH", l.stride_h}, {"SW", l.stride_w}, {"PH", l.pad_h}, {"PW", l.pad_w}, {"KH", l.k_h}, {"KW", l.k_w}, {"IN_H", l.in_h}, {"IN_W", l.in_w}, {"CHANNELS", l.channels},
      {"DEPTH", c.depth}, {"IMAGE_ROWS", c.image_rows}, {"PITCH", c.pitch}, {"PASSES", c.passes()}, {"PIXELS", c.pixels()}, {"CONV_COLUMNS", c.conv_columns},
      {"TERMS", c.terms}, {"ROW_TERMS", c.row_terms}, {"FILTERS", c.block_filters}, {"ALL_FILTERS", l.filters}, {"CONV_H", l.out_h}, {"CONV_W", l.out_w},
      {"OUT_H", l.pooled_h}, {"OUT_W", l.pooled_w}};
  for (const auto& [name, value] : numbers) g.source += fmt::format("#define {} {}\n", name, value);
  g.source += kBody;
  g.inputs = static_cast<size_t>(2 + l.bias);
  g.bound.push_back({1, l.weights, true});
  if (l.bias) g.bound.push_back({2, l.bias_buffer, false});
  g.block[0] = 256;
  g.grid[0] = static_cast<unsigned>(l.batch * tiles_y * tiles_x);
  g.grid[1] = static_cast<unsigned>(l.filters / c.block_filters);
  g.sizes = {l.batch};
  g.shared = static_cast<size_t>(c.shared_bytes());
  g.waits = true;
  return g;
}

}  // namespace tfengine::cuda
