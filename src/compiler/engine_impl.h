// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "compiler/batching.h"
#include "compiler/engine_base.h"
#include "compiler/specialize.h"
#include "network/network.h"
#include "plan/plan.h"
#include "quant/assign.h"
#include "runtime/memory_pool.h"
#include "tfengine/engine.h"

namespace tfengine {

// Engine on top of Specialize: a small cache of shapes, each with the executables that serve it.
class EngineImpl : public EngineBase {
 public:
  static Result<std::shared_ptr<EngineImpl>> Create(Plan plan, const EngineOptions& options);
  // For a network at hand (already optimised); `choices` apply whatever the device.
  static Result<std::shared_ptr<EngineImpl>> Create(const Network& network, const Numerics& numerics,
                                                    const DeviceChoices& choices, const EngineOptions& options);

  // For tuning, before the engine is shared: one way to cut all batches; shape plans are made anew.
  void SetBatching(int micro_batch, bool sample_parallel);
  const BatchSeparation& separation() const { return separation_; }

  Status Observe(const std::vector<InputView>& inputs, const Observer& observer, std::vector<Tensor>* outputs = nullptr) override;

  Status Run(const std::vector<InputView>& inputs, const OutputAllocator& allocate) override;
  Status Prepare(const std::vector<std::vector<int64_t>>& input_shapes) override;
  std::string DescribeJson() const override;
  Result<std::string> ProfileJson(const std::vector<InputView>& inputs) override;

 private:
  // How one set of input shapes is run: `pieces` runs of `main`, then one of `tail` if the batch leaves a rest.
  struct ShapePlan {
    std::vector<std::vector<int64_t>> input_shapes;
    std::vector<Executable::Port> outputs;  // at the full shape
    std::shared_ptr<const Executable> main;
    std::shared_ptr<const Executable> tail;
    int64_t pieces = 1;
    int64_t batch = 1, piece = 1;  // samples in all, and per run of main
    bool parallel = false;         // pieces go to threads, each piece on one thread
  };

  EngineImpl(quant::Assignment assignment, const Numerics& numerics, const EngineOptions& options);
  Status Initialize();
  // The plan for these inputs if it was made before, without copying their shapes.
  std::shared_ptr<const ShapePlan> KnownShapePlan(const std::vector<InputView>& inputs);
  Result<std::shared_ptr<const ShapePlan>> GetShapePlan(const std::vector<std::vector<int64_t>>& shapes);
  Result<std::shared_ptr<const ShapePlan>> MakeShapePlan(const std::vector<std::vector<int64_t>>& shapes);
  Status RunPieces(const ShapePlan& plan, const std::vector<InputView>& inputs, const std::vector<void*>& outputs);
  struct WholeRun;
  Result<std::unique_ptr<WholeRun>> PrepareWhole(const std::vector<InputView>& inputs, bool views);

  const CompileBackend* backend_ = nullptr;
  BatchSeparation separation_;
  MemoryPool memory_;

  std::mutex mu_;  // guards shapes_; never held while a plan is made
  std::list<std::shared_ptr<const ShapePlan>> shapes_;  // most recently used first
};

}  // namespace tfengine
