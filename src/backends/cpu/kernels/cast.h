// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "base/gang.h"
#include "tfengine/types.h"

namespace tfengine::cpu {

// Between float32, float64, float16, bfloat16, int8, int16, int32, int64, uint8, uint16, uint32, uint64 and bool.
bool CastSupported(DType from, DType to);

// TensorFlow's Cast: floats to integers truncate (out of range and NaN: as x86 conversions give for 32 and 64 bits,
// as TensorFlow's CPU kernel), anything to bool is != 0, narrowing between floats rounds to nearest even.
// y must not overlap x. Pairs that are not supported are a bug of the caller.
void Cast(const void* x, DType from, void* y, DType to, int64_t n, Gang& gang,
          CpuIsa isa = HostCpu().isa);

}  // namespace tfengine::cpu
