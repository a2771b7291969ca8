// SPDX-License-Identifier: Apache-2.0
// Stands for NVIDIA's libraries on machines without a GPU, so that engines, their contexts, graphs, memory and errors can be
// tested there: libcuda.so.1, libnvrtc.so.13, libcublasLt.so.13 and libcudnn.so.9 in one. Device memory is host memory with
// a limit; streams do their work at once; a capture records it. Kernels without shared memory run: their sources are compiled
// for the host, and every thread is a call. The product libraries know no algorithm, so that everything runs on our own
// kernels. What a real device forbids while capturing is an error here too.
// FAKE_CUDA_MEMORY: bytes of device memory (default 512 MiB). FAKE_CUDA_DEVICES: how many (default 2). FAKE_CUDA_LOST: while this file
// exists, whatever asks the devices for work, copies or memory fails as after a failed launch.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "backends/cuda/api.h"
#include "kernel_shim.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace cuda = tfengine::cuda;
using cuda::CUdeviceptr;

namespace {

enum : int { kOk = 0, kInvalid = 1, kNoMemory = 2, kNotFound = 500, kLaunchFailed = 719, kCapturing = 900 };

struct Stream {
  bool capturing = false;
  std::vector<std::function<void()>> recorded;
};
struct Graph {
  std::vector<std::function<void()>> work;
};
struct Function {
  void (*call)(void** arguments, const unsigned* grid, const unsigned* block) = nullptr;
  const size_t* sizes = nullptr;
  size_t count = 0;
};
struct Module {
  void* library = nullptr;
  Function function;
};

std::mutex mu;
std::map<CUdeviceptr, std::pair<size_t, int>> allocations;  // by address: bytes, device
size_t used = 0;
Stream default_stream;
thread_local int captures = 0;  // that this thread has open
thread_local int current = 0;   // device + 1; 0: none

size_t Number(const char* variable, size_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}
size_t Limit() { return Number("FAKE_CUDA_MEMORY", size_t{512} << 20); }
int Devices() { return static_cast<int>(Number("FAKE_CUDA_DEVICES", 2)); }

bool Lost() {
  const char* file = std::getenv("FAKE_CUDA_LOST");
  return file != nullptr && access(file, F_OK) == 0;
}

// The allocation that `p` lies in, or end.
std::map<CUdeviceptr, std::pair<size_t, int>>::iterator Find(CUdeviceptr p) {
  auto it = allocations.upper_bound(p);
  if (it == allocations.begin()) return allocations.end();
  --it;
  return p < it->first + it->second.first ? it : allocations.end();
}

// Whether these bytes are device memory; memory of another user of the process (a stand-in for TensorFlow) is let through if
// FAKE_CUDA_ANY_POINTER is set.
bool OnDevice(CUdeviceptr p, size_t bytes) {
  if (std::getenv("FAKE_CUDA_ANY_POINTER") != nullptr) return true;
  std::lock_guard<std::mutex> lock(mu);
  const auto it = Find(p);
  return it != allocations.end() && p + bytes <= it->first + it->second.first;
}

int Submit(cuda::CUstream handle, std::function<void()> work) {
  if (current == 0) return 201;  // CUDA_ERROR_INVALID_CONTEXT
  if (Lost()) return kLaunchFailed;
  Stream* stream = handle == nullptr ? &default_stream : reinterpret_cast<Stream*>(handle);
  if (stream->capturing) {
    stream->recorded.push_back(std::move(work));
  } else {
    work();
  }
  return kOk;
}

void* At(CUdeviceptr p) { return reinterpret_cast<void*>(p); }

}  // namespace

