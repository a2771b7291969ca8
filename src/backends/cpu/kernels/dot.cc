// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/dot.h"

#include <emmintrin.h>

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_plan.h"
#include "backends/cpu/kernels/dot_kernels.h"

namespace tfengine::cpu {
namespace {

// Gathered segments are copied in whole vectors, which may run over a pixel's end.
constexpr int64_t kGatherSlack = 63;
// Inputs and outputs of a block of tiles, which stay in the second-level cache while weights pass.
constexpr int64_t kBlockBytes = 384 << 10;
// The same on CPUs with tile registers, which have 2 MiB of it.
constexpr int64_t kTiledBlockBytes = 768 << 10;
// Work below this is done sooner than a second thread has joined in: handing over costs about 0.2 us twice.
constexpr double kSplitCycles = 5000;
constexpr double kCacheBytesPerCycle = 40;  // of the second level
// Fewer words leave tile registers emptier than it costs to copy segments together.
constexpr int64_t kLeastTileWords = 12;

int64_t OperandBytes(const DotKernels& kernels) { return 4 / kernels.per_word; }

int64_t SumBytes(const DotKernels& kernels, int64_t groups, int64_t vectors) {
  return kernels.type == DotType::kInt8 ? RoundUp(groups * vectors * kernels.lanes * 4, kCacheLine) : 0;
}

// As WeightCode, without calls.
inline int32_t CodeOf(float w, float step) {
  const float q = w / step;
  const float bounded = q > -127.0f ? (q < 127.0f ? q : 127.0f) : q == q ? -127.0f : 0.0f;
  return _mm_cvtss_si32(_mm_set_ss(bounded));  // to nearest even
}

inline uint16_t Bf16Of(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  if (v != v) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// A segment is a whole filter row.
bool WholeRows(const ConvShape& s, const DotKernels& kernels) {
  return s.groups == 1 && s.dil_w == 1 && s.k_w > 1 && s.in_c < 8 * 4 / kernels.ValueBytes();
}

inline float FloatOf(uint16_t bf16) {
  const uint32_t bits = uint32_t{bf16} << 16;
  float v;
  std::memcpy(&v, &bits, 4);
  return v;
}

// One row of a panel: `columns` weights at a distance of col_stride to every per_word-th operand.
template <typename T, typename Convert>
void PackRow(const float* from, int64_t col_stride, int64_t columns, int64_t per_word, void* to, const Convert& convert) {
  T* operands = static_cast<T*>(to);
  for (int64_t c = 0; c < columns; ++c) operands[c * per_word] = static_cast<T>(convert(from[c * col_stride], c));
}

}  // namespace

uint16_t RoundToBf16(float v) { return Bf16Of(v); }

int8_t WeightCode(float w, float step) { return static_cast<int8_t>(CodeOf(w, step)); }

const std::vector<const DotKernels*>& AllDotKernels(DotType type) {
  static const std::vector<const DotKernels*> int8 = {&DotInt8Amx(), &DotInt8Avx512vnni(), &DotInt8Avx2(), &DotInt8Portable()};
  static const std::vector<const DotKernels*> bf16 = {&DotBf16Amx(), &DotBf16Avx512bf16(), &DotBf16Avx2(), &DotBf16Portable()};
  static const std::vector<const DotKernels*> f32 = {&DotF32Avx512(), &DotF32Avx2(), &DotF32Portable()};
  return type == DotType::kInt8 ? int8 : type == DotType::kBf16 ? bf16 : f32;
}

DotSegments DotSegmentsOf(const ConvShape& s, const DotKernels& kernels) {
  // Few channels: one segment per filter row keeps the inner loop long, and copies whole.
  const bool whole_rows = WholeRows(s, kernels);
  const int64_t group_in = s.in_c / s.groups;
  DotSegments in_place = {whole_rows ? s.k_h : s.k_h * s.k_w, whole_rows ? s.k_w * s.in_c : group_in, false};
  DotSegments gather = in_place;
  gather.gather = true;
  if (kernels.widens) return gather;
  if (kernels.tiles) {  // segments are whole products
    const int64_t words = in_place.length / kernels.per_word, steps = TileSteps(words);
    const bool whole = in_place.length % kernels.per_word == 0 && steps > 0 && words % steps == 0;
    return whole && (in_place.count == 1 || words / steps >= kLeastTileWords) ? in_place : gather;
  }
  if (in_place.length % kernels.per_word == 0) return in_place;
  // A few more products cost less than copies, but not for the plain matrix product, whose copies serve all panels.
  const bool few_more = 3 * in_place.Words(kernels.per_word) <= 4 * gather.Words(kernels.per_word);
  return in_place.count > 1 && in_place.length >= kernels.per_word && few_more ? in_place : gather;
}

int64_t DotPackedBytes(const DotKernels& kernels, int64_t groups, const DotSegments& segments, int64_t group_out) {
  const int64_t vectors = CeilDiv(group_out, kernels.lanes), words = PaddedWords(kernels, segments.Words(kernels.per_word));
  return SumBytes(kernels, groups, vectors) + RoundUp(groups * vectors * kernels.lanes * words * 4, kCacheLine);
}

void DotPack(const DotKernels& kernels, const float* from, int64_t row_stride, int64_t col_stride, int64_t groups,
             const DotSegments& segments, int64_t group_out, const float* steps, void* packed) {
  const int64_t lanes = kernels.lanes, per_word = kernels.per_word, bytes = OperandBytes(kernels);
  const int64_t vectors = CeilDiv(group_out, lanes), words = PaddedWords(kernels, segments.Words(per_word));
  const int64_t k = segments.count * segments.length;
  const int64_t run = segments.gather ? k : segments.length, run_words = CeilDiv(run, per_word);
  std::memset(packed, 0, DotPackedBytes(kernels, groups, segments, group_out));
  int32_t* sums = static_cast<int32_t*>(packed);
  char* weights = static_cast<char*>(packed) + SumBytes(kernels, groups, vectors);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t first = 0; first < vectors; first += 2) {
      const int64_t nv = std::min<int64_t>(2, vectors - first);
      const int64_t columns = std::min(nv * lanes, group_out - first * lanes);
      char* panel = weights + (g * vectors + first) * words * lanes * 4;
      const int64_t channel = g * group_out + first * lanes;
      int32_t* panel_sums = sums + (g * vectors + first) * lanes;
      for (int64_t i = 0; i < k; ++i) {
        const float* row = from + i * row_stride + channel * col_stride;
        const int64_t segment = i / run, j = i % run;
        const bool ends = !segments.gather && j / per_word == run / per_word;  // in the word that ends with the segment
        const int64_t place = ends ? j - (run - per_word) : j % per_word;
        char* to = panel + (segment * run_words + j / per_word) * nv * lanes * 4 + place * bytes;
        if (kernels.type == DotType::kInt8) {
          auto code = [&](float w, int64_t c) {
            const int32_t v = CodeOf(w, steps[channel + c]);
            panel_sums[c] += v;
            return v;
          };
          kernels.widens ? PackRow<int16_t>(row, col_stride, columns, per_word, to, code) : PackRow<int8_t>(row, col_stride, columns, per_word, to, code);
        } else if (kernels.type == DotType::kF32) {
          PackRow<float>(row, col_stride, columns, per_word, to, [](float w, int64_t) { return w; });
        } else if (kernels.widens) {
          PackRow<uint32_t>(row, col_stride, columns, per_word, to, [](float w, int64_t) { return uint32_t{Bf16Of(w)} << 16; });
        } else {
          // An infinity that two words hold must not meet a weight of 0: both get half of the weight, which is exact.
          const bool twice = !segments.gather && run % 2 == 1 && j == run - 2;
          const float share = twice ? 0.5f : 1.0f;
          auto half = [=](float w, int64_t) { return Bf16Of(share * FloatOf(Bf16Of(w))); };
          PackRow<uint16_t>(row, col_stride, columns, per_word, to, half);
          if (twice) PackRow<uint16_t>(row, col_stride, columns, per_word, panel + (segment * run_words + run_words - 1) * nv * lanes * 4, half);
        }
      }
    }
  }
}

