// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/fake_quant.h"

// Internal to fake_quant: its loop, compiled once per instruction set.
namespace tfengine::cpu {

// One number for the whole run, or one per element.
struct FakeQuantRun {
  const float* step;
  const float* factor;  // the divisor if `divides`
  const float* low;     // lo * step
  const float* high;    // hi * step
  const float* lo;
};

using FakeQuantLoop = void (*)(const FakeQuantRun& run, const float* x, float* y, int64_t n);
struct FakeQuantKernels {
  FakeQuantLoop loop[kCodeRoundings][2][2];  // [rounding][divides][parameters per element]
};
extern const FakeQuantKernels kFakeQuantPortable;
extern const FakeQuantKernels kFakeQuantAvx2;
extern const FakeQuantKernels kFakeQuantAvx512;

}  // namespace tfengine::cpu
