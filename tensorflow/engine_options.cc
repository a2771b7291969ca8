// SPDX-License-Identifier: Apache-2.0
#include "engine_options.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/tensor_float_32_utils.h"
#include "tensorflow/core/platform/threadpool.h"
#include "tensorflow/core/util/env_var.h"
#include "tf_util.h"
#include "tfengine/kernel_cache.h"
#include "xla/stream_executor/stream.h"
#include "xla/stream_executor/stream_executor.h"

namespace tfengine {
namespace {

using ::tensorflow::Allocator;

stream_executor::Stream* StreamOf(tensorflow::DeviceBase* device) {
  const auto* info = device->tensorflow_accelerator_device_info();
  return info == nullptr ? nullptr : info->stream;
}

// The driver's number of the GPU; logical devices of one GPU have the same.
int OrdinalOf(tensorflow::DeviceBase* device) {
  const int ordinal = StreamOf(device)->parent()->device_ordinal();
  // Devices of plugins do not say; theirs are in the driver's order.
  return ordinal >= 0 ? ordinal : device->tensorflow_accelerator_device_info()->gpu_id;
}

std::string Environment(const char* name) {
  std::string value;
  const absl::Status status = tensorflow::ReadStringFromEnvVar(name, "", &value);
  return status.ok() ? value : "";
}

std::string KernelCache() {
  return DefaultKernelCache(Environment("XDG_CACHE_HOME").c_str(), Environment("HOME").c_str());
}

// TensorFlow hands out memory whose last use may still be queued on the compute stream; engines
// write to fresh memory from streams of their own.
std::shared_ptr<const DeviceMemory> MemoryOf(tensorflow::DeviceBase* device) {
  Allocator* allocator = device->GetAllocator(tensorflow::AllocatorAttributes());
  stream_executor::Stream* stream = StreamOf(device);
  auto memory = std::make_shared<DeviceMemory>();
  memory->allocate = [allocator, stream](size_t bytes) -> void* {
    // Without waiting for others to give memory back: the native segment can run meanwhile.
    const tensorflow::AllocationAttributes attributes(/*retry_on_failure=*/false,
                                                      /*allocation_will_be_logged=*/true, nullptr);
    void* data = allocator->AllocateRaw(Allocator::kAllocatorAlignment, bytes, attributes);
    if (data == nullptr) return nullptr;
    const absl::Status done = stream->BlockHostUntilDone();
    if (!done.ok()) LOG(WARNING) << "tfengine: waiting for the GPU: " << done;
    return data;
  };
  memory->release = [allocator](void* data) { allocator->DeallocateRaw(data); };
  return memory;
}

}  // namespace

EngineOptions OptionsFor(tensorflow::DeviceBase* device, int max_cached_engines) {
  EngineOptions options;
  const auto* workers = device->tensorflow_cpu_worker_threads();
  tensorflow::thread::ThreadPool* pool = workers->workers;
  options.threads = workers->num_threads;
  options.spawn = [pool](std::function<void()> work) { pool->Schedule(std::move(work)); };
  if (max_cached_engines > options.max_cached_shapes)
    options.max_cached_shapes = max_cached_engines;
  if (IsGpu(device)) {
    options.device = absl::StrCat("cuda:", OrdinalOf(device));
    options.tf32 = tensorflow::tensor_float_32_execution_enabled();
    options.kernel_cache = KernelCache();
    options.device_memory = MemoryOf(device);
  }
  return options;
}

}  // namespace tfengine
