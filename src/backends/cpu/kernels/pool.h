// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "base/gang.h"

namespace tfengine::cpu {

enum class PoolOp { k_max, k_avg };

// x [batch, in_h, in_w, channels] -> y [batch, out_h, out_w, channels]. Padding is never part of a window: it does not
// win a maximum and does not count in an average. A window without any input gives -FLT_MAX (max) or NaN (avg). As in
// TensorFlow, a maximum ignores NaN (a window of NaN alone gives -FLT_MAX too) and an average passes it on.
struct PoolShape {
  int64_t batch = 0, in_h = 0, in_w = 0, channels = 0;
  int64_t out_h = 0, out_w = 0;
  int64_t window_h = 1, window_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0;  // bottom and right follow from the sizes
  int64_t x_pixel = 0, y_pixel = 0;   // elements from one pixel to the next; 0: channels
};

// Between any formats. The sums of codes are exact up to windows of 2^16 points.
void Pool(PoolOp op, const PoolShape& shape, const void* x, const Format& from, void* y, const Format& to, Gang& gang,
          CpuIsa isa = HostCpu().isa);
inline void Pool(PoolOp op, const PoolShape& shape, const float* x, float* y, Gang& gang, CpuIsa isa = HostCpu().isa) {
  Pool(op, shape, x, Format{}, y, Format{}, gang, isa);
}

}  // namespace tfengine::cpu
