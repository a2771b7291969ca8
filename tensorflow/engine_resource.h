// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "engine_state.h"
#include "tensorflow/core/framework/resource_base.h"

namespace tfengine {

// What InitializeTRTResource leaves in the device's resource manager: the engine of an engine file,
// or, if there was none to load, the reason (the engine is then built from the native segment).
// Immutable.
class EngineResource : public tensorflow::ResourceBase {
 public:
  explicit EngineResource(std::shared_ptr<EngineState> state) : state_(std::move(state)) {}
  explicit EngineResource(std::string reason) : reason_(std::move(reason)) {}

  // nullptr if the file held no usable engine.
  const std::shared_ptr<EngineState>& state() const { return state_; }
  const std::string& reason() const { return reason_; }
  std::string DebugString() const override { return state_ ? state_->StatsJson() : reason_; }

 private:
  const std::shared_ptr<EngineState> state_;
  const std::string reason_;
};

// Opens an engine file for `name`. Never fails: a file of TF-TRT (TensorRT engines, or empty), a
// damaged or a missing one gives a resource without an engine.
EngineResource* OpenEngineFile(const std::string& name, const std::string& path,
                               const EngineOptions& options);

}  // namespace tfengine
