// SPDX-License-Identifier: Apache-2.0
#pragma once

// What kernels of 8 bit products see besides emulated.h.
#include <algorithm>

#include "../../../src/base/float8.h"

namespace emulated {

inline void to_e4m3_pair(uint16_t& pair, float low, float high) { pair = static_cast<uint16_t>(tfengine::FloatToE4m3(low) | tfengine::FloatToE4m3(high) << 8); }
inline void from_e4m3_pair(uint32_t& pair, uint16_t codes) {
  uint16_t h[2];
  for (int e = 0; e < 2; ++e) to_half(h[e], tfengine::E4m3ToFloat(static_cast<uint8_t>(codes >> 8 * e)));
  pair = h[0] | static_cast<uint32_t>(h[1]) << 16;
}
inline void pack_saturated(uint32_t& r, int a, int b, int c, int d) {
  r = 0;
  const int v[4] = {a, b, c, d};
  for (int e = 0; e < 4; ++e) r |= static_cast<uint32_t>(std::clamp(v[e], 0, 255)) << 8 * e;
}
inline void dot(int& d, uint32_t a, int b, int c) {
  d = c;
  for (int e = 0; e < 4; ++e) d += static_cast<int>(a >> 8 * e & 255) * static_cast<int8_t>(b >> 8 * e);
}
inline void store_word(Machine* m, int times, unsigned to, uint32_t word) {
  const uint32_t words[4] = {word, word, word, word};
  m->store(to, words, times * 4);
}
template <typename T>
void store_sums(Machine* m, unsigned to, T a, T b, T c, T d) {
  const T words[4] = {a, b, c, d};
  m->store(to, words, 16);
}
template <typename T>
void load_sums(Machine* m, T& a, T& b, T& c, T& d, unsigned at, unsigned rank) {
  float f[4];
  m->load_remote(f, m->remote(at, rank));
  T* const to[4] = {&a, &b, &c, &d};
  for (int e = 0; e < 4; ++e) std::memcpy(to[e], &f[e], 4);
}
template <typename T>
void multiply_bytes(Machine* m, bool floats, T& c0, T& c1, T& c2, T& c3, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  T c[4] = {c0, c1, c2, c3};
  const uint32_t a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
  m->multiply_bytes(c, a, b, floats);
  c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
}
inline int gather_bytes(void**, GroupProduct* p, uint64_t a, uint64_t b, int keep) {
  p->a = a, p->b = b, p->add = keep != 0;
  return 0;
}
inline int gather_bytes(void**, GroupProduct* p, const uint32_t& a0, const uint32_t& a1, const uint32_t& a2, const uint32_t& a3, uint64_t b, int keep) {
  const uint32_t a[4] = {a0, a1, a2, a3};
  std::memcpy(p->fragment, a, sizeof(a));
  p->b = b, p->add = keep != 0, p->in_registers = true;
  return 0;
}
template <typename T, typename... R>
  requires(std::is_same_v<T, int> || std::is_same_v<T, float>)
int gather_bytes(void** sums, GroupProduct* p, T& first, R&&... rest) {
  *sums = &first;
  return 1 + gather_bytes(sums + 1, p, rest...);
}
template <typename... R>
void multiply_bytes_group(Machine* m, bool floats, R&&... rest) {
  void* sums[sizeof...(R)];
  GroupProduct product{false, false};
  const int count = gather_bytes(sums, &product, rest...);
  m->multiply_bytes_group(sums, count * 2, product, floats);
}

}  // namespace emulated

#ifdef IS_HALF
#define __cluster_dims__(...)
#define __grid_constant__
struct alignas(16) int4 { int x, y, z, w; };
inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
inline int __float2int_rn(float f) { return static_cast<int>(nearbyint(f)); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
  const uint64_t bytes = a | static_cast<uint64_t>(b) << 32;
  unsigned r = 0;
  for (int e = 0; e < 4; ++e) r |= static_cast<unsigned>(bytes >> (select >> 4 * e & 7) * 8 & 255) << 8 * e;
  return r;
}
#endif
