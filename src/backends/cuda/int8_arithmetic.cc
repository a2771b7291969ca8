// SPDX-License-Identifier: Apache-2.0
// What sets codes apart from E4M3 in the kernel of 8 bit products (int8_source.cc).
#include "backends/cuda/group_product.h"
#include "backends/cuda/int8_conv.h"

namespace tfengine::cuda {
namespace {

constexpr char kIntegers[] = R"cuda(
typedef int Sum;
typedef int4 Sum4;
#define SUM_IN "r"
#define SUM_OUT "=r"
#define SUM_KEPT "+r"
#define MULTIPLY "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32"
__forceinline__ float real_sum(int sum, int zero) { return (float)(sum + zero); }
// Adds four codes; 2^23 + code as the bits of a float.
__forceinline__ void add_codes(const Params& p, unsigned codes, float (&z)[4]) {
#pragma unroll
  for (int j = 0; j < 4; ++j) z[j] = fmaf(__uint_as_float(__byte_perm(codes, 0x4B000000u, 0x7440u + j)) - p.residual_zero, p.residual_scale, z[j]);
}
// Codes of four results.
__forceinline__ unsigned to_codes(const Params& p, const float (&z)[4]) {
  int q[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
#if FOLDED
    q[j] = __float2int_rn(z[j]);
#else
    q[j] = __float2int_rn(fminf(fmaxf(z[j] * p.inverse, -1024.0f), 1024.0f)) + p.zero;
    if (z[j] != z[j]) q[j] = p.zero;
#endif
    if (CLAMP) q[j] = max(min(q[j], p.hi), p.lo);
  }
  return pack4(q[0], q[1], q[2], q[3]);
}
)cuda";

// Tensor cores keep some 14 bits of a sum of E4M3 products: the products of a step (64 or 128 terms) are summed there, and
// the steps in f32 (FLOATS).
constexpr char kFloats[] = R"cuda(
typedef float Sum;
typedef float4 Sum4;
#define SUM_IN "f"
#define SUM_OUT "=f"
#define SUM_KEPT "+f"
#define MULTIPLY "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32"
__forceinline__ float real_sum(float sum, int) { return sum; }
__forceinline__ void add_codes(const Params& p, unsigned codes, float (&z)[4]) {
#pragma unroll
  for (int j = 0; j < 4; j += 2) {
    unsigned pair;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"((u16)(codes >> 8 * j)));
    f16 low, high;
    low.b = (u16)pair, high.b = (u16)(pair >> 16);
    z[j] = fmaf(up(low), p.residual_scale, z[j]);
    z[j + 1] = fmaf(up(high), p.residual_scale, z[j + 1]);
  }
}
__forceinline__ unsigned to_codes(const Params& p, const float (&z)[4]) {
  float q[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    q[j] = FOLDED ? z[j] : z[j] * p.inverse;
    if (CLAMP) q[j] = q[j] < p.least ? p.least : q[j] > p.most ? p.most : q[j];
  }
  return pack2(q[0], q[1]) | pack2(q[2], q[3]) << 16;
}
)cuda";

constexpr char kProduct[] = R"cuda(
__forceinline__ void multiply(Sum (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(MULTIPLY " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : SUM_KEPT(c[0]), SUM_KEPT(c[1]), SUM_KEPT(c[2]), SUM_KEPT(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
)cuda";

}  // namespace

std::string Int8Arithmetic(const Int8Conv& conv, const Int8Tile& tile) {
  std::string s = std::string("#define FLOATS ") + (conv.fp8 ? "1\n" : "0\n") + (conv.fp8 ? kPackE4m3 : kPackCodes) + (conv.fp8 ? kFloats : kIntegers);
  s += tile.group ? GroupProduct("multiply_group", tile.bn, conv.fp8 ? "e4m3" : "u8", false, false) : kProduct;
  return s;
}

}  // namespace tfengine::cuda
