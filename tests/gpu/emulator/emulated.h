// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

// What translated kernels see: CUDA's words, and the machine that runs their threads (emulator.cc).
namespace emulated {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// wgmma: c += a b (c = a b if !add) for 64 rows of a and n columns of b. a: a descriptor, or the thread's fragment.
struct GroupProduct {
  bool half, transposed;  // transposed: b's columns are neighbours in memory
  bool add = true, in_registers = false;
  uint64_t a = 0, b = 0;
  uint32_t fragment[4] = {};
};

// Calls concern the running thread.
class Machine {
 public:
  virtual const Index& thread() = 0;
  virtual const Index& block() = 0;
  virtual const Index& grid() = 0;
  virtual char* shared() = 0;
  virtual unsigned shared_address(const void* p) = 0;
  virtual void sync_block() = 0;
  virtual void sync_cluster() = 0;
  virtual void sync_warp() = 0;
  virtual uint64_t shuffle(uint64_t v, int lane) = 0;  // what that lane has
  virtual int lane() = 0;
  virtual void copy16(unsigned to, const void* from, int bytes) = 0;
  virtual void commit_copies() = 0;
  virtual void await_copies(int keep) = 0;
  virtual void load_matrix(uint32_t* r, int count, bool transposed, unsigned address) = 0;
  virtual void multiply(float* c, const uint32_t* a, const uint32_t* b, bool half) = 0;
  virtual void multiply_group(float* const* sums, int count, const GroupProduct& product) = 0;
  virtual void commit_products() = 0;
  virtual void await_products(int keep) = 0;
  virtual unsigned remote(unsigned address, unsigned rank) = 0;
  virtual void send(unsigned to, const void* from, unsigned bytes, unsigned barrier) = 0;
  virtual void load_remote(float* to, unsigned address) = 0;
  virtual void init_barrier(unsigned at, unsigned count) = 0;
  virtual void arrive(unsigned at, unsigned count, unsigned bytes) = 0;
  virtual void await_phase(unsigned at, unsigned parity) = 0;
  virtual bool is_phase_over(unsigned at, unsigned parity) = 0;
  virtual void load_tensor(unsigned to, const void* map, unsigned barrier, const int* place, const int* offset) = 0;
  virtual void load_bytes(unsigned to, const void* from, unsigned bytes, unsigned barrier) = 0;
  virtual void store_tensor(const void* map, unsigned from, const int* place) = 0;
  virtual void store_bytes(void* to, unsigned from, unsigned bytes) = 0;
  virtual void await_stores() = 0;
  virtual void sync_group(unsigned id, int threads = 128) = 0;
  // 8 bit products: u8 by s8 with int32 sums, or E4M3 with f32 sums.
  virtual void copy(unsigned to, const void* from, int bytes, int size) = 0;
  virtual void store(unsigned to, const void* words, int bytes) = 0;
  virtual void multiply_bytes(void* c, const uint32_t* a, const uint32_t* b, bool floats) = 0;
  virtual void multiply_bytes_group(void* const* d, int n, const GroupProduct& product, bool floats) = 0;
};

inline void to_float(float& f, uint16_t h) {
  _Float16 v;
  std::memcpy(&v, &h, 2);
  f = static_cast<float>(v);
}
inline void to_half(uint16_t& h, float f) {
  const auto v = static_cast<_Float16>(f);
  std::memcpy(&h, &v, 2);
}
inline void to_bfloat(uint16_t& h, float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  h = f != f ? 0x7fff : static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
template <void (*To)(uint16_t&, float)>
void to_pair(uint32_t& r, float high, float low) {
  uint16_t h, l;
  To(h, high), To(l, low);
  r = l | static_cast<uint32_t>(h) << 16;
}
inline void power_of_2(float& y, float x) { y = std::exp2(x); }
inline void positive(float& y, float x) { y = x < 0 ? 0 : x; }
template <typename... R>
void load_matrix(Machine* m, bool transposed, uint32_t& a, uint32_t& b, R&&... rest) {
  uint32_t r[4];
  if constexpr (sizeof...(R) == 3) {
    auto take = [&](uint32_t& c, uint32_t& d, unsigned address) {
      m->load_matrix(r, 4, transposed, address);
      a = r[0], b = r[1], c = r[2], d = r[3];
    };
    take(rest...);
  } else {
    m->load_matrix(r, 2, transposed, (rest, ...));
    a = r[0], b = r[1];
  }
}
inline void multiply(Machine* m, bool half, float& c0, float& c1, float& c2, float& c3, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  float c[4] = {c0, c1, c2, c3};
  const uint32_t a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
  m->multiply(c, a, b, half);
  c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
}
// Sums, then a (a descriptor or four registers), b and, where it is given, whether to add.
inline int gather(float**, GroupProduct* p, uint64_t a, uint64_t b, int add = 1) {
  p->a = a, p->b = b, p->add = add != 0;
  return 0;
}
inline int gather(float**, GroupProduct* p, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint64_t b, int add) {
  const uint32_t a[4] = {a0, a1, a2, a3};
  std::memcpy(p->fragment, a, sizeof(a));
  p->b = b, p->add = add != 0, p->in_registers = true;
  return 0;
}
template <typename... R>
int gather(float** sums, GroupProduct* p, float& first, R&&... rest) {
  *sums = &first;
  return 1 + gather(sums + 1, p, rest...);
}
template <typename... R>
void multiply_group(Machine* m, bool half, bool transposed, R&&... rest) {
  float* sums[sizeof...(R)];
  GroupProduct product{half, transposed};
  const int count = gather(sums, &product, rest...);
  m->multiply_group(sums, count, product);
}
inline void remote(Machine* m, unsigned& r, unsigned address, unsigned rank) { r = m->remote(address, rank); }
inline void load_remote(Machine* m, float& a, float& b, float& c, float& d, unsigned address) {
  float f[4];
  m->load_remote(f, address);
  a = f[0], b = f[1], c = f[2], d = f[3];
}
inline void send(Machine* m, unsigned to, float a, float b, unsigned barrier) {
  const float pair[] = {a, b};
  m->send(to, pair, sizeof(pair), barrier);
}
inline void send(Machine* m, unsigned to, unsigned a, unsigned b, unsigned c, unsigned d, unsigned barrier) {
  const unsigned four[] = {a, b, c, d};
  m->send(to, four, sizeof(four), barrier);
}
inline void test_phase(Machine* m, int& over, unsigned at, unsigned parity) { over = m->is_phase_over(at, parity); }
inline void load_tensor(Machine* m, unsigned to, const void* map, unsigned barrier, int x, int y, int z) {
  const int place[] = {x, y, z}, offset[] = {0, 0};
  m->load_tensor(to, map, barrier, place, offset);
}
inline void load_tensor_for_both(Machine* m, unsigned to, const void* map, unsigned barrier, int x, int y, int z, unsigned) {
  for (unsigned rank : {0u, 1u}) load_tensor(m, m->remote(to, rank), map, m->remote(barrier, rank), x, y, z);
}
inline void load_box(Machine* m, unsigned to, const void* map, unsigned barrier, int c, int x, int y, int image) {
  const int place[] = {c, x, y, image}, offset[] = {0, 0};
  m->load_tensor(to, map, barrier, place, offset);
}
inline void load_windows(Machine* m, unsigned to, const void* map, unsigned barrier, int c, int x, int y, int image, unsigned dx, unsigned dy) {
  const int place[] = {c, x, y, image}, offset[] = {static_cast<int>(dx), static_cast<int>(dy)};
  m->load_tensor(to, map, barrier, place, offset);
}
inline void store_tensor(Machine* m, const void* map, unsigned from, int x, int y, int z) {
  const int place[] = {x, y, z, 0};
  m->store_tensor(map, from, place);
}
inline void store_box(Machine* m, const void* map, unsigned from, int c, int x, int y, int image) {
  const int place[] = {c, x, y, image};
  m->store_tensor(map, from, place);
}
inline float widened(bool half, uint16_t v) {
  float f;
  const uint32_t u = uint32_t{v} << 16;
  std::memcpy(&f, &u, 4);
  if (half) to_float(f, v);
  return f;
}
inline void most(bool half, unsigned& r, unsigned a, unsigned b) {
  r = 0;
  for (int e = 0; e < 2; ++e) {
    const auto x = static_cast<uint16_t>(a >> (16 * e)), y = static_cast<uint16_t>(b >> (16 * e));
    const float fx = widened(half, x), fy = widened(half, y);
    r |= static_cast<unsigned>(fx != fx || fy > fx ? y : x) << (16 * e);
  }
}
// The larger or smaller ones; NaN stays.
inline void bound(bool half, bool larger, unsigned& r, unsigned a, unsigned b) {
  r = 0;
  for (int e = 0; e < 2; ++e) {
    const auto x = static_cast<uint16_t>(a >> (16 * e)), y = static_cast<uint16_t>(b >> (16 * e));
    const float fx = widened(half, x), fy = widened(half, y);
    r |= static_cast<unsigned>(fx != fx || fy != fy ? 0x7fff : (fx < fy) == larger ? y : x) << (16 * e);
  }
}
template <typename... A, size_t... I>
void call(void (*f)(A...), void** values, std::index_sequence<I...>) {
  f(*static_cast<std::remove_const_t<A>*>(values[I])...);
}
template <typename... A>
void call(void (*f)(A...), void** values) {
  call(f, values, std::index_sequence_for<A...>());
}

}  // namespace emulated

#ifdef IS_HALF
using namespace std;  // CUDA's mathematical functions are global
static emulated::Machine* machine;
#define __CUDA_ARCH__ 900
#define __global__
#define __forceinline__ inline
#define __align__(n) alignas(n)
#define __grid_constant__
#define threadIdx (machine->thread())
#define blockIdx (machine->block())
#define gridDim (machine->grid())
#define __syncthreads() machine->sync_block()
#define __syncwarp() machine->sync_warp()
#define __cvta_generic_to_shared(p) machine->shared_address(p)
struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
template <typename W>
W shuffle(W v, int lane) {
  uint64_t bits = 0;
  memcpy(&bits, &v, sizeof(v));
  bits = machine->shuffle(bits, lane);
  memcpy(&v, &bits, sizeof(v));
  return v;
}
template <typename W>
W __shfl_xor_sync(unsigned, W v, int mask) { return shuffle(v, machine->lane() ^ mask); }
template <typename W>
W __shfl_up_sync(unsigned, W v, int by) { return shuffle(v, machine->lane() >= by ? machine->lane() - by : machine->lane()); }
inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline float __int_as_float(int u) { float f; memcpy(&f, &u, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline double __longlong_as_double(long long u) { double f; memcpy(&f, &u, 8); return f; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __vmaxu2(unsigned a, unsigned b) { return max(a & 0xffff, b & 0xffff) | max(a >> 16, b >> 16) << 16; }
inline float __expf(float a) { return exp(a); }
template <typename T> T rsqrt(T v) { return T(1) / sqrt(v); }
#endif

#include "byte_kernels.h"
