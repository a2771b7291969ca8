// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/cast.h"

#include "backends/cpu/kernels/cast_loops.h"
#include "backends/cpu/kernels/elements.h"
#include "backends/cpu/kernels/loops.h"

namespace tfengine::cpu {
namespace {

using simd_portable::Brain;
using simd_portable::Half;

// Calls fn(T()) with the type of `dtype`; false if it is none of those that are cast.
template <typename Fn>
bool WithType(DType dtype, const Fn& fn) {
  switch (dtype) {
    case DType::kFloat32: fn(float()); return true;
    case DType::kFloat64: fn(double()); return true;
    case DType::kFloat16: fn(Half()); return true;
    case DType::kBfloat16: fn(Brain()); return true;
    case DType::kInt8: fn(int8_t()); return true;
    case DType::kInt16: fn(int16_t()); return true;
    case DType::kInt32: fn(int32_t()); return true;
    case DType::kInt64: fn(int64_t()); return true;
    case DType::kUint8: fn(uint8_t()); return true;
    case DType::kUint16: fn(uint16_t()); return true;
    case DType::kUint32: fn(uint32_t()); return true;
    case DType::kUint64: fn(uint64_t()); return true;
    case DType::kBool: fn(bool()); return true;
    default: return false;
  }
}

int HotIndex(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return 0;
    case DType::kInt32: return 1;
    case DType::kInt64: return 2;
    case DType::kUint8: return 3;
    case DType::kBool: return 4;
    case DType::kFloat16: return 5;
    case DType::kBfloat16: return 6;
    default: return -1;
  }
}

CastLoop FindLoop(DType from, DType to, CpuIsa isa) {
  const int i = HotIndex(from), j = HotIndex(to);
  if (isa != CpuIsa::kPortable && i >= 0 && j >= 0) {
    return (isa == CpuIsa::kAvx512 ? kCastAvx512 : kCastAvx2).loop[i][j];
  }
  CastLoop loop = nullptr;
  WithType(from, [&]<typename From>(From) {
    WithType(to, [&]<typename To>(To) { loop = simd_portable::CastRange<From, To>; });
  });
  return loop;
}

}  // namespace

bool CastSupported(DType from, DType to) {
  return WithType(from, [](auto) {}) && WithType(to, [](auto) {});
}

void Cast(const void* x, DType from, void* y, DType to, int64_t n, Gang& gang, CpuIsa isa) {
  const CastLoop loop = FindLoop(from, to, isa);
  TFE_CHECK(loop != nullptr);
  const int64_t x_size = static_cast<int64_t>(DTypeSize(from)), y_size = static_cast<int64_t>(DTypeSize(to));
  ParallelParts(gang, n, kMovePart / (x_size + y_size), [&](int64_t begin, int64_t end) {
    loop(static_cast<const char*>(x) + begin * x_size, static_cast<char*>(y) + begin * y_size, end - begin);
  });
}

}  // namespace tfengine::cpu
