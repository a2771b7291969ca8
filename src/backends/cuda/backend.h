// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "backends/compile_backend.h"
#include "backends/cuda/device.h"
#include "backends/cuda/stopwatch.h"

namespace tfengine::cuda {

// The compile side of GPUs. Nodes that it has no kernel for are kDeviceUnsupported.
class CudaBackend : public CompileBackend {
 public:
  CudaBackend(Device& device, const BackendOptions& options) : device_(device), options_(options), stopwatch_(device) {}

  Device& device() const { return device_; }
  const BackendOptions& options() const { return options_; }

  std::string Fingerprint() const override;
  DType half() const override { return DType::kFloat16; }
  bool int8() const override { return device_.architecture() >= 80; }
  bool fp8() const override { return device_.architecture() >= kFp8Architecture; }
  bool RunsTyped(const Network& network, const Node& node) const override;
  std::vector<std::string> Tactics(const ConcreteNode& node) const override;
  Result<Lowered> Lower(const ConcreteNode& node, const std::string& tactic, WeightStore& weights, int threads) const override;
  Result<std::optional<Lowered>> LowerChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>& tactics, const std::string& wish,
                                            WeightStore& weights, int threads) const override;
  std::vector<std::string> ChainTactics(const std::vector<ConcreteNode>& nodes) const override;
  std::vector<std::string> JointTactics(const std::vector<ConcreteNode>& nodes) const override;
  Result<std::optional<Lowered>> LowerJoint(const std::vector<ConcreteNode>& nodes, const std::string& tactic, WeightStore& weights) const override;
  Result<std::optional<Lowered>> LowerConverted(const ConcreteNode& norm, const ConcreteNode& convert, const std::string& tactic, WeightStore& weights) const override;
  void LowerEach(size_t count, FunctionRef<void(size_t)> job) const override;
  std::shared_ptr<const Kernel> Copy(size_t bytes) const override;
  bool on_host() const override { return false; }
  std::optional<double> Measure(const Lowered& lowered, const ConcreteNode& node, bool cold, double best_so_far) const override;

 private:
  Device& device_;
  const BackendOptions options_;
  mutable Stopwatch stopwatch_;
};

// "cuda" → 0, "cuda:3" → 3, nullopt for any other name.
std::optional<int> DeviceIndex(const std::string& device);

}  // namespace tfengine::cuda
