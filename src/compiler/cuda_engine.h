// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
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

// Engine on a GPU. Per set of input shapes an executable and a free list of contexts for runs on host memory. Runs on a
// caller's stream follow each other: they share one arena, whatever their shapes, with a context per shape. A context (and its
// CUDA graphs) that saw an error is dropped; the engine stays usable.
class CudaEngine : public EngineBase {
 public:
  // `options.device` is "cuda" or "cuda:<index>". Errors: kBadFlag, and those of Engine::Load.
  static Result<std::shared_ptr<CudaEngine>> Create(Plan plan, const EngineOptions& options);
  // For a network at hand (already optimised).
  static Result<std::shared_ptr<CudaEngine>> Create(const Network& network, const Numerics& numerics, const DeviceChoices& choices,
                                                    const EngineOptions& options);

  // Shapes at which an operation has no kernel for the GPU run on the CPU, whole.
  Status Run(const std::vector<InputView>& inputs, const OutputAllocator& allocate) override;
  Status RunOnDevice(const std::vector<InputView>& inputs, const OutputAllocator& allocate, void* stream) override;
  Status Prepare(const std::vector<std::vector<int64_t>>& input_shapes) override;
  Status Observe(const std::vector<InputView>& inputs, const Observer& observer, std::vector<Tensor>* outputs = nullptr) override;
  std::string DescribeJson() const override;
  // The steps one by one, and "graph_ms": the whole graph, without copies to and from the host.
  Result<std::string> ProfileJson(const std::vector<InputView>& inputs) override;
  // Bytes on the device, but for runs under way, kernels and graphs.
  struct DeviceUse {
    size_t weights = 0;      // packed for kernels
    size_t constants = 0;    // that kernels read as they are
    size_t activations = 0;  // with scratch memory
    size_t ports = 0;        // inputs and outputs of its own
    size_t total() const { return weights + constants + activations + ports; }
  };
  DeviceUse MemoryUse();

 private:
  // A captured graph, ready to launch.
  class Graph {
   public:
    Graph() = default;
    Graph(const cuda::Device& device, cuda::CUgraphExec exec) : device_(&device), exec_(exec) {}
    Graph(Graph&& o) noexcept { *this = std::move(o); }
    Graph& operator=(Graph&& o) noexcept {
      std::swap(device_, o.device_);
      std::swap(exec_, o.exec_);
      return *this;
    }
    ~Graph();
    explicit operator bool() const { return exec_ != nullptr; }
    Status Launch(cuda::CUstream stream) const;

   private:
    const cuda::Device* device_ = nullptr;
    cuda::CUgraphExec exec_ = nullptr;
  };
  // Where the inputs and outputs of a run lie on the device.
  struct Pointers {
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    bool operator==(const Pointers&) const = default;
  };
  struct Captured {
    Pointers pointers;
    Graph graph;
  };
  struct Context {
    explicit Context(const cuda::Device& d) : device(d) {}
    ~Context();  // waits for its work

    const cuda::Device& device;
    cuda::DeviceBuffer memory;  // of its own, or empty
    char* base = nullptr;       // activations, scratch, error flag
    int* error = nullptr;
    cuda::CUstream stream = nullptr;  // for captures, and runs on host memory
    // Its own inputs and outputs; empty until needed.
    std::vector<cuda::DeviceBuffer> inputs, outputs;
    Graph own_graph;
    // For runs on host memory; empty until needed.
    std::vector<cuda::PinnedBuffer> host_inputs, host_outputs;
    cuda::PinnedBuffer host_error;
    Graph host_graph;  // copies in and out too
    // On a caller's buffers, most recently used first; `seen`: those that came once.
    std::list<Captured> graphs;
    std::list<Pointers> seen;
    int misses = 0;  // runs on pointers that had no graph
  };
  struct DeviceConstant {
    std::shared_ptr<const Tensor> source;
    cuda::DeviceBuffer copy;
  };
  struct ShapePlan {
    std::vector<std::vector<int64_t>> input_shapes;
    Status unsupported;  // not OK: the GPU lacks a kernel, and there is nothing but this
    std::shared_ptr<const Executable> exe;
    std::vector<bool> backwards;  // by step: Launch::backwards
    std::vector<std::shared_ptr<const DeviceConstant>> constants;  // by constant number
    std::atomic<bool> warm{false};       // ran once: libraries have loaded their code, which a capture does not allow
    std::mutex mu;
    std::vector<std::unique_ptr<Context>> free;
  };
  // What runs on one stream of a caller have.
  struct Arena {
    explicit Arena(const cuda::Device& d) : device(d) {}
    ~Arena();
    void Wait();   // for queued work
    void Clear();  // gives everything back; waits first

