// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/format.h"
#include "base/gang.h"

namespace tfengine::cpu {

// x [batch, in_h, in_w, channels] -> y [batch, out_h, out_w, channels], coordinates as ResizeBilinear and
// ResizeNearestNeighbor compute them. align_corners and half_pixel exclude each other. All input extents >= 1.
struct ResizeShape {
  int64_t batch = 0, in_h = 0, in_w = 0, channels = 0, out_h = 0, out_w = 0;
  bool align_corners = false, half_pixel = false;
  int64_t x_pixel = 0, y_pixel = 0;  // elements from one pixel to the next; 0: channels
};

void ResizeBilinear(const ResizeShape& shape, const void* x, const Format& from, void* y, const Format& to, Gang& gang);
inline void ResizeBilinear(const ResizeShape& shape, const float* x, float* y, Gang& gang) {
  ResizeBilinear(shape, x, Format{}, y, Format{}, gang);
}
// Elements of any size.
void ResizeNearest(const ResizeShape& shape, const void* x, size_t element_size, void* y, Gang& gang);

}  // namespace tfengine::cpu