// --- the driver ---
EXPORT int cuInit(unsigned) { return Devices() > 0 ? kOk : 100; }
EXPORT int cuDriverGetVersion(int* version) { return *version = 13000, kOk; }
EXPORT int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR", kOk; }
EXPORT int cuGetErrorString(int error, const char** text) {
  *text = error == kNoMemory ? "out of memory" : error == kCapturing ? "not permitted while a stream is capturing" : error == kLaunchFailed ? "unspecified launch failure" : "fake error";
  return kOk;
}
EXPORT int cuDeviceGetCount(int* count) { return *count = Devices(), kOk; }
EXPORT int cuDeviceGet(int* device, int index) { return *device = index, kOk; }
EXPORT int cuDeviceGetName(char* name, int length, int) { return std::strncpy(name, "Fake GPU", static_cast<size_t>(length)), kOk; }
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == cuda::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 7 : attribute == cuda::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 5 : 4;
  return kOk;
}
EXPORT int cuDevicePrimaryCtxRetain(cuda::CUcontext* context, int device) {
  *context = reinterpret_cast<cuda::CUcontext>(static_cast<intptr_t>(device + 1));
  return kOk;
}
EXPORT int cuCtxSetCurrent(cuda::CUcontext context) { return current = static_cast<int>(reinterpret_cast<intptr_t>(context)), kOk; }
EXPORT int cuCtxGetCurrent(cuda::CUcontext* context) { return *context = reinterpret_cast<cuda::CUcontext>(static_cast<intptr_t>(current)), kOk; }
EXPORT int cuMemGetInfo_v2(size_t* free, size_t* total) {
  std::lock_guard<std::mutex> lock(mu);
  *total = Limit();
  *free = *total - std::min(used, *total);
  return kOk;
}
EXPORT int cuMemAlloc_v2(CUdeviceptr* p, size_t bytes) {
  if (Lost()) return kLaunchFailed;
  if (current == 0) return 201;
  if (captures > 0) return kCapturing;
  std::lock_guard<std::mutex> lock(mu);
  if (bytes == 0) return kInvalid;
  if (used + bytes > Limit()) return kNoMemory;
  void* data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (data == nullptr) return kNoMemory;
  *p = reinterpret_cast<CUdeviceptr>(data);
  allocations[*p] = {bytes, current - 1};
  used += bytes;
  return kOk;
}
EXPORT int cuMemFree_v2(CUdeviceptr p) {
  std::lock_guard<std::mutex> lock(mu);
  const auto it = allocations.find(p);
  if (it == allocations.end()) return kInvalid;
  used -= it->second.first;
  allocations.erase(it);
  std::free(At(p));
  return kOk;
}
EXPORT int cuMemAllocHost_v2(void** p, size_t bytes) {
  if (captures > 0) return kCapturing;
  *p = std::malloc(bytes);
  return kOk;
}
EXPORT int cuMemFreeHost(void* p) { return std::free(p), kOk; }
EXPORT int cuPointerGetAttribute(void* value, int attribute, CUdeviceptr p) {
  const bool any = std::getenv("FAKE_CUDA_ANY_POINTER") != nullptr;
  std::lock_guard<std::mutex> lock(mu);
  const auto it = Find(p);
  if (it == allocations.end() && !any) return kInvalid;
  *static_cast<int*>(value) = attribute == cuda::CU_POINTER_ATTRIBUTE_MEMORY_TYPE ? int{cuda::CU_MEMORYTYPE_DEVICE}
                              : it == allocations.end()                          ? current - 1
                                                                                  : it->second.second;
  return kOk;
}
EXPORT int cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* size, CUdeviceptr p) {
  std::lock_guard<std::mutex> lock(mu);
  const auto it = Find(p);
  if (it == allocations.end()) return kNotFound;
  *base = it->first;
  *size = it->second.first;
  return kOk;
}
EXPORT int cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  if (Lost()) return kLaunchFailed;
  if (captures > 0) return kCapturing;
  return OnDevice(to, bytes) ? (std::memcpy(At(to), from, bytes), kOk) : kInvalid;
}
EXPORT int cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  if (Lost()) return kLaunchFailed;
  if (captures > 0) return kCapturing;
  return OnDevice(from, bytes) ? (std::memcpy(to, At(from), bytes), kOk) : kInvalid;
}
EXPORT int cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, cuda::CUstream stream) {
  return OnDevice(to, bytes) ? Submit(stream, [=] { std::memcpy(At(to), from, bytes); }) : kInvalid;
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, cuda::CUstream stream) {
  return OnDevice(from, bytes) ? Submit(stream, [=] { std::memcpy(to, At(from), bytes); }) : kInvalid;
}
EXPORT int cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, cuda::CUstream stream) {
  return OnDevice(to, bytes) && OnDevice(from, bytes) ? Submit(stream, [=] { std::memmove(At(to), At(from), bytes); }) : kInvalid;
}
EXPORT int cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, cuda::CUstream stream) {
  return OnDevice(to, bytes) ? Submit(stream, [=] { std::memset(At(to), value, bytes); }) : kInvalid;
}
EXPORT int cuStreamCreate(cuda::CUstream* stream, unsigned) {
  if (captures > 0) return kCapturing;
  return *stream = reinterpret_cast<cuda::CUstream>(new Stream()), kOk;
}
EXPORT int cuStreamDestroy_v2(cuda::CUstream stream) { return delete reinterpret_cast<Stream*>(stream), kOk; }
EXPORT int cuStreamSynchronize(cuda::CUstream stream) { return Lost() ? kLaunchFailed : stream != nullptr && reinterpret_cast<Stream*>(stream)->capturing ? kCapturing : kOk; }
EXPORT int cuStreamWaitEvent(cuda::CUstream, cuda::CUevent, unsigned) { return kOk; }
EXPORT int cuStreamBeginCapture_v2(cuda::CUstream handle, int) {
  auto* stream = reinterpret_cast<Stream*>(handle);
  if (stream == nullptr || stream->capturing) return kInvalid;
  ++captures;
  stream->capturing = true;
  return kOk;
}
EXPORT int cuStreamEndCapture(cuda::CUstream handle, cuda::CUgraph* graph) {
  auto* stream = reinterpret_cast<Stream*>(handle);
  --captures;
  stream->capturing = false;
  *graph = reinterpret_cast<cuda::CUgraph>(new Graph{std::move(stream->recorded)});
  stream->recorded.clear();
  return kOk;
}
EXPORT int cuGraphInstantiateWithFlags(cuda::CUgraphExec* exec, cuda::CUgraph graph, unsigned long long) {
  return *exec = reinterpret_cast<cuda::CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph))), kOk;
}
EXPORT int cuGraphLaunch(cuda::CUgraphExec exec, cuda::CUstream stream) {
  return Submit(stream, [work = &reinterpret_cast<Graph*>(exec)->work] {
    for (const auto& f : *work) f();
  });
}
EXPORT int cuGraphDestroy(cuda::CUgraph graph) { return delete reinterpret_cast<Graph*>(graph), kOk; }
EXPORT int cuGraphExecDestroy(cuda::CUgraphExec exec) { return delete reinterpret_cast<Graph*>(exec), kOk; }
EXPORT int cuEventCreate(cuda::CUevent* event, unsigned) { return *event = reinterpret_cast<cuda::CUevent>(new int(0)), kOk; }
EXPORT int cuEventDestroy_v2(cuda::CUevent event) { return delete reinterpret_cast<int*>(event), kOk; }
EXPORT int cuEventRecord(cuda::CUevent, cuda::CUstream) { return kOk; }
EXPORT int cuEventSynchronize(cuda::CUevent) { return kOk; }
EXPORT int cuEventElapsedTime(float* ms, cuda::CUevent, cuda::CUevent) { return *ms = 1, kOk; }
EXPORT int cuTensorMapEncodeTiled() { return kInvalid; }  // the fake GPU is too old
EXPORT int cuTensorMapEncodeIm2col() { return kInvalid; }
EXPORT int cuFuncSetAttribute(cuda::CUfunction, int, int) { return kOk; }
EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, cuda::CUfunction, int, size_t) { return *blocks = 1, kOk; }

