// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/activated_codes_inl.h"
#include "backends/cpu/kernels/conv_table_inl.h"
#include "backends/cpu/kernels/dot_kernels.h"
#include "backends/cpu/kernels/dot_simd.h"
#include "backends/cpu/kernels/format_simd.h"

// From the sums of a tile to its stored outputs (OutputStage). The usual cases happen in registers, all others by way of a
// buffer of f32.
namespace tfengine::cpu::TFE_SIMD {

struct DotCall;
using FinishFunction = void (*)(const DotCall& call, float* sums, int64_t pixels, int64_t row);

enum class DotWriter : uint8_t {
  kBuffer,    // finish() is called
  kActivated,  // codes of another activation: activate is called for the sums
  kStored,    // in registers: clip activation, output in the storage of x
  kResidual,  // the same with a residual of that storage too
  kSums,      // y is f32: the sums as they are
};

// How one tile's outputs are written. kU8 codes are computed as sum * scale * inverse + bias * inverse + zero, to which the
// activation's bounds are applied as codes.
struct OutputConstants {
  DotWriter writer;
  FinishFunction finish;
  ActivateCodesFunction activate[2];  // for tiles of one and two vectors
  bool clip;
  float low, high;  // of the activation
  float inverse;    // of the output's scale
  float units;      // what a real 1 is as an integer, before it is packed
  float zero;       // of the output, less the residual's zero in output codes
  float residual_scale;
  uint8_t code_low, code_high;
};

// One tile: pixels x vectors of one panel.
struct DotCall {
  DotWriter writer;
  const SegmentRow* rows;
  int64_t shift;        // bytes from where the rows point to the first values
  int64_t segs, words;  // words of each segment
  int64_t last_word;    // where the last one starts, in bytes; the others lie in a row
  bool skip_empty;      // segments of padding add nothing
  const char* w;
  const int32_t* weight_sums;  // kInt8: of the panel's channels
  int32_t zero;                // kInt8: of x
  const char* prefetch;        // read-ahead of other weights
  int64_t prefetch_step;
  const OutputStage* stage;
  const OutputConstants* out;
  const float* scale;  // of the panel's channels, or null
  const float* bias;
  const void* residual;  // of the tile, or null
  void* y;
  int64_t residual_stride, y_stride;  // in elements
  int64_t width;                      // columns; all beyond are neither read nor written
  bool full;                          // the last vector is whole
  VTail tail;                         // valid lanes of the last vector
};

// Vector v of `vectors` values per channel; kFull: the last one is whole, else its valid lanes are call.tail.
template <bool kFull>
TFE_INLINE VF LoadOr(const DotCall& call, const float* p, int64_t v, int64_t vectors, float missing) {
  if (p == nullptr) return Set(missing);
  return kFull || v + 1 < vectors ? Load(p + v * kLanes) : Load(p + v * kLanes, call.tail);
}

// kResidual: 0, or 1 + its Storage.
template <int kResidual, Storage kOut>
void FinishTile(const DotCall& call, float* sums, int64_t pixels, int64_t row) {
  using Add_ = Stored<static_cast<Storage>(kResidual > 0 ? kResidual - 1 : 0)>;
  const Add_ add(call.stage->residual);
  const Stored<kOut> out(call.stage->out);
  using Out = typename Stored<kOut>::Element;
  const bool clip = call.out->clip;
  const VF low = Set(call.out->low), high = Set(call.out->high);
  for (int64_t j = 0; j < call.width; j += kLanes) {
    const bool whole = j + kLanes <= call.width;
    const VF one = Set(1.0f);
    const VF scale = !call.scale ? one : whole ? Load(call.scale + j) : Load(call.scale + j, call.tail);
    const VF bias = !call.bias ? Zero() : whole ? Load(call.bias + j) : Load(call.bias + j, call.tail);
    for (int64_t m = 0; m < pixels; ++m) {
      VF v = Fma(Load(sums + m * row + j), scale, bias);
      if constexpr (kResidual > 0) {
        const auto* from = static_cast<const typename Add_::Element*>(call.residual) + m * call.residual_stride + j;
        v = Add(v, whole ? add.Read(from) : add.Read(from, call.tail));
      }
      if (!clip) {
        Store(sums + m * row + j, v);
        continue;
      }
      v = Min(high, Max(low, v));
      Out* to = static_cast<Out*>(call.y) + m * call.y_stride + j;
      whole ? out.Write(to, v) : out.Write(to, v, call.tail);
    }
  }
  if (clip) return;
  ActivateRange(call.stage->activation, sums, sums, pixels * row);
  for (int64_t m = 0; m < pixels; ++m) {
    Out* to = static_cast<Out*>(call.y) + m * call.y_stride;
    for (int64_t j = 0; j < call.width; j += kLanes) {
      const VF v = Load(sums + m * row + j);
      j + kLanes <= call.width ? out.Write(to + j, v) : out.Write(to + j, v, call.tail);
    }
  }
}

// The same for DotWriter::kActivated.
TFE_INLINE void ActivateTile(const DotCall& call, const float* sums, int64_t pixels, int64_t row) {
  const Activation& activation = call.stage->activation;
  const ActivatedCodes a = {call.scale, call.bias, call.stage->out, activation.alpha, activation.beta, call.stage->lines,
                            static_cast<uint8_t*>(call.y), call.y_stride, call.width};
  call.out->activate[row > kLanes](a, sums, pixels, row);
}

inline constexpr FinishFunction kFinish[1 + kStorages][kStorages] = {
    {FinishTile<0, Storage::kF32>, FinishTile<0, Storage::kBf16>, FinishTile<0, Storage::kU8>},
    {FinishTile<1, Storage::kF32>, FinishTile<1, Storage::kBf16>, FinishTile<1, Storage::kU8>},
    {FinishTile<2, Storage::kF32>, FinishTile<2, Storage::kBf16>, FinishTile<2, Storage::kU8>},
    {FinishTile<3, Storage::kF32>, FinishTile<3, Storage::kBf16>, FinishTile<3, Storage::kU8>},
};

#if defined(__AVX512VNNI__)
inline constexpr bool kActivatesCodes = true;
#else
inline constexpr bool kActivatesCodes = false;
#endif

TFE_INLINE OutputConstants MakeConstants(const OutputStage& stage, bool has_residual, bool in_registers, Storage own) {
  OutputConstants c = {};
  c.clip = IsClip(stage.activation, &c.low, &c.high);
  c.finish = kFinish[has_residual ? 1 + static_cast<int>(stage.residual.storage) : 0][static_cast<int>(stage.out.storage)];
  in_registers = in_registers && c.clip && stage.out.storage == own && (!has_residual || stage.residual.storage == own);
  c.writer = !in_registers ? DotWriter::kBuffer : has_residual ? DotWriter::kResidual : DotWriter::kStored;
  if (kActivatesCodes && !c.clip && own == Storage::kU8 && stage.out.storage == own && !has_residual) {
    c.activate[0] = ActivateCodesFor<1>(stage);
    c.activate[1] = ActivateCodesFor<2>(stage);
    if (c.activate[0] != nullptr) c.writer = DotWriter::kActivated;
  }
  const Format& out = stage.out;
  c.inverse = 1.0f / out.scale;
  c.units = c.writer == DotWriter::kActivated && stage.lines ? stage.lines->scale : c.inverse;
  c.zero = static_cast<float>(out.zero);
  c.residual_scale = has_residual ? stage.residual.scale * c.inverse : 0;
  if (has_residual) c.zero -= static_cast<float>(stage.residual.zero) * c.residual_scale;
  auto code = [&](float real) {
    const float q = __builtin_rintf(real * c.inverse) + static_cast<float>(out.zero);
    return static_cast<uint8_t>(q > static_cast<float>(out.lo) ? q < static_cast<float>(out.hi) ? q : static_cast<float>(out.hi)
                                                               : static_cast<float>(out.lo));
  };
  c.code_low = code(c.low);
  c.code_high = code(c.high);
  return c;
}

#if defined(__AVX512VNNI__)

// Whether codes before clamping are numbers that a 32-bit integer can hold, for all sums of `terms` products: not with an
// infinite or NaN bias or an output scale far too small.
TFE_INLINE bool FitsRegisters(const DotCall& call, int64_t vectors, int64_t terms) {
  const OutputConstants& c = *call.out;
  const VF most = Set(static_cast<float>(terms) * 255 * 127), rest = Set(255 * c.residual_scale + 65536);
  bool fits = true;
  for (int64_t v = 0; v < vectors; ++v) {
    const VF real = Fma(Abs(LoadOr<false>(call, call.scale, v, vectors, 1.0f)), most, Abs(LoadOr<false>(call, call.bias, v, vectors, 0.0f)));
    fits = fits && Less(Fma(real, Set(c.units), rest), Set(1e9f)) == 0xffff;
  }
  return fits;
}

// Codes of a tile, 64 bytes (four vectors) at a time. Nothing is read from `call` between stores, which could change it for
// all the compiler knows. kFull: as in LoadOr.
template <bool kResidual, bool kFull, int kPixels, int kVectors>
TFE_INLINE void WriteTile(const DotCall& call, const VI (&sum)[kPixels][kVectors]) {
  const OutputConstants& c = *call.out;
  VF scale[kVectors], bias[kVectors];
  const VF inverse = Set(c.inverse), zero = Set(c.zero);
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    scale[v] = Mul(LoadOr<kFull>(call, call.scale, v, kVectors, 1.0f), inverse);
    bias[v] = Fma(LoadOr<kFull>(call, call.bias, v, kVectors, 0.0f), inverse, zero);
  }
  const VF residual_scale = Set(c.residual_scale);
  const uint8_t* residual = static_cast<const uint8_t*>(call.residual);
  const int64_t residual_stride = call.residual_stride, y_stride = call.y_stride;
  const VTail tail = call.tail;
  auto code = [&](int m, int v) __attribute__((always_inline)) {
    VF real = Fma(ToFloat(sum[m][v]), scale[v], bias[v]);
    if constexpr (kResidual) {
      const uint8_t* from = residual + m * residual_stride + v * kLanes;
      const bool whole = kFull || v + 1 < kVectors;
      const __m128i codes = whole ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)) : _mm_maskz_loadu_epi8(tail, from);
      real = Fma(ToFloat(_mm512_cvtepu8_epi32(codes)), residual_scale, real);
    }
    return ToInt(real);
  };
  const VI order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const VI low = _mm512_set1_epi8(static_cast<char>(c.code_low)), high = _mm512_set1_epi8(static_cast<char>(c.code_high));
  constexpr int kStep = 4 / kVectors;
  uint8_t* y = static_cast<uint8_t*>(call.y);
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; m += kStep) {
    VI part[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int pixel = m + i / kVectors;
      part[i] = pixel < kPixels ? code(pixel, i % kVectors) : part[0];
    }
    VI codes = _mm512_packus_epi16(_mm512_packs_epi32(part[0], part[1]), _mm512_packs_epi32(part[2], part[3]));
    codes = _mm512_min_epu8(_mm512_max_epu8(_mm512_permutexvar_epi32(order, codes), low), high);
    if constexpr (kVectors == 2) {
      const __m256i half[2] = {_mm512_castsi512_si256(codes), _mm512_extracti64x4_epi64(codes, 1)};
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        if (m + i >= kPixels) break;
        uint8_t* at = y + (m + i) * y_stride;
        kFull ? _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), half[i]) : _mm256_mask_storeu_epi8(at, __mmask32{tail} << 16 | 0xffff, half[i]);
      }
    } else {
      const __m128i quarter[4] = {_mm512_castsi512_si128(codes), _mm512_extracti32x4_epi32(codes, 1),
                                  _mm512_extracti32x4_epi32(codes, 2), _mm512_extracti32x4_epi32(codes, 3)};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        if (m + i >= kPixels) break;
        uint8_t* at = y + (m + i) * y_stride;
        kFull ? _mm_storeu_si128(reinterpret_cast<__m128i*>(at), quarter[i]) : _mm_mask_storeu_epi8(at, tail, quarter[i]);
      }
    }
  }
}
inline constexpr bool kWritesInRegisters = true;