    const cuda::Device& device;
    std::mutex mu;  // held while work is queued
    cuda::CUevent done = nullptr;
    bool busy = false;  // `done` was recorded and not waited for
    cuda::DeviceBuffer memory;
    // Most recently used first. A context needs its shape's kernels.
    std::list<std::pair<std::shared_ptr<ShapePlan>, std::unique_ptr<Context>>> contexts;
  };

  static Result<std::shared_ptr<CudaEngine>> Make(const Network& network, const Numerics& numerics, const EngineOptions& options, const MappedFile* file);
  CudaEngine(const Network& network, quant::Assignment assignment, const Numerics& numerics, std::shared_ptr<const cuda::CudaBackend> backend,
             const EngineOptions& options);

  Result<std::shared_ptr<ShapePlan>> GetShapePlan(const std::vector<std::vector<int64_t>>& shapes);
  Result<std::shared_ptr<ShapePlan>> MakeShapePlan(const std::vector<std::vector<int64_t>>& shapes);
  Result<std::shared_ptr<const DeviceConstant>> ConstantOnDevice(const std::shared_ptr<const Tensor>& constant);
  // The engine that runs unsupported shapes.
  Result<std::shared_ptr<EngineBase>> OnCpu();

  Result<std::unique_ptr<Context>> TakeContext(ShapePlan& plan);
  // With memory of its own, or in that of `arena`.
  Result<std::unique_ptr<Context>> MakeContext(const ShapePlan& plan, const Arena* arena) const;
  static void Give(ShapePlan& plan, std::unique_ptr<Context> context);
  std::shared_ptr<Arena> ArenaOf(cuda::CUstream stream);
  // The context of `plan` in an arena that the caller has locked.
  Result<Context*> ContextIn(Arena& arena, const std::shared_ptr<ShapePlan>& plan);
  // Gives back what is idle. `mine`: the caller's arena, which it has locked.
  void FreeMemory(const Arena* mine);
  Status EnsureBuffers(const ShapePlan& plan, Context& c) const;
  Status EnsureHost(ShapePlan& plan, Context& c) const;
  // A plain run on zeros.
  Status Warm(ShapePlan& plan, Context& c) const;
  static Pointers OwnPointers(const Context& c);

  static char* Resolve(const BufferRef& ref, const ShapePlan& plan, const Context& c, const Pointers& at);
  // Queues every step, or from..to of them.
  Status Enqueue(const ShapePlan& plan, Context& c, const Pointers& at, cuda::CUstream stream, size_t from = 0, size_t to = SIZE_MAX) const;
  Status EnqueueWithCopies(const ShapePlan& plan, Context& c) const;
  // Captures what `enqueue` puts into the context's stream.
  Result<Graph> Capture(Context& c, FunctionRef<Status()> enqueue) const;
  // Queues a run on a caller's buffers, in the way that suits them.
  Status Queue(ShapePlan& plan, Context& c, const Pointers& caller, cuda::CUstream stream) const;
  Status QueueCopied(const ShapePlan& plan, Context& c, const Pointers& caller, cuda::CUstream stream) const;
  Status CheckPointers(const ShapePlan& plan, const Pointers& at) const;
  Status ObserveOnDevice(CalibrationImpl& calibration, const std::vector<InputView>& inputs, const OutputAllocator& allocate, cuda::CUstream stream);
  // Milliseconds of what `enqueue` queues, captured `repeats` times in one graph: the median of several launches.
  Result<double> Time(Context& c, int repeats, FunctionRef<Status()> enqueue) const;

  const Network source_;  // before types were assigned for the GPU
  const Numerics numerics_;
  std::shared_ptr<const cuda::CudaBackend> backend_;
  cuda::Device& device_;
  std::mutex constants_mu_;
  std::map<const Tensor*, std::weak_ptr<const DeviceConstant>> constants_;  // those that shapes use
  mutable std::mutex cpu_mu_;
  std::shared_ptr<EngineBase> cpu_;
  std::mutex mu_;  // guards shapes_
  std::list<std::shared_ptr<ShapePlan>> shapes_;  // most recently used first
  std::mutex arenas_mu_;
  std::list<std::pair<cuda::CUstream, std::shared_ptr<Arena>>> arenas_;  // most recently used first
};

}  // namespace tfengine
