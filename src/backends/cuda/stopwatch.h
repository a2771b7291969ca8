// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backends/compile_backend.h"
#include "backends/cuda/device.h"

namespace tfengine::cuda {

// Times kernels on a device. Memory is kept from one measurement to the next; one thread at a time.
class Stopwatch {
 public:
  explicit Stopwatch(Device& device) : device_(device) {}
  // Milliseconds of one run; see CompileBackend::Measure.
  double Measure(const Lowered& lowered, const ConcreteNode& node, bool cold, double best_so_far);

 private:
  // Memory of at least that size that nobody else has since the last Reset(); nullptr: there is none.
  void* Take(size_t bytes);
  void Reset() { taken_.assign(buffers_.size(), false); }
  // Small random reals, the same block again and again; zeros for everything else, which are valid indices.
  bool FillWithSamples(const Operand& o, void* to) const;

  Device& device_;
  std::vector<DeviceBuffer> buffers_;
  std::vector<bool> taken_;
};

}  // namespace tfengine::cuda