DotPlan MakeDotPlan(const ConvShape& s, const DotKernels& kernels, int threads) {
  DotPlan plan = {};
  DirectPlan& p = plan.d;
  const int64_t per_word = kernels.per_word, value = kernels.ValueBytes();
  p.g = GeometryOf(s);
  p.groups = s.groups;
  p.group_in = s.in_c / s.groups;
  p.group_out = s.out_c / s.groups;
  p.dense = s.k_h == 1 && s.k_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
            s.out_h == s.in_h && s.out_w == s.in_w;
  p.whole_rows = WholeRows(s, kernels);
  p.copies_rows = p.whole_rows && p.g.x_pixel != s.in_c;
  const DotSegments segments = DotSegmentsOf(s, kernels);
  p.seg_count = segments.count;
  p.seg_len = segments.length;
  const int64_t k_total = p.seg_count * p.seg_len;
  plan.gather = segments.gather;
  plan.word_total = PaddedWords(kernels, segments.Words(per_word));
  plan.words = plan.gather ? plan.word_total : segments.Words(per_word) / p.seg_count;
  if (kernels.tiles && plan.words > 0) plan.tile_words = plan.words / TileSteps(plan.words);
  plan.last_word = plan.gather ? plan.words * 4 - 4 : p.seg_len * value - 4;
  plan.gather_stride = RoundUp(plan.word_total * 4 + kGatherSlack, kCacheLine);
  p.pixels = s.Pixels();
  p.tile = kernels.tiles ? kernels.max_tile : ChooseTile(s, p.pixels, kernels.max_tile);
  p.tiles = CeilDiv(p.pixels, p.tile);
  p.vectors = CeilDiv(p.group_out, kernels.lanes);
  p.panels = CeilDiv(p.vectors, 2);
  plan.weights_offset = SumBytes(kernels, s.groups, p.vectors);

  const int64_t weight_bytes = plan.word_total * p.vectors * kernels.lanes * 4;
  const int64_t input_bytes = s.batch * s.in_h * s.in_w * p.group_in * value;
  const double unit_cycles = static_cast<double>(p.tile * plan.word_total) / (kernels.tiles ? 8 : 1);
  const double read_bytes = static_cast<double>(s.groups * weight_bytes + s.batch * s.in_h * s.in_w * s.in_c * value);
  const double cycles = std::max(unit_cycles * static_cast<double>(s.groups * p.tiles * p.panels), read_bytes / kCacheBytesPerCycle);
  const Split split = ChooseSplit(s.groups, p.tiles, p.panels, unit_cycles, static_cast<double>(weight_bytes),
                                  static_cast<double>(input_bytes), cycles < kSplitCycles ? 1 : threads);
  p.pixel_parts = split.pixel_parts;
  p.panel_parts = split.panel_parts;
  p.tasks = p.groups * p.pixel_parts * p.panel_parts;

  // One panel's weights stay in the first-level cache (or pass from the second) while a block of tiles passes.
  const bool copies = plan.gather || (kernels.tiles && !p.dense);  // all of a tile, or any part of it
  const int64_t read = copies ? p.tile * plan.gather_stride : std::min(CeilDiv(input_bytes, p.tiles), p.tile * k_total * value);
  const int64_t tile_bytes = read + p.tile * p.group_out * value + p.seg_count * kSegmentRowBytes;
  p.block_tiles = std::clamp<int64_t>((kernels.tiles ? kTiledBlockBytes : kBlockBytes) / tile_bytes, 1, CeilDiv(p.tiles, p.pixel_parts));

  const int64_t tables = p.dense ? 0 : kernels.tiles ? 2 : plan.gather ? 1 : p.block_tiles;  // with copies a table is used once
  p.source_bytes = kernels.tiles ? 0 : RoundUp(p.block_tiles * kTileSourceBytes, kCacheLine);
  p.table_bytes = (1 + tables) * p.seg_count * kSegmentRowBytes;
  p.zero_bytes = RoundUp(p.seg_len * value, kCacheLine);
  const int64_t patch_bytes = p.whole_rows ? s.k_h * kernels.max_tile * p.seg_len * value : 0;
  plan.zeros_at = p.source_bytes + p.table_bytes;
  plan.patches_at = plan.zeros_at + p.zero_bytes;
  plan.rows_at = plan.patches_at + RoundUp(tables * patch_bytes, kCacheLine);
  plan.gathered_at = plan.rows_at + (plan.gather ? p.block_tiles * kSegmentRowBytes : 0);
  if (kernels.tiles) plan.gathered_at = plan.rows_at + p.block_tiles * RoundUp(p.seg_count * kTileRowBytes, kCacheLine);
  const int64_t copied_tiles = copies ? p.block_tiles : kernels.tiles ? 1 : 0;  // 1: an incomplete one
  plan.sums_at = plan.gathered_at + copied_tiles * p.tile * plan.gather_stride;
  p.worker_bytes = plan.sums_at + (kernels.tiles ? kTileSumBytes : 0);
  return plan;
}

}  // namespace tfengine::cpu
