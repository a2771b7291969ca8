// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/errors.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/util/env_var.h"
#include "tfengine/status.h"

namespace tfengine {

// Container and resource type under which TF-TRT keeps its engines in a device's resource manager.
inline constexpr char kContainer[] = "TF-TRT";

// An error of the op itself.
inline Status EngineFailed(std::string message) {
  return Status(StatusCode::kInternal, static_cast<int>(ErrorId::kEngineFailed),
                std::move(message));
}

// Engines go by the last part of their nodes' names.
inline std::string EngineNameOf(const std::string& node) {
  return node.substr(node.rfind('/') + 1);  // npos + 1 is 0
}

inline bool IsGpu(tensorflow::DeviceBase* device) {
  const auto* info = device->tensorflow_accelerator_device_info();
  return info != nullptr && info->stream != nullptr;
}

// TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION, asked at every fallback as TF-TRT did.
inline bool NativeExecutionAllowed() {
  bool allowed = true;
  const absl::Status status = tensorflow::ReadBoolFromEnvVar(
      "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION", true, &allowed);
  return !status.ok() || allowed;
}

}  // namespace tfengine
