// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "engine_state.h"
#include "tensorflow/core/framework/resource_base.h"

namespace tfengine {

// What InitializeTRTResource leaves in the device's resource manager: the engine of an engine file,
// or, if there was none to load, the reason (the engine is then built from the native segment).
// Immutable.
class EngineResource : public tensorflow::ResourceBase {
 public:
  // `state`: nullptr without a usable engine; then `reason` says why.
  EngineResource(std::string file_id, std::shared_ptr<EngineState> state, std::string reason)
      : file_id_(std::move(file_id)), state_(std::move(state)), reason_(std::move(reason)) {}

  // Which file this is, as FileId() gave it when the file was opened.
  const std::string& file_id() const { return file_id_; }
  const std::shared_ptr<EngineState>& state() const { return state_; }
  const std::string& reason() const { return reason_; }
  std::string DebugString() const override { return state_ ? state_->StatsJson() : reason_; }

 private:
  const std::string file_id_;
  const std::shared_ptr<EngineState> state_;
  const std::string reason_;
};

// Path, size and time of a file: changes if the file is replaced.
std::string FileId(const std::string& path);

// Opens an engine file for `name` on `device` (its resource manager). Never fails: a file of TF-TRT
// (TensorRT engines, or empty), a damaged or a missing one gives a resource without an engine.
EngineResource* OpenEngineFile(const void* device, const std::string& name, const std::string& path,
                               const EngineOptions& options);

}  // namespace tfengine
