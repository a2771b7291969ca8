// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backends/compile_backend.h"
#include "base/errors.h"

namespace tfengine::cuda {

// strides, dilations and pads of a node; pads are top, bottom, left, right.
struct Window {
  std::vector<int64_t> strides, dilations, pads;

  explicit Window(const Attrs& attrs) : strides(attrs.Ints("strides")), dilations(attrs.Ints("dilations")) {
    if (strides.empty()) strides = {1, 1};
    if (dilations.empty()) dilations = {1, 1};
    for (Dim d : attrs.Dims("pads")) pads.push_back(d.value);
    if (pads.empty()) pads = {0, 0, 0, 0};
  }
  // Padding that was computed from sizes may come out negative for sizes that make no sense.
  Status Check() const {
    for (int64_t p : pads)
      if (p < 0) return Error(ErrorId::kShapeUnsupported, "padding is {} at these input shapes", p);
    return OkStatus();
  }
};

}  // namespace tfengine::cuda