#else

TFE_INLINE bool FitsRegisters(const DotCall&, int64_t, int64_t) { return true; }

#if defined(__AVX512BF16__)

template <bool kResidual, bool kFull, int kPixels, int kVectors>
TFE_INLINE void WriteTile(const DotCall& call, const VF (&sum)[kPixels][kVectors]) {
  const Stored<Storage::kBf16> stored(call.stage->out);
  const VF low = Set(call.out->low), high = Set(call.out->high);
  VF scale[kVectors], bias[kVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    scale[v] = LoadOr<kFull>(call, call.scale, v, kVectors, 1.0f);
    bias[v] = LoadOr<kFull>(call, call.bias, v, kVectors, 0.0f);
  }
  const uint16_t* residual = static_cast<const uint16_t*>(call.residual);
  const int64_t residual_stride = call.residual_stride, y_stride = call.y_stride;
  const VTail tail = call.tail;
  auto real = [&](int m, int v) __attribute__((always_inline)) {
    VF r = Fma(sum[m][v], scale[v], bias[v]);
    if constexpr (kResidual) {
      const uint16_t* from = residual + m * residual_stride + v * kLanes;
      r = Add(r, kFull || v + 1 < kVectors ? stored.Read(from) : stored.Read(from, tail));
    }
    return Min(high, Max(low, r));
  };
  uint16_t* to = static_cast<uint16_t*>(call.y);
#pragma GCC unroll 16
  for (int m = 0; m < kPixels; ++m, to += y_stride) {
    if constexpr (kVectors == 2) {
      const VI both = (VI)_mm512_cvtne2ps_pbh(real(m, 1), real(m, 0));
      kFull ? _mm512_storeu_si512(to, both) : _mm512_mask_storeu_epi16(to, __mmask32{tail} << 16 | 0xffff, both);
    } else {
      kFull ? stored.Write(to, real(m, 0)) : stored.Write(to, real(m, 0), tail);
    }
  }
}
inline constexpr bool kWritesInRegisters = true;

#else

template <bool kResidual, bool kFull, typename Sum, int kPixels, int kVectors>
TFE_INLINE void WriteTile(const DotCall&, const Sum (&)[kPixels][kVectors]) {}
inline constexpr bool kWritesInRegisters = false;

#endif
#endif

}  // namespace tfengine::cpu::TFE_SIMD
