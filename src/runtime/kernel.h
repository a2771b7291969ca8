// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/gang.h"
#include "tfengine/status.h"

namespace tfengine {

// One step's code with everything fixed but the buffers: shapes, tactic, packed weights. Immutable and thread-safe.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // in/out: one pointer per operand that is not baked into the kernel, in the order the lowering declared. `scratch`
  // has scratch_bytes() bytes, 64-byte aligned.
  virtual Status Run(const void* const* in, void* const* out, void* scratch, Gang& gang) const = 0;
  virtual size_t scratch_bytes(int threads) const { return 0; }
};

}  // namespace tfengine
