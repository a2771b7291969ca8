// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/attention_kernels.h"
#include "backends/cpu/kernels/format_simd.h"

namespace tfengine::cpu {
namespace TFE_SIMD {

template <int kRows>
void Bf16Tile(const MatmulTile& t) {
  VF sum[kRows][2];
#pragma GCC unroll 14
  for (int r = 0; r < kRows; ++r) sum[r][0] = sum[r][1] = Zero();
  const float* b = t.b;
  for (int64_t p = 0; p < t.k; ++p, b += t.b_row) {
    const __m512bh b0 = (__m512bh)Load(b), b1 = (__m512bh)Load(b + kLanes);
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
      const __m512bh a = (__m512bh)Set(t.a[r * t.a_row + p]);
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], a, b0);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], a, b1);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < kRows; ++r) {
    float* c = t.c + r * t.c_row;
    if (t.accumulate) {
      sum[r][0] = Add(sum[r][0], Load(c));
      sum[r][1] = Add(sum[r][1], Load(c + kLanes));
    }
    Store(c, sum[r][0]);
    Store(c + kLanes, sum[r][1]);
  }
}

inline void PackPairs(const uint16_t* from, int64_t from_row, int64_t rows, int64_t cols, float* to, int64_t to_row) {
  const __mmask32 columns = cols >= 32 ? ~__mmask32{0} : (__mmask32{1} << cols) - 1;
  alignas(64) static constexpr uint16_t kLow[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                    8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const VI low = _mm512_load_si512(kLow), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int64_t r = 0; r < rows; r += 2, to += to_row) {
    const VI first = _mm512_maskz_loadu_epi16(columns, from + r * from_row);
    const VI second = r + 1 < rows ? _mm512_maskz_loadu_epi16(columns, from + (r + 1) * from_row) : SetInt(0);
    Store(to, FromBits(_mm512_permutex2var_epi16(first, low, second)));
    if (to_row > kLanes) Store(to + kLanes, FromBits(_mm512_permutex2var_epi16(first, high, second)));
  }
}

inline void Round(float* values, int64_t n) {
  uint16_t* to = reinterpret_cast<uint16_t*>(values);
  const Stored<Storage::kBf16> stored(Format{Storage::kBf16, 1, 0, 0, 255});
  ForVectors(n, [&](int64_t i, auto lanes) __attribute__((always_inline)) { stored.Write(to + i, Load(values + i, lanes), lanes); });
  if (n % 2 != 0) to[n] = 0;
}

template <int... kRows>
struct Tiles {};
template <int... kRows>
constexpr AttentionBf16Kernels MakeKernels(Tiles<kRows...>) {
  return {sizeof...(kRows), 2 * kLanes, {nullptr, Bf16Tile<kRows>...}, PackPairs, Round};
}

}  // namespace TFE_SIMD

extern const AttentionBf16Kernels kAttentionAvx512bf16 = TFE_SIMD::MakeKernels(TFE_SIMD::Tiles<1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>());

}  // namespace tfengine::cpu
