// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/convert.h"

#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/typed_blocks.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 16384;  // elements worth a task of their own

}  // namespace

const TypedKernels& TypedKernelsFor(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512: return HostCpu().avx512_bf16 ? kTypedAvx512bf16 : kTypedAvx512;
    case CpuIsa::kAvx2: return kTypedAvx2;
    case CpuIsa::kPortable: break;
  }
  return kTypedPortable;
}

void Convert(const void* x, const Format& from, void* y, const Format& to, int64_t n, Gang& gang, CpuIsa isa, float low,
             float high) {
  const ConvertLoop loop = TypedKernelsFor(isa).convert[Index(from)][Index(to)];
  ParallelParts(gang, n, kPart, [&](int64_t begin, int64_t end) {
    loop(At(x, from, begin), from, At(y, to, begin), to, low, high, end - begin);
  });
}

}  // namespace tfengine::cpu