// "Machine code" is a shared library behind its size.
EXPORT int cuModuleLoadData(cuda::CUmodule* module, const void* code) {
  if (captures > 0) return kCapturing;
  size_t bytes = 0;
  std::memcpy(&bytes, code, sizeof(bytes));
  char path[] = "/tmp/fake_cuda_XXXXXX";  // the loader takes equal names for equal libraries
  const int file = mkstemp(path);
  if (file < 0 || write(file, static_cast<const char*>(code) + sizeof(bytes), bytes) != static_cast<ssize_t>(bytes)) return kNotFound;
  close(file);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  unlink(path);
  if (library == nullptr) return kNotFound;
  auto* fresh = new Module{library, {}};
  fresh->function.call = reinterpret_cast<decltype(Function::call)>(dlsym(library, "fake_call"));
  fresh->function.sizes = *static_cast<const size_t* const*>(dlsym(library, "fake_sizes"));
  fresh->function.count = *static_cast<const size_t*>(dlsym(library, "fake_count"));
  *module = reinterpret_cast<cuda::CUmodule>(fresh);
  return kOk;
}
EXPORT int cuModuleUnload(cuda::CUmodule module) {
  auto* known = reinterpret_cast<Module*>(module);
  dlclose(known->library);
  delete known;
  return kOk;
}
EXPORT int cuModuleGetFunction(cuda::CUfunction* function, cuda::CUmodule module, const char*) {
  return *function = reinterpret_cast<cuda::CUfunction>(&reinterpret_cast<Module*>(module)->function), kOk;
}
EXPORT int cuLaunchKernelEx(const cuda::CUlaunchConfig* config, cuda::CUfunction handle, void** arguments, void**) {
  const Function function = *reinterpret_cast<Function*>(handle);
  std::vector<std::vector<char>> values;
  for (size_t i = 0; i < function.count; ++i) {
    const char* at = static_cast<const char*>(arguments[i]);
    values.emplace_back(at, at + function.sizes[i]);
  }
  return Submit(config->hStream, [function, values, c = *config]() mutable {
    std::vector<void*> pointers;
    for (auto& value : values) pointers.push_back(value.data());
    const unsigned grid[] = {c.gridDimX, c.gridDimY, c.gridDimZ}, block[] = {c.blockDimX, c.blockDimY, c.blockDimZ};
    function.call(pointers.data(), grid, block);
  });
}

