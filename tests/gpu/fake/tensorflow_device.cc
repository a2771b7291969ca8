// SPDX-License-Identifier: Apache-2.0
// A device of type GPU for TensorFlow on machines without one (a pluggable device): its memory is host memory, and its streams do
// their work at once. With fake_cuda.cc the GPU kernels of our ops can be tested where there is no GPU. TensorFlow's own GPU
// kernels must not run on it.
#include <cstdlib>
#include <cstring>

#include "tensorflow/c/experimental/stream_executor/stream_executor.h"

namespace {

void Allocate(const SP_Device*, uint64_t size, int64_t, SP_DeviceMemoryBase* memory) {
  memory->struct_size = SP_DEVICE_MEMORY_BASE_STRUCT_SIZE;
  memory->opaque = std::aligned_alloc(256, (size + 255) / 256 * 256);
  memory->size = size;
}
void Deallocate(const SP_Device*, SP_DeviceMemoryBase* memory) {
  std::free(memory->opaque);
  memory->opaque = nullptr;
  memory->size = 0;
}
void* AllocateHost(const SP_Device*, uint64_t size) { return std::aligned_alloc(64, (size + 63) / 64 * 64); }
void DeallocateHost(const SP_Device*, void* memory) { std::free(memory); }
TF_Bool NoStats(const SP_Device*, SP_AllocatorStats*) { return 0; }
TF_Bool Usage(const SP_Device*, int64_t* free, int64_t* total) {
  *free = *total = int64_t{1} << 30;
  return 1;
}

template <class Handle>
void Make(const SP_Device*, Handle* handle, TF_Status*) {
  *handle = reinterpret_cast<Handle>(new char);
}
template <class Handle>
void Destroy(const SP_Device*, Handle handle) {
  delete reinterpret_cast<char*>(handle);
}
// Everything is done when it is asked for.
template <class... A>
void Nothing(A...) {}
SE_EventStatus Complete(const SP_Device*, SP_Event) { return SE_EVENT_COMPLETE; }

void ToHost(const SP_Device*, SP_Stream, void* to, const SP_DeviceMemoryBase* from, uint64_t size, TF_Status*) { std::memcpy(to, from->opaque, size); }
void ToDevice(const SP_Device*, SP_Stream, SP_DeviceMemoryBase* to, const void* from, uint64_t size, TF_Status*) { std::memcpy(to->opaque, from, size); }
void Within(const SP_Device*, SP_Stream, SP_DeviceMemoryBase* to, const SP_DeviceMemoryBase* from, uint64_t size, TF_Status*) {
  std::memmove(to->opaque, from->opaque, size);
}
void SyncToHost(const SP_Device* d, void* to, const SP_DeviceMemoryBase* from, uint64_t size, TF_Status* s) { ToHost(d, nullptr, to, from, size, s); }
void SyncToDevice(const SP_Device* d, SP_DeviceMemoryBase* to, const void* from, uint64_t size, TF_Status* s) { ToDevice(d, nullptr, to, from, size, s); }
void SyncWithin(const SP_Device* d, SP_DeviceMemoryBase* to, const SP_DeviceMemoryBase* from, uint64_t size, TF_Status* s) {
  Within(d, nullptr, to, from, size, s);
}
void Zero(const SP_Device*, SP_Stream, SP_DeviceMemoryBase* at, uint64_t size, TF_Status*) { std::memset(at->opaque, 0, size); }
void Set(const SP_Device*, SP_Stream, SP_DeviceMemoryBase* at, uint8_t pattern, uint64_t size, TF_Status*) { std::memset(at->opaque, pattern, size); }
void Set32(const SP_Device*, SP_Stream, SP_DeviceMemoryBase* at, uint32_t pattern, uint64_t size, TF_Status*) {
  for (uint64_t i = 0; i < size / 4; ++i) static_cast<uint32_t*>(at->opaque)[i] = pattern;
}
TF_Bool Callback(const SP_Device*, SP_Stream, SE_StatusCallbackFn callback, void* argument) {
  TF_Status* status = TF_NewStatus();
  callback(argument, status);
  TF_DeleteStatus(status);
  return 1;
}

void MakeExecutor(const SP_Platform*, SE_CreateStreamExecutorParams* params, TF_Status*) {
  SP_StreamExecutor& e = *params->stream_executor;
  e.struct_size = SP_STREAMEXECUTOR_STRUCT_SIZE;
  e.allocate = Allocate;
  e.deallocate = Deallocate;
  e.host_memory_allocate = e.unified_memory_allocate = AllocateHost;
  e.host_memory_deallocate = e.unified_memory_deallocate = DeallocateHost;
  e.get_allocator_stats = NoStats;
  e.device_memory_usage = Usage;
  e.create_stream = Make<SP_Stream>;
  e.destroy_stream = Destroy<SP_Stream>;
  e.create_stream_dependency = Nothing;
  e.get_stream_status = Nothing;
  e.create_event = Make<SP_Event>;
  e.destroy_event = Destroy<SP_Event>;
  e.get_event_status = Complete;
  e.record_event = Nothing;
  e.wait_for_event = Nothing;
  e.create_timer = Make<SP_Timer>;
  e.destroy_timer = Destroy<SP_Timer>;
  e.start_timer = Nothing;
  e.stop_timer = Nothing;
  e.memcpy_dtoh = ToHost;
  e.memcpy_htod = ToDevice;
  e.memcpy_dtod = Within;
  e.sync_memcpy_dtoh = SyncToHost;
  e.sync_memcpy_htod = SyncToDevice;
  e.sync_memcpy_dtod = SyncWithin;
  e.block_host_for_event = Nothing;
  e.block_host_until_done = Nothing;
  e.synchronize_all_activity = Nothing;
  e.mem_zero = Zero;
  e.memset = Set;
  e.memset32 = Set32;
  e.host_callback = Callback;
}

void CountDevices(const SP_Platform*, int* count, TF_Status*) { *count = 2; }
void MakeDevice(const SP_Platform*, SE_CreateDeviceParams* params, TF_Status*) {
  params->device->struct_size = SP_DEVICE_STRUCT_SIZE;
  params->device->ordinal = params->ordinal;
  params->device->hardware_name = "Fake GPU";
  params->device->device_vendor = "nobody";
  params->device->pci_bus_id = "0000:00:00.0";
}
uint64_t Nanoseconds(SP_Timer) { return 1; }
void MakeTimerFns(const SP_Platform*, SP_TimerFns* timer, TF_Status*) { timer->nanoseconds = Nanoseconds; }
void MakeDeviceFns(const SP_Platform*, SE_CreateDeviceFnsParams* params, TF_Status*) { params->device_fns->struct_size = SP_DEVICE_FNS_STRUCT_SIZE; }

}  // namespace

extern "C" __attribute__((visibility("default"))) void SE_InitPlugin(SE_PlatformRegistrationParams* params, TF_Status*) {
  params->major_version = SE_MAJOR;
  params->minor_version = SE_MINOR;
  params->patch_version = SE_PATCH;
  params->platform->struct_size = SP_PLATFORM_STRUCT_SIZE;
  params->platform->name = "FAKE";
  params->platform->type = "GPU";
  params->platform->use_bfc_allocator = 1;
  params->platform->force_memory_growth = 1;
  params->platform_fns->struct_size = SP_PLATFORM_FNS_STRUCT_SIZE;
  params->platform_fns->get_device_count = CountDevices;
  params->platform_fns->create_device = MakeDevice;
  params->platform_fns->destroy_device = Nothing;
  params->platform_fns->create_device_fns = MakeDeviceFns;
  params->platform_fns->destroy_device_fns = Nothing;
  params->platform_fns->create_stream_executor = MakeExecutor;
  params->platform_fns->destroy_stream_executor = Nothing;
  params->platform_fns->create_timer_fns = MakeTimerFns;
  params->platform_fns->destroy_timer_fns = Nothing;
  params->destroy_platform = Nothing;
  params->destroy_platform_fns = Nothing;
}
