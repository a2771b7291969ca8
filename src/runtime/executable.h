// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/gang.h"
#include "runtime/kernel.h"
#include "tfengine/types.h"

// The run side: a flat list of steps over planned buffers. Knows neither networks nor TensorFlow.
namespace tfengine {

// Where a step finds an operand.
struct BufferRef {
  enum class Kind { kArena, kInput, kOutput, kConstant };
  Kind kind = Kind::kArena;
  int index = 0;       // input, output or constant number; 0 for the arena
  int64_t offset = 0;  // bytes from the start of the arena, input, output or constant
  bool operator==(const BufferRef&) const = default;
};

struct Step {
  std::string name;    // of the node
  std::string op;
  std::string tactic;
  std::shared_ptr<const Kernel> kernel;
  std::vector<BufferRef> in;
  std::vector<BufferRef> out;
  std::vector<int> values;  // what `out` holds: numbers of network values; empty for copies
  std::vector<int> nodes;   // of the network, that it runs; empty for copies
};

// A network at fixed shapes, ready to run. Immutable and thread-safe; each run brings its own memory.
struct Executable {
  struct Port {
    DType dtype;
    std::vector<int64_t> shape;
    size_t bytes = 0;
  };
  std::vector<Port> inputs;
  std::vector<Port> outputs;
  std::vector<Step> steps;
  std::vector<std::shared_ptr<const Tensor>> constants;
  int threads = 1;          // the most a Gang may have when it runs this
  size_t arena_bytes = 0;   // activations
  size_t scratch_bytes = 0;  // placed behind the activations
  size_t memory_bytes() const { return arena_bytes + scratch_bytes; }

  // Runs all steps. `memory`: memory_bytes() bytes, 64-byte aligned, used by this run alone. `after_step` (may be
  // empty) is called after each step with its index and the addresses of its results.
  Status Run(const void* const* inputs, void* const* outputs, void* memory, Gang& gang,
             const std::function<void(int step, void* const* out)>& after_step = {}) const;
};

}  // namespace tfengine
