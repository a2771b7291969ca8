// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/dot.h"

// Internal to the convolutions and matrix products in reduced precision: what is compiled once per instruction set, and
// the plain structs that describe the work to it (see simd.h).
namespace tfengine::cpu {

struct ConvShape;

// How a reduction of count * length terms is cut into words. In place, each segment is words of its own, of which the last
// ends with the segment: of a value that it shares with the word before, int8 has weight 0 there and bf16 half of the weight in both
// (an infinity times 0 would be NaN). Else every tile is copied, all segments in a row, into one segment per pixel whose last word is
// padded.
struct DotSegments {
  int64_t count, length;
  bool gather;
  int64_t Words(int64_t per_word) const {
    return gather ? (count * length + per_word - 1) / per_word : count * ((length + per_word - 1) / per_word);
  }
};

// A matrix product or direct convolution whose reduction runs over 32-bit words of x, each of `per_word` operands.
// Packed weights: [group][kInt8: int32 sums of each channel's codes, padded to vectors], then
// [group][panel of two vectors, the last of one if their number is odd][word][vector][lane][per_word]; words are padded with
// zeros to PaddedWords().
struct DotPlan {
  DirectPlan d;             // segments, tiles, panels, tasks
  bool gather;              // see DotSegments
  int64_t words;            // per segment; with `gather` per pixel
  int64_t last_word;        // bytes from a segment's start to its last word
  int64_t word_total;       // per pixel, as packed
  int64_t tile_words;       // with tile registers: words of one product, a divisor of `words`
  int64_t gather_stride;    // bytes of a copied pixel
  int64_t weights_offset;   // bytes from packed to the weights
  // Offsets in a worker's scratch, in bytes.
  int64_t zeros_at, patches_at, rows_at, gathered_at, sums_at;
};

struct DotArgs {
  const void* x;        // u8, bf16 or f32
  int32_t zero;         // kInt8: of x
  const void* packed;
  const OutputStage* stage;
  const void* residual;  // or null; may be y if both have one format
  void* y;
  void* scratch;
};

struct DotKernels {
  const char* isa_name;  // "avx512vnni"
  DotType type;
  CpuIsa isa;
  bool CpuFeatures::*extension;  // needed beyond isa; null: none
  int lanes, max_tile;
  int per_word;  // operands of a 32-bit word; weights of 4 / per_word bytes
  bool widens;   // operands are wider than stored values
  void (*task)(const DotPlan& plan, const DotArgs& args, int64_t task, int worker);

  // One panel of weights from a plain matrix [k, columns] of stored values (not kInt8): element (i, c) at
  // i * row_stride + c * col_stride.
  void (*pack)(const void* from, int64_t row_stride, int64_t col_stride, int64_t k, int64_t columns, int64_t vectors, char* to);

  // A 3x3 convolution by Winograd's F(2x2, 3x3), see conv_winograd_dot.h; null: there is none.
  void (*winograd)(const WinogradPlan& plan, const DotArgs& args, int64_t task, int worker) = nullptr;

  bool tiles = false;           // multiplies in tile registers (dot_amx_inl.h)
  bool (*allowed)() = nullptr;  // asked last of all, or null

  int64_t ValueBytes() const { return type == DotType::kInt8 ? 1 : type == DotType::kBf16 ? 2 : 4; }  // of x
  bool Usable() const {
    return HostCpu().Has(isa) && (extension == nullptr || HostCpu().*extension) && (allowed == nullptr || allowed());
  }
};

// Tile registers have 16 rows of 16 words. Reductions are cut into equal products of at most as many words.
inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileRowBytes = 32;  // of a table of two tile registers' input segments
inline constexpr int64_t kTileSumBytes = 4 * kTileRows * 64;
inline int64_t TileSteps(int64_t words) { return (words + kTileRows - 1) / kTileRows; }
inline int64_t PaddedWords(const DotKernels& kernels, int64_t words) {
  const int64_t steps = kernels.tiles ? TileSteps(words) : 0;
  return steps == 0 ? words : (words + steps - 1) / steps * steps;
}

// Fastest first.
const std::vector<const DotKernels*>& AllDotKernels(DotType type);

// Scratch: d.worker_bytes for each worker. A matrix product is the 1x1 convolution of an image of 1 x m pixels, whose caller sets
// the distances of pixels in d.g afterwards, as those may be 0.
DotPlan MakeDotPlan(const ConvShape& shape, const DotKernels& kernels, int threads);

// The same for all images and paddings.
DotSegments DotSegmentsOf(const ConvShape& shape, const DotKernels& kernels);

int64_t DotPackedBytes(const DotKernels& kernels, int64_t groups, const DotSegments& segments, int64_t group_out);
// w(k, c) = from[k * row_stride + c * col_stride], c over all channels of all groups; steps [channels] for kInt8.
void DotPack(const DotKernels& kernels, const float* from, int64_t row_stride, int64_t col_stride, int64_t groups,
             const DotSegments& segments, int64_t group_out, const float* steps, void* packed);

const DotKernels& DotInt8Amx();
const DotKernels& DotInt8Avx512vnni();
const DotKernels& DotInt8Avx2();
const DotKernels& DotInt8Portable();
const DotKernels& DotBf16Amx();
const DotKernels& DotBf16Avx512bf16();
const DotKernels& DotBf16Avx2();
const DotKernels& DotBf16Portable();
const DotKernels& DotF32Avx512();
const DotKernels& DotF32Avx2();
const DotKernels& DotF32Portable();

}  // namespace tfengine::cpu
