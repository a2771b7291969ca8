// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/cuda/backend.h"
#include "compiler/engine_base.h"
#include "compiler/specialize.h"

namespace tfengine {

// Engine on a GPU. Per set of input shapes an executable and a free list of contexts: device memory, a stream and the
// CUDA graphs that were captured in it. A context that saw an error is dropped; the engine stays usable.
class CudaEngine : public EngineBase {
 public:
  // `options.device` is "cuda" or "cuda:<index>". Errors: kBadFlag, and those of Engine::Load.
  static Result<std::shared_ptr<CudaEngine>> Create(Plan plan, const EngineOptions& options);
  // For a network at hand (already optimised).
  static Result<std::shared_ptr<CudaEngine>> Create(const Network& network, const Numerics& numerics, const DeviceChoices& choices,
                                                    const EngineOptions& options);

  Status Run(const std::vector<InputView>& inputs, const OutputAllocator& allocate) override;
  Status RunOnDevice(const std::vector<InputView>& inputs, const OutputAllocator& allocate, void* stream) override;
  Status Prepare(const std::vector<std::vector<int64_t>>& input_shapes) override;
  Status Observe(const std::vector<InputView>& inputs, const Observer& observer, std::vector<Tensor>* outputs = nullptr) override;
  std::string DescribeJson() const override;
  // The steps one by one, and "graph_ms": the whole graph, without copies to and from the host.
  Result<std::string> ProfileJson(const std::vector<InputView>& inputs) override;

 private:
  // One captured way to run a context: with its own input and output buffers, or with a caller's.
  struct Captured {
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    bool copies = false;  // from and to page-locked memory
    cuda::CUgraphExec exec = nullptr;
  };
  struct Context {
    explicit Context(const cuda::Device& d) : device(d) {}
    ~Context();
    const cuda::Device& device;
    cuda::DeviceBuffer memory;             // activations, scratch, error flag
    std::vector<cuda::DeviceBuffer> inputs, outputs;
    std::vector<cuda::PinnedBuffer> host_inputs, host_outputs;
    cuda::PinnedBuffer host_error;
    cuda::CUstream stream = nullptr;
    cuda::CUevent done = nullptr;          // the last work on a caller's stream
    bool busy = false;                     // `done` was recorded and not waited for
    std::list<Captured> graphs;            // most recently used first
    std::vector<const void*> last_inputs;  // of a caller: graphs are captured when they come again
    std::vector<void*> last_outputs;
    int* error = nullptr;
  };
  struct ShapePlan {
    std::vector<std::vector<int64_t>> input_shapes;
    std::shared_ptr<const Executable> exe;
    std::vector<const void*> constants;  // device copies, by constant number
    std::mutex mu;
    std::vector<std::unique_ptr<Context>> free;
  };

  static Result<std::shared_ptr<CudaEngine>> Make(const Network& network, const Numerics& numerics, const EngineOptions& options, const MappedFile* file);
  CudaEngine(quant::Assignment assignment, const Numerics& numerics, std::shared_ptr<const cuda::CudaBackend> backend, const EngineOptions& options);
  Result<std::shared_ptr<ShapePlan>> GetShapePlan(const std::vector<std::vector<int64_t>>& shapes);
  Result<std::shared_ptr<ShapePlan>> MakeShapePlan(const std::vector<std::vector<int64_t>>& shapes);
  Result<const void*> ConstantOnDevice(const std::shared_ptr<const Tensor>& constant);
  Result<std::unique_ptr<Context>> TakeContext(ShapePlan& plan);
  Result<std::unique_ptr<Context>> MakeContext(const ShapePlan& plan);
  static void Give(ShapePlan& plan, std::unique_ptr<Context> context);
  static char* Resolve(const BufferRef& ref, const ShapePlan& plan, const Context& c, const std::vector<const void*>& inputs,
                       const std::vector<void*>& outputs);
  // Queues every step, or from..to of them.
  Status Enqueue(const ShapePlan& plan, Context& c, const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
                 cuda::CUstream stream, size_t from = 0, size_t to = SIZE_MAX) const;
  Status EnqueueWithCopies(const ShapePlan& plan, Context& c) const;
  // Captures what `enqueue` puts into the context's stream.
  Status Capture(Context& c, Captured captured, FunctionRef<Status()> enqueue) const;
  void FreeMemory();
  // Milliseconds of what `enqueue` queues, captured `repeats` times in one graph: the median of several launches.
  Result<double> Time(Context& c, int repeats, FunctionRef<Status()> enqueue) const;

  std::shared_ptr<const cuda::CudaBackend> backend_;
  cuda::Device& device_;
  std::mutex constants_mu_;
  std::map<const Tensor*, std::pair<std::shared_ptr<const Tensor>, cuda::DeviceBuffer>> constants_;
  std::mutex mu_;  // guards shapes_
  std::list<std::shared_ptr<ShapePlan>> shapes_;  // most recently used first
};

}  // namespace tfengine
