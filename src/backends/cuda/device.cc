// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "backends/cuda/codegen.h"
#include "base/crc32c.h"
#include "base/status_macros.h"

namespace tfengine::cuda {
namespace {

// 128 bits that name a source; two independent multiplications, so that a chance collision is out of the question.
std::string KeyOf(const std::string& text) {
  uint64_t a = 0xcbf29ce484222325, b = 0x9e3779b97f4a7c15;
  for (const char ch : text) {
    const auto c = static_cast<unsigned char>(ch);
    a = (a ^ c) * 0x100000001b3;
    b = (b + c) * 0xd1342543de82ef95;
    b ^= b >> 29;
  }
  return fmt::format("{:016x}{:016x}", a, b);
}

constexpr size_t kSharedWithoutAsking = 48 << 10;

// A cached file: magic, CRC-32C of the code, code.
constexpr char kMagic[9] = "TFECUB01";

std::string ReadCached(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string all((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (all.size() <= 12 || std::memcmp(all.data(), kMagic, 8) != 0) return "";
  uint32_t crc;
  std::memcpy(&crc, all.data() + 8, 4);
  std::string code = all.substr(12);
  return Crc32c(code) == crc ? code : "";
}

// Best effort: a cache that cannot be written is no error. Written beside and renamed, so that readers see whole files.
void WriteCached(const std::string& path, const std::string& code) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  const std::string temporary = fmt::format("{}.{}.partial", path, getpid());
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    const uint32_t crc = Crc32c(code);
    out.write(kMagic, 8);
    out.write(reinterpret_cast<const char*>(&crc), 4);
    out.write(code.data(), static_cast<std::streamsize>(code.size()));
    if (!out.good()) {
      std::remove(temporary.c_str());
      return;
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) std::remove(temporary.c_str());
}

struct alignas(64) EncodedMap {
  uint64_t words[16];
};

int Encode(const DriverApi& api, const TensorMap& map, const void* data, EncodedMap* to) {
  const int type = DTypeSize(map.type) == 1      ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                   : map.type == DType::kFloat16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                   : map.type == DType::kFloat32 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                                                 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const int swizzle = map.row_bytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
  const auto rank = static_cast<unsigned>(map.dims.size());
  void* address = const_cast<void*>(data);
  if (map.windows)
    return api.TensorMapEncodeIm2col(to, type, rank, address, map.dims.data(), map.strides.data(), map.lower.data(), map.upper.data(), map.box[0], map.box[1], map.steps.data(),
                                     CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return api.TensorMapEncodeTiled(to, type, rank, address, map.dims.data(), map.strides.data(), map.box.data(), map.steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

class GeneratedKernel : public DeviceKernel {
 public:
  GeneratedKernel(Function function, const Generated& code, bool overlaps) : function_(std::move(function)), code_(code), overlaps_(overlaps) {
    code_.source.clear();
  }

  Status Enqueue(const void* const* in, void* const* out, const Launch& launch) const override {
    const Device& device = launch.device;
    std::vector<const void*> values(in, in + (code_.inputs - code_.bound.size()));
    for (const Generated::Bound& b : code_.bound)
      values.insert(values.begin() + static_cast<std::ptrdiff_t>(b.at), b.weights && launch.weights ? launch.weights : b.buffer->data());
    values.insert(values.end(), out, out + code_.outputs);
    if (code_.scratch > 0) values.push_back(launch.scratch);
    if (code_.error) values.push_back(launch.error);
    std::vector<void*> arguments;
    for (const void*& value : values) arguments.push_back(&value);
    for (const int64_t& size : code_.sizes) arguments.push_back(const_cast<int64_t*>(&size));
    const int64_t backwards = launch.backwards;
    if (code_.reverses) arguments.push_back(const_cast<int64_t*>(&backwards));
    std::vector<EncodedMap> maps(code_.maps.size());
    for (size_t i = 0; i < maps.size(); ++i) {
      TFE_RETURN_IF_ERROR(device.Check(Encode(device.driver(), code_.maps[i], values[code_.maps[i].operand], &maps[i]), "describing a tensor"));
      arguments.push_back(&maps[i]);
    }
    CUlaunchAttribute attributes[2] = {};
    unsigned count = 0;
    if (overlaps_) {
      attributes[count].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
      attributes[count++].value.programmaticStreamSerializationAllowed = 1;
    }
    if (code_.cluster > 1) {
      attributes[count].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
      attributes[count++].value.clusterDim = {1, 1, code_.cluster};
    }
    const CUlaunchConfig config = {code_.grid[0],  code_.grid[1],  code_.grid[2],   code_.block[0], code_.block[1],
                                   code_.block[2], static_cast<unsigned>(code_.shared), launch.stream,  attributes,     count};
    return device.Check(device.driver().LaunchKernelEx(&config, function_.handle, arguments.data(), nullptr), "launching a kernel");
  }
  size_t scratch_bytes(int) const override { return code_.scratch; }
  bool reports() const override { return code_.error; }
  bool reverses() const override { return code_.reverses; }
  const DeviceBuffer* weights() const override {
    for (const Generated::Bound& b : code_.bound)
      if (b.weights) return b.buffer.get();
    return nullptr;
  }

 private:
  Function function_;
  Generated code_;
  const bool overlaps_;  // may be started before the kernel in front of it has ended
};

// The source with after_previous() as the kernel's first statement; "" if its start is not found.
std::string WithWait(const std::string& source) {
  const size_t kernel = source.find("__global__"), at = kernel == std::string::npos ? kernel : source.find(") {", kernel);
  return at == std::string::npos ? "" : source.substr(0, at + 3) + " after_previous();" + source.substr(at + 3);
}

}  // namespace

Device::Scope::Scope(const Device& device) : device_(device) {
  if (device_.offline()) return;
  device_.driver_->CtxGetCurrent(&previous_);
  if (previous_ != device_.context_) device_.driver_->CtxSetCurrent(device_.context_);
}

Device::Scope::~Scope() {
  if (!device_.offline() && previous_ != device_.context_) device_.driver_->CtxSetCurrent(previous_);
}

Result<Device*> Device::Get(int index) {
  static std::mutex mu;
  static std::map<int, Device*> devices;  // never destroyed: kernels may outlive any owner
  std::lock_guard<std::mutex> lock(mu);
  if (auto known = devices.find(index); known != devices.end()) return known->second;
  std::unique_ptr<Device> device(new Device());
  TFE_RETURN_IF_ERROR(device->Open(index));
  return devices[index] = device.release();
}

Result<Device*> Device::Offline(int architecture) {
  auto* device = new Device();
  auto nvrtc = LoadNvrtc();
  if (!nvrtc.ok()) return nvrtc.status();
  device->nvrtc_ = *nvrtc;
  device->architecture_ = architecture;
  device->processors_ = 100;
  device->fingerprint_ = fmt::format("cuda offline sm_{}", architecture);
  return device;
}

Status Device::Open(int index) {
  TFE_ASSIGN_OR_RETURN(driver_, LoadDriver());
  TFE_ASSIGN_OR_RETURN(nvrtc_, LoadNvrtc());
  TFE_ASSIGN_OR_RETURN(blas_, LoadCublasLt());
  TFE_ASSIGN_OR_RETURN(dnn_, LoadCudnn());
  int count = 0;
  TFE_RETURN_IF_ERROR(Check(driver_->DeviceGetCount(&count), "counting GPUs"));
  if (index < 0 || index >= count)
    return Error(ErrorId::kDeviceUnavailable, "device \"cuda:{}\": this machine has {} GPU{}", index, count, count == 1 ? "" : "s");
  index_ = index;
  CUdevice device = 0;
  TFE_RETURN_IF_ERROR(Check(driver_->DeviceGet(&device, index), "opening the GPU"));
  char name[128] = "";
  driver_->DeviceGetName(name, sizeof(name), device);
  int major = 0, minor = 0;
  driver_->DeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  driver_->DeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
  driver_->DeviceGetAttribute(&processors_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
  architecture_ = 10 * major + minor;
  if (architecture_ < 70)
    return Error(ErrorId::kDeviceUnavailable, "device \"cuda:{}\" ({}): compute capability {}.{}; 7.0 or later is needed", index, name, major, minor);
  TFE_RETURN_IF_ERROR(Check(driver_->DevicePrimaryCtxRetain(&context_, device), "opening the GPU's context"));
  const Scope scope(*this);
  TFE_RETURN_IF_ERROR(CheckCublasLt(blas_->Create(&blas_handle_), "opening cuBLASLt"));
  TFE_RETURN_IF_ERROR(CheckCudnn(WithDnn(nullptr, [](void*) { return 0; }), "opening cuDNN"));
  fingerprint_ = fmt::format("cuda {} sm_{} driver {} nvrtc {} cublaslt {} cudnn {}", name, architecture_, driver_->version,
                             nvrtc_->version, blas_->version, dnn_->version);
  return OkStatus();
}

int Device::TakeDnn(void** handle) const {
  {
    const std::lock_guard<std::mutex> lock(dnn_mu_);
    if (!dnn_handles_.empty()) {
      *handle = dnn_handles_.back();
      dnn_handles_.pop_back();
      return 0;
    }
  }
  const Scope scope(*this);
  return dnn_->Create(handle);
}

Result<std::string> Device::Cubin(const std::string& source, const std::string& cache_dir) const {
  // "a": with the instructions that only this architecture has (wgmma).
  const std::string architecture = fmt::format("--gpu-architecture=sm_{}{}", architecture_, architecture_ == 90 ? "a" : "");
  std::string path;
  if (!cache_dir.empty()) {
    path = fmt::format("{}/{}.cubin", cache_dir, KeyOf(fmt::format("{} nvrtc {}\n{}", architecture, nvrtc_->version, source)));
    if (std::string code = ReadCached(path); !code.empty()) return code;
  }
  nvrtcProgram program = nullptr;
  if (nvrtc_->CreateProgram(&program, source.c_str(), "tfengine.cu", 0, nullptr, nullptr) != 0)
    return Error(ErrorId::kDeviceFailed, "NVRTC refused a kernel");
  const char* options[] = {architecture.c_str(), "--std=c++17", "--device-as-default-execution-space"};
  const int result = nvrtc_->CompileProgram(program, 3, options);
  std::string code;
  Status status;
  if (result == 0) {
    size_t bytes = 0;
    nvrtc_->GetCUBINSize(program, &bytes);
    code.resize(bytes);
    nvrtc_->GetCUBIN(program, code.data());
  } else {
    size_t bytes = 0;
    nvrtc_->GetProgramLogSize(program, &bytes);
    std::string log(bytes, '\0');
    nvrtc_->GetProgramLog(program, log.data());
    status = Error(ErrorId::kInternalError, "NVRTC {} for sm_{}: {}", nvrtc_->version, architecture_, log.substr(0, 2000));
  }
  nvrtc_->DestroyProgram(&program);
  TFE_RETURN_IF_ERROR(status);
  if (!path.empty()) WriteCached(path, code);
  return code;
}

Result<std::shared_ptr<const void>> Device::Load(const std::string& source, const std::string& cache_dir) const {
  TFE_ASSIGN_OR_RETURN(const std::string code, Cubin(source, cache_dir));
  if (offline()) return std::shared_ptr<const void>();
  CUmodule handle = nullptr;
  TFE_RETURN_IF_ERROR(Check(driver_->ModuleLoadData(&handle, code.data()), "loading a kernel"));
  return std::shared_ptr<const void>(handle, [this](const void* m) {
    const Scope scope(*this);
    driver_->ModuleUnload(static_cast<CUmodule>(const_cast<void*>(m)));
  });
}

Result<Function> Device::Compile(const std::string& source, const std::string& name, const std::string& cache_dir) {
  const std::string key = KeyOf(source);
  std::unique_lock<std::mutex> lock(modules_mu_);
  loaded_.wait(lock, [&] { return !loading_.contains(key); });
  std::shared_ptr<const void> module = modules_[key].lock();
  if (!module) {
    loading_.insert(key);
    lock.unlock();
    auto fresh = Load(source, cache_dir);
    lock.lock();
    loading_.erase(key);
    loaded_.notify_all();
    TFE_RETURN_IF_ERROR(fresh.status());
    if (offline()) return Function();
    modules_[key] = module = *std::move(fresh);
  }
  lock.unlock();
  Function function{module, nullptr};
  TFE_RETURN_IF_ERROR(Check(driver_->ModuleGetFunction(&function.handle, static_cast<CUmodule>(const_cast<void*>(module.get())), name.c_str()),
                            "finding a kernel"));
  return function;
}

namespace {
thread_local const std::shared_ptr<const DeviceMemory>* memory_of_thread = nullptr;
}  // namespace

MemoryScope::MemoryScope(const std::shared_ptr<const DeviceMemory>& memory) : previous_(memory_of_thread) {
  memory_of_thread = memory ? &memory : nullptr;
}

std::shared_ptr<const DeviceMemory> MemoryScope::OfThread() { return memory_of_thread == nullptr ? nullptr : *memory_of_thread; }

MemoryScope::~MemoryScope() { memory_of_thread = previous_; }

Result<DeviceBuffer> DeviceBuffer::Allocate(const Device& device, size_t bytes) {
  DeviceBuffer buffer;
  buffer.device_ = &device;
  buffer.bytes_ = bytes;
  if (bytes == 0 || device.offline()) return buffer;
  if (memory_of_thread != nullptr) {
    buffer.memory_ = *memory_of_thread;
    buffer.data_ = buffer.memory_->allocate(bytes);
    if (buffer.data_ == nullptr) return Error(ErrorId::kOutOfMemory, "allocating device memory: the caller's allocator has no {} bytes left", bytes);
    return buffer;
  }
  const Device::Scope scope(device);
  CUdeviceptr p = 0;
  TFE_RETURN_IF_ERROR(device.Check(device.driver().MemAlloc(&p, bytes), "allocating device memory"));
  buffer.data_ = reinterpret_cast<void*>(p);
  return buffer;
}

Result<DeviceBuffer> DeviceBuffer::Upload(const Device& device, const void* data, size_t bytes) {
  TFE_ASSIGN_OR_RETURN(DeviceBuffer buffer, Allocate(device, bytes));
  if (buffer.data_ == nullptr) return buffer;
  const Device::Scope scope(device);
  TFE_RETURN_IF_ERROR(device.Check(device.driver().MemcpyHtoD(DevicePointer(buffer.data_), data, bytes), "copying to the device"));
  return buffer;
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ == nullptr) return;
  if (memory_) {
    memory_->release(data_);
    return;
  }
  const Device::Scope scope(*device_);
  device_->driver().MemFree(DevicePointer(data_));
}

Result<PinnedBuffer> PinnedBuffer::Allocate(const Device& device, size_t bytes) {
  PinnedBuffer buffer;
  buffer.device_ = &device;
  const Device::Scope scope(device);
  TFE_RETURN_IF_ERROR(device.Check(device.driver().MemAllocHost(&buffer.data_, bytes == 0 ? 1 : bytes), "allocating page-locked memory"));
  return buffer;
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ == nullptr) return;
  const Device::Scope scope(*device_);
  device_->driver().MemFreeHost(data_);
}

Status StatusOf(int run_error) {
  switch (run_error) {
    case kNoError: return OkStatus();
    case kIndexError: return Error(ErrorId::kIndexOutOfRange, "an index of a gather is outside its axis");
    case kDivisionError: return Error(ErrorId::kArithmetic, "integer division by zero");
    case kPowerError: return Error(ErrorId::kArithmetic, "integer to a negative power");
    default: return Error(ErrorId::kDeviceFailed, "a kernel reported {}", run_error);
  }
}

Status DeviceKernel::Run(const void* const*, void* const*, void*, Gang&) const {
  return Error(ErrorId::kInternalError, "a device kernel was run on the host");
}

Result<Function> CompileKernel(Device& device, const std::string& cache_dir, const std::string& source) {
  const Device::Scope scope(device);
  return device.Compile(Prelude() + source, "k", cache_dir);
}

Result<std::shared_ptr<const DeviceKernel>> MakeKernel(Device& device, const std::string& cache_dir, const Generated& code) {
  std::string source = code.waits ? code.source : WithWait(code.source);
  const bool overlaps = device.architecture() >= 90 && !source.empty();
  if (source.empty()) source = code.source;
  TFE_ASSIGN_OR_RETURN(Function function, CompileKernel(device, cache_dir, source));
  if (code.shared > kSharedWithoutAsking && !device.offline()) {
    const Device::Scope scope(device);
    TFE_RETURN_IF_ERROR(device.Check(device.driver().FuncSetAttribute(function.handle, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(code.shared)),
                                     "asking for shared memory"));
  }
  return std::shared_ptr<const DeviceKernel>(std::make_shared<GeneratedKernel>(std::move(function), code, overlaps));
}

}  // namespace tfengine::cuda
