// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/fake_quant.h"

#include <algorithm>
#include <vector>

#include "backends/cpu/kernels/fake_quant_kernels.h"
#include "backends/cpu/kernels/loops.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kPart = 16384;  // elements worth a task of their own

const FakeQuantKernels& KernelsFor(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512: return kFakeQuantAvx512;
    case CpuIsa::kAvx2: return kFakeQuantAvx2;
    case CpuIsa::kPortable: break;
  }
  return kFakeQuantPortable;
}

}  // namespace

void FakeQuant(const FakeQuantArgs& args, Gang& gang, CpuIsa isa) {
  const int64_t channels = args.channels, total = args.outer * channels * args.inner;
  if (total == 0) return;
  const bool divides = args.inverse == nullptr;
  std::vector<float> derived(static_cast<size_t>(3 * channels));
  float *low = derived.data(), *high = low + channels, *factor = high + channels;
  for (int64_t c = 0; c < channels; ++c) {
    low[c] = args.lo[c] * args.step[c];
    high[c] = args.hi[c] * args.step[c];
    // A step of 0 leaves zeros to divide.
    factor[c] = !divides ? args.inverse[c] : args.step[c] == 0 ? 1 : args.step[c];
  }
  const bool each = args.inner == 1 && channels > 1;
  const FakeQuantLoop loop = KernelsFor(isa).loop[static_cast<int>(args.rounding)][divides][each];
  const int64_t period = channels * args.inner;
  const int64_t run = each ? channels : channels == 1 ? total : args.inner;
  ParallelParts(gang, total, kPart, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t n = std::min(end - at, run - at % run);
      const int64_t c = channels == 1 ? 0 : at % period / args.inner;
      loop({args.step + c, factor + c, low + c, high + c, args.lo + c}, args.x + at, args.y + at, n);
      at += n;
    }
  });
}

}  // namespace tfengine::cpu
