// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "base/function_ref.h"
#include "base/gang.h"
#include "network/network.h"
#include "plan/plan.h"
#include "quant/assign.h"
#include "tfengine/engine.h"

namespace tfengine {

class CalibrationImpl;

// What engines of every device share: the typed network, what was chosen for it, and the checks of inputs.
class EngineBase : public Engine {
 public:
  void set_name(std::string name) { name_ = std::move(name); }
  // As typed for this device.
  const Network& network() const { return network_; }
  const std::vector<quant::LayerPrecision>& layers() const { return layers_; }
  // One run in one piece that shows every value as it appears, inputs first; `value` is one of network().values(), the data
  // lies on the host. Values that only view others (reshapes) are not shown, unless they are outputs: those come last.
  // Outputs are dropped unless `outputs` is given.
  using Observer = std::function<void(const Value& value, const std::vector<int64_t>& shape, const void* data)>;
  virtual Status Observe(const std::vector<InputView>& inputs, const Observer& observer, std::vector<Tensor>* outputs = nullptr) = 0;
  // "FP32", "INT8", and the device's 16-bit type.
  std::string PrecisionText(quant::Precision precision) const;
  const std::vector<TensorSpec>& inputs() const override { return input_specs_; }
  const std::vector<TensorSpec>& outputs() const override { return output_specs_; }

 protected:
  // Completes the options: threads, and a way to use them.
  EngineBase(quant::Assignment assignment, const Numerics& numerics, const CompileBackend& backend, const EngineOptions& options);
  // What was chosen at the sizes nearest to these.
  const ShapeChoices& ChoicesFor(const std::vector<int64_t>& symbols) const;
  Status CheckInputs(const std::vector<InputView>& inputs) const;
  // Observe for `calibration`; `copy` puts an output where the caller wants it.
  Status RunObserved(CalibrationImpl& calibration, const std::vector<InputView>& inputs, const OutputAllocator& allocate,
                     FunctionRef<Status(void* to, const Tensor& output)> copy);
  // What DescribeJson says of every engine, and the members of the JSON object `more`.
  std::string Describe(const std::string& more) const;

  const Network network_;
  EngineOptions options_;
  const std::vector<quant::LayerPrecision> layers_;
  const std::string precision_;
  DeviceChoices choices_;
  std::string name_;      // of the engine file, or empty
  bool rebuilt_ = false;  // the file had no choices for this device
  std::vector<TensorSpec> input_specs_, output_specs_;
  WeightStore weights_;

 private:
  std::shared_ptr<ThreadPool> pool_;
  const CompileBackend& described_;
};

// The engine for options.device; `choices` apply whatever the device.
Result<std::shared_ptr<EngineBase>> CreateEngine(const Network& network, const Numerics& numerics, const DeviceChoices& choices,
                                                 const EngineOptions& options);

std::vector<std::vector<int64_t>> ShapesOf(const std::vector<InputView>& inputs);

}  // namespace tfengine
