// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by typed_{portable,avx2,avx512}.cc: TypedKernels in terms of simd.h.
#include "backends/cpu/kernels/format_simd.h"
#include "backends/cpu/kernels/typed_kernels.h"

namespace tfengine::cpu::TFE_SIMD {

template <Storage kFrom, Storage kTo>
void ConvertRange(const void* x, const Format& from, void* y, const Format& to, float low, float high, int64_t n) {
  const Stored<kFrom> in(from);
  const Stored<kTo> out(to);
  const auto* u = static_cast<const typename Stored<kFrom>::Element*>(x);
  auto* v = static_cast<typename Stored<kTo>::Element*>(y);
  const VF lowest = Set(low), highest = Set(high);
  ForVectors(n, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    out.Write(v + i, Min(highest, Max(lowest, in.Read(u + i, lanes))), lanes);
  });
}

struct HotAdd {
  static TFE_INLINE VF Run(VF a, VF b) { return Add(a, b); }
};
struct HotMul {
  static TFE_INLINE VF Run(VF a, VF b) { return Mul(a, b); }
};

template <typename F, Storage kA, Storage kB, Storage kY>
void TypedBinaryRange(const TypedOperand& a, const TypedOperand& b, void* y, const Format& to, float low, float high, int64_t n) {
  if (n == 0) return;
  const Stored<kA> in_a(a.format);
  const Stored<kB> in_b(b.format);
  const Stored<kY> out(to);
  const auto* u = static_cast<const typename Stored<kA>::Element*>(a.data);
  const auto* v = static_cast<const typename Stored<kB>::Element*>(b.data);
  auto* w = static_cast<typename Stored<kY>::Element*>(y);
  const VF lowest = Set(low), highest = Set(high);
  auto loop = [&](const auto& read_a, const auto& read_b) __attribute__((always_inline)) {
    ForVectors(n, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
      out.Write(w + i, Min(highest, Max(lowest, F::Run(read_a(i, lanes), read_b(i, lanes)))), lanes);
    });
  };
  // A broadcast scalar is read once, before anything is written over it.
  auto splat = [](const auto& stored, const auto* p) __attribute__((always_inline)) {
    alignas(64) float lanes[kLanes];
    Store(lanes, stored.Read(p, Tail(1)));
    return Set(lanes[0]);
  };
  auto read_u = [&](int64_t i, auto lanes) __attribute__((always_inline)) { return in_a.Read(u + i, lanes); };
  auto read_v = [&](int64_t i, auto lanes) __attribute__((always_inline)) { return in_b.Read(v + i, lanes); };
  if (a.stride == 1 && b.stride == 1) {
    loop(read_u, read_v);
    return;
  }
  const VF av = splat(in_a, u), bv = splat(in_b, v);
  auto same_a = [&](int64_t, auto) __attribute__((always_inline)) { return av; };
  auto same_b = [&](int64_t, auto) __attribute__((always_inline)) { return bv; };
  if (a.stride == 1) {
    loop(read_u, same_b);
  } else if (b.stride == 1) {
    loop(same_a, read_v);
  } else {
    loop(same_a, same_b);
  }
}

inline void ScaleCodes(const CodeRows& r) {
  using Codes = Stored<Storage::kU8>;
  const VF low = Set(static_cast<float>(r.lo)), high = Set(static_cast<float>(r.hi));
  const Codes plain(Format{Storage::kU8, 1, 0, 0, 255});
  for (int64_t row = 0; row < r.rows; ++row) {
    const uint8_t* x = r.x + row * r.x_row;
    uint8_t* y = r.y + row * r.y_row;
    int64_t i = 0;
#if defined(__AVX512F__)
    const VI order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const VI lowest = _mm512_set1_epi8(static_cast<char>(r.lo)), highest = _mm512_set1_epi8(static_cast<char>(r.hi));
    for (; i + 64 <= r.n; i += 64) {
      VI part[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const int64_t at = i + 16 * k;
        part[k] = ToInt(Fma(ToFloat(Codes::LoadCodes(x + at)), Load(r.factor + at), Load(r.offset + at)));
      }
      const VI codes = _mm512_packus_epi16(_mm512_packs_epi32(part[0], part[1]), _mm512_packs_epi32(part[2], part[3]));
      _mm512_storeu_si512(y + i, _mm512_min_epu8(_mm512_max_epu8(_mm512_permutexvar_epi32(order, codes), lowest), highest));
    }
#endif
    ForVectors(r.n - i, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
      const int64_t at = i + j;
      const VF v = Fma(plain.Units(x + at, lanes), Load(r.factor + at, lanes), Load(r.offset + at, lanes));
      plain.Write(y + at, Min(high, Max(low, v)), lanes);
    });
  }
}

template <Storage kFrom>
constexpr void FillConvert(ConvertLoop* row) {
  row[0] = ConvertRange<kFrom, Storage::kF32>;
  row[1] = ConvertRange<kFrom, Storage::kBf16>;
  row[2] = ConvertRange<kFrom, Storage::kU8>;
}
template <typename F, Storage kA, Storage kB>
constexpr void FillBinary(TypedBinaryLoop* row) {
  row[0] = TypedBinaryRange<F, kA, kB, Storage::kF32>;
  row[1] = TypedBinaryRange<F, kA, kB, Storage::kBf16>;
  row[2] = TypedBinaryRange<F, kA, kB, Storage::kU8>;
}
template <typename F, Storage kA>
constexpr void FillBinary(TypedBinaryLoop (*rows)[kStorages]) {
  FillBinary<F, kA, Storage::kF32>(rows[0]);
  FillBinary<F, kA, Storage::kBf16>(rows[1]);
  FillBinary<F, kA, Storage::kU8>(rows[2]);
}
template <typename F>
constexpr void FillBinary(TypedBinaryLoop (*rows)[kStorages][kStorages]) {
  FillBinary<F, Storage::kF32>(rows[0]);
  FillBinary<F, Storage::kBf16>(rows[1]);
  FillBinary<F, Storage::kU8>(rows[2]);
}

constexpr TypedKernels MakeTypedKernels() {
  TypedKernels kernels = {};
  FillConvert<Storage::kF32>(kernels.convert[0]);
  FillConvert<Storage::kBf16>(kernels.convert[1]);
  FillConvert<Storage::kU8>(kernels.convert[2]);
  FillBinary<HotAdd>(kernels.binary[static_cast<int>(HotBinary::kAdd)]);
  FillBinary<HotMul>(kernels.binary[static_cast<int>(HotBinary::kMul)]);
  kernels.scale_codes = ScaleCodes;
  return kernels;
}

}  // namespace tfengine::cpu::TFE_SIMD
