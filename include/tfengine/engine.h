// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tfengine/export.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

// One input or output of an engine or signature. Unknown sizes are -1.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kInvalid;
  std::vector<int64_t> shape;
  bool known_rank = true;  // false: any shape; `shape` is empty
};

// Memory of a GPU out of a caller's allocator. Thread-safe; called while engines are made and run, so both must be quick.
struct DeviceMemory {
  // At least 256-byte aligned, for any stream to use at once; nullptr: there is none left (the engine reports
  // kOutOfMemory, and asks again in a later run).
  std::function<void*(size_t bytes)> allocate;
  // No work on the memory is pending any more.
  std::function<void(void* memory)> release;
};

struct EngineOptions {
  // "cpu", "cuda" (the first GPU) or "cuda:<index>".
  std::string device = "cpu";
  // Threads of one run, the caller included; 0: all CPUs this process may use.
  int threads = 0;
  // Runs a closure on another thread, now or later. Empty: tfengine's own threads. TensorFlow passes its own pool here,
  // so that an engine never adds threads to TensorFlow's.
  std::function<void(std::function<void()>)> spawn;
  // Most shapes whose buffer plans are kept; the least recently used is dropped. Weights are not affected.
  int max_cached_shapes = 16;
  // cuda: a directory where compiled kernels are kept; empty: each process compiles its own.
  std::string kernel_cache;
  // cuda: products of f32 may round their operands to TF32 (10 bits of mantissa), which is much faster.
  bool tf32 = false;
  // cuda: the most scratch memory that a kernel of cuBLASLt or cuDNN may take.
  int64_t max_workspace_bytes = int64_t{1} << 62;
  // cuda: weights and activations live in this memory; null: in memory of the driver.
  std::shared_ptr<const DeviceMemory> device_memory;
};

// A view of a caller's input: row-major, `shape` fully known.
struct InputView {
  DType dtype = DType::kInvalid;
  std::vector<int64_t> shape;
  const void* data = nullptr;  // may be null for an input that the network does not read
};

// An engine: an optimised network with its weights packed for this machine, ready to run any shape that its
// symbolic shapes allow. Thread-safe: any number of threads may call Run at once; each takes a context (an
// activation arena) from a free list. Weights are shared by all contexts and shapes.
class TFENGINE_API Engine {
 public:
  // Loads an engine file written by a conversion. The file is mapped; its checksums are verified. An engine file made
  // on another machine type is rebuilt from its portable part (weights packed again, default tactics).
  // Errors: kFileMissing, kPlanCorrupt, kPlanVersion, kOutOfMemory; of a device other than the CPU also
  // kDeviceUnavailable, kDeviceFailed, kDeviceUnsupported (names the operation).
  static Result<std::shared_ptr<Engine>> Load(const std::string& path, const EngineOptions& options = {});
  virtual ~Engine() = default;

  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;

  // Gives the memory for output `index` once its shape is known, 64-byte aligned if it can be; nullptr fails the run
  // with kOutOfMemory.
  using OutputAllocator = std::function<void*(int index, DType dtype, const std::vector<int64_t>& shape)>;

  // Runs once. Inputs in the order of inputs(). Errors: kInputMismatch, kShapeUnsupported, kOutOfMemory; the engine
  // stays usable after any error.
  virtual Status Run(const std::vector<InputView>& inputs, const OutputAllocator& allocate) = 0;
  Result<std::vector<Tensor>> Run(const std::vector<Tensor>& inputs);

  // The same with inputs and outputs in the memory of the engine's device, in the order of `stream` (a CUstream; nullptr:
  // the default stream). Returns when the work is queued; inputs and outputs must live until it is done. An index that is
  // out of range is not reported. Pointers that the driver knows to lie elsewhere, or to have fewer bytes left than the
  // shape needs, are kInputMismatch. Runs on one stream share one set of activations. Engines of the CPU:
  // kDeviceUnavailable; kDeviceUnsupported for an operation that only Run can fall back from.
  virtual Status RunOnDevice(const std::vector<InputView>& inputs, const OutputAllocator& allocate, void* stream);

  // Makes the buffer plan for these input shapes now instead of in the first Run.
  virtual Status Prepare(const std::vector<std::vector<int64_t>>& input_shapes) = 0;

  // What `inspect` shows: JSON with the device, precision, network text, and per layer the chosen tactic.
  virtual std::string DescribeJson() const = 0;
  // Least time of each step over a few runs with these inputs, in one piece: {"steps": [{name, op, tactic, ms,
  // bytes, flops}]}; bytes: of operands and results, each once.
  virtual Result<std::string> ProfileJson(const std::vector<InputView>& inputs) = 0;
};

}  // namespace tfengine
