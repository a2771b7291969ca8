// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "backends/cpu/kernels/pool.h"
#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

// A pool node that a kernel runs.
struct PoolCall {
  PoolOp op = PoolOp::k_max;
  PoolShape shape;
  Format from, to;

  // `s`: `shape`, or other images.
  void Run(const PoolShape& s, const void* x, void* y, Gang& gang) const { Pool(op, s, x, from, y, to, gang); }
};

// nullopt if no kernel takes the node.
Result<std::optional<PoolCall>> PreparePool(const ConcreteNode& node);

}  // namespace tfengine::cpu
