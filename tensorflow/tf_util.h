// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/errors.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/platform/threadpool.h"
#include "tensorflow/core/util/env_var.h"
#include "tfengine/engine.h"

namespace tfengine {

// Container and resource type under which TF-TRT keeps its engines in a device's resource manager.
inline constexpr char kContainer[] = "TF-TRT";

// An error of the op itself.
inline Status EngineFailed(std::string message) {
  return Status(StatusCode::kInternal, static_cast<int>(ErrorId::kEngineFailed),
                std::move(message));
}

// Engines take their threads from the intra-op pool of the device they run on.
inline EngineOptions OptionsFor(tensorflow::DeviceBase* device, int max_cached_engines) {
  EngineOptions options;
  const auto* workers = device->tensorflow_cpu_worker_threads();
  tensorflow::thread::ThreadPool* pool = workers->workers;
  options.threads = workers->num_threads;
  options.spawn = [pool](std::function<void()> work) { pool->Schedule(std::move(work)); };
  if (max_cached_engines > options.max_cached_shapes)
    options.max_cached_shapes = max_cached_engines;
  return options;
}

// TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION, asked at every fallback as TF-TRT did.
inline bool NativeExecutionAllowed() {
  bool allowed = true;
  const absl::Status status = tensorflow::ReadBoolFromEnvVar(
      "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION", true, &allowed);
  return !status.ok() || allowed;
}

}  // namespace tfengine