// --- the run-time compiler ---
struct Program {
  std::string source, code, log;
};

EXPORT int nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = 0, kOk; }
EXPORT int nvrtcCreateProgram(Program** program, const char* source, const char*, int, const char* const*, const char* const*) {
  return *program = new Program{source, "", ""}, kOk;
}
EXPORT int nvrtcDestroyProgram(Program** program) { return delete *program, kOk; }
EXPORT int nvrtcCompileProgram(Program* program, int, const char* const*) {
  char directory[] = "/tmp/fake_cuda_XXXXXX";
  if (mkdtemp(directory) == nullptr) return 6;
  const std::string path = std::string(directory) + "/kernel";
  std::string source = program->source;
  for (const auto& [from, to] : fake_cuda::kReplaced)
    for (size_t at; (at = source.find(from)) != std::string::npos;) source.replace(at, std::strlen(from), to);
  std::ofstream(path + ".cc") << fake_cuda::kBeforeKernel << source << fake_cuda::kBehindKernel;
  const int result = std::system(("c++ -std=c++20 -O1 -w -shared -fPIC -o " + path + ".so " + path + ".cc > " + path + ".log 2>&1").c_str());
  auto read = [](const std::string& name) {
    std::ifstream in(name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  if (result == 0) {
    const std::string library = read(path + ".so");
    const size_t bytes = library.size();
    program->code.assign(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
    program->code += library;
  } else {
    program->log = read(path + ".log");
  }
  for (const char* suffix : {".cc", ".so", ".log"}) unlink((path + suffix).c_str());
  rmdir(directory);
  return result == 0 ? kOk : 6;
}
EXPORT int nvrtcGetProgramLogSize(Program* program, size_t* bytes) { return *bytes = program->log.size() + 1, kOk; }
EXPORT int nvrtcGetProgramLog(Program* program, char* log) { return std::memcpy(log, program->log.c_str(), program->log.size() + 1), kOk; }
EXPORT int nvrtcGetCUBINSize(Program* program, size_t* bytes) { return *bytes = program->code.size(), kOk; }
EXPORT int nvrtcGetCUBIN(Program* program, char* code) { return std::memcpy(code, program->code.data(), program->code.size()), kOk; }

// --- the product libraries: they open, and know no algorithm (missing.cc) ---
#define ACCEPTS(name) \
  EXPORT int name() { return kOk; }
#define MAKES(name)                      \
  EXPORT int name(void** made, ...) {    \
    *made = &default_stream;             \
    return kOk;                          \
  }
MAKES(cublasLtCreate)
MAKES(cublasLtMatmulDescCreate)
ACCEPTS(cublasLtMatmulDescDestroy)
ACCEPTS(cublasLtMatmulDescSetAttribute)
MAKES(cublasLtMatrixLayoutCreate)
ACCEPTS(cublasLtMatrixLayoutDestroy)
ACCEPTS(cublasLtMatrixLayoutSetAttribute)
MAKES(cublasLtMatmulPreferenceCreate)
ACCEPTS(cublasLtMatmulPreferenceDestroy)
ACCEPTS(cublasLtMatmulPreferenceSetAttribute)
MAKES(cudnnCreate)
ACCEPTS(cudnnSetStream)
ACCEPTS(cudnnBackendDestroyDescriptor)
