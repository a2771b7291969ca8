// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/select.h"

#include "backends/cpu/kernels/elements.h"

namespace tfengine::cpu {
namespace {

template <typename T>
void Run(const LoopNest& loops, const bool* cond, const T* a, const T* b, T* y, Gang& gang) {
  const int last = loops.rank - 1;
  const int64_t c_step = loops.strides[0][last], a_step = loops.strides[1][last], b_step = loops.strides[2][last];
  ParallelParts(gang, loops.size, 16384, [&](int64_t begin, int64_t end) {
    ForEachRun(loops, begin, end, [&](int64_t at, int64_t n, const int64_t* offsets) {
      const bool* c = cond + offsets[0];
      const T *u = a + offsets[1], *v = b + offsets[2];
      T* out = y + at;
      if (c_step == 0) {
        const T* from = *c ? u : v;
        const int64_t step = *c ? a_step : b_step;
        for (int64_t i = 0; i < n; ++i) out[i] = from[i * step];
      } else if (a_step == 1 && b_step == 1) {
        for (int64_t i = 0; i < n; ++i) {
          const T yes = u[i], no = v[i];
          out[i] = c[i] ? yes : no;
        }
      } else {
        for (int64_t i = 0; i < n; ++i) {
          const T yes = u[i * a_step], no = v[i * b_step];
          out[i] = c[i] ? yes : no;
        }
      }
    });
  });
}

}  // namespace

void Select(const LoopNest& loops, const bool* cond, const void* a, const void* b, void* y, size_t element_size, Gang& gang) {
  WithElementType(element_size, [&]<typename T>(T) {
    Run(loops, cond, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y), gang);
  });
}

}  // namespace tfengine::cpu
