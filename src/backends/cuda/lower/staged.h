// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "backends/cuda/device.h"

namespace tfengine::cuda {

// Kernels that run one after the other as one step, with buffers between them in scratch memory.
class StagedKernel : public DeviceKernel {
 public:
  static constexpr int kOutput = 1000;   // the step's result
  static constexpr int kBuffer = 2000;   // kBuffer + i: buffer i between stages
  struct Stage {
    std::shared_ptr<const DeviceKernel> kernel;
    std::vector<int> in;  // numbers of the step's inputs, or kBuffer + i, or kOutput
    int out;              // kOutput or kBuffer + i
  };
  StagedKernel(std::vector<Stage> stages, const std::vector<size_t>& buffers) : stages_(std::move(stages)) {
    for (size_t bytes : buffers) {
      offsets_.push_back(total_);
      total_ += (bytes + 255) / 256 * 256;
    }
    for (const Stage& stage : stages_) most_scratch_ = std::max(most_scratch_, stage.kernel->scratch_bytes(1));
  }
  size_t scratch_bytes(int) const override { return total_ + most_scratch_; }
  bool reports() const override {
    return std::any_of(stages_.begin(), stages_.end(), [](const Stage& s) { return s.kernel->reports(); });
  }

  bool reverses() const override { return stages_.back().kernel->reverses(); }
  const DeviceBuffer* weights() const override {
    const auto stage = std::find_if(stages_.begin(), stages_.end(), [](const Stage& s) { return s.kernel->weights() != nullptr; });
    return stage == stages_.end() ? nullptr : stage->kernel->weights();
  }

  Status Enqueue(const void* const* in, void* const* out, const Launch& launch) const override {
    char* memory = static_cast<char*>(launch.scratch);
    auto resolve = [&](int at) -> void* {
      if (at >= kBuffer) return memory + offsets_[static_cast<size_t>(at - kBuffer)];
      return at == kOutput ? out[0] : const_cast<void*>(in[at]);
    };
    Launch inner = launch;
    inner.scratch = memory + total_;
    for (const Stage& stage : stages_) {
      inner.weights = stage.kernel->weights() == weights() ? launch.weights : nullptr;
      std::vector<const void*> from;
      for (int at : stage.in) from.push_back(resolve(at));
      void* to = resolve(stage.out);
      if (Status s = stage.kernel->Enqueue(from.data(), &to, inner); !s.ok()) return s;
    }
    return OkStatus();
  }

 private:
  std::vector<Stage> stages_;
  std::vector<size_t> offsets_;
  size_t total_ = 0, most_scratch_ = 0;
};

}  // namespace tfengine::cuda
