// SPDX-License-Identifier: Apache-2.0
#pragma once

// What turns the source of a generated kernel into a shared library for the host (fake_cuda.cc).
namespace fake_cuda {

// Instructions, and what does the same.
inline constexpr const char* kReplaced[][2] = {
    {R"(asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.b));)", "f = fake_up(h.b);"},
    {R"(asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.b) : "f"(f));)", "h.b = fake_down(f);"},
    {R"(asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(p));)", "e = exp2f(p);"},
    {R"(asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(positive) : "f"(x));)", "positive = x < 0 ? 0 : x;"},
};

inline constexpr char kBeforeKernel[] = R"cpp(
#include <math.h>
#include <string.h>
#include <stddef.h>
#include <utility>
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ shared memory is not there: run this kernel on a GPU
struct Dim { unsigned x, y, z; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static thread_local Dim threadIdx, blockIdx, blockDim, gridDim;
inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline float __int_as_float(int u) { return __uint_as_float((unsigned)u); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return expf(a); }
inline float rsqrt(float a) { return 1 / sqrtf(a); }
inline double rsqrt(double a) { return 1 / sqrt(a); }
inline float fake_up(unsigned short h) { _Float16 t; memcpy(&t, &h, 2); return t; }
inline unsigned short fake_down(float f) { _Float16 t = (_Float16)f; unsigned short h; memcpy(&h, &t, 2); return h; }
)cpp";

inline constexpr char kBehindKernel[] = R"cpp(
template <class... A> struct FakeSizes { static constexpr size_t count = sizeof...(A); static constexpr size_t sizes[sizeof...(A) + 1] = {sizeof(A)..., 0}; };
template <class... A> FakeSizes<A...> FakeSizesOf(void (*)(A...));
template <class... A, size_t... I> void FakeApply(void (*f)(A...), void** a, std::index_sequence<I...>) { f(*(A*)a[I]...); }
template <class... A> void FakeCall(void (*f)(A...), void** a) { FakeApply(f, a, std::index_sequence_for<A...>()); }
extern "C" __attribute__((visibility("default"))) const size_t fake_count = decltype(FakeSizesOf(k))::count;
extern "C" __attribute__((visibility("default"))) const size_t* const fake_sizes = decltype(FakeSizesOf(k))::sizes;
extern "C" __attribute__((visibility("default"))) void fake_call(void** a, const unsigned* grid, const unsigned* block) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
        for (threadIdx.z = 0; threadIdx.z < block[2]; ++threadIdx.z)
          for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x) FakeCall(k, a);
}
)cpp";

}  // namespace fake_cuda
