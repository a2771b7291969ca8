// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "backends/cuda/driver.h"
#include "runtime/kernel.h"
#include "tfengine/engine.h"

namespace tfengine::cuda {

// Compute capability (89: 8.9) from which on there are conversions and products of E4M3.
inline constexpr int kFp8Architecture = 89;

// Compiled code on a device. The module lives as long as any copy.
struct Function {
  std::shared_ptr<const void> module;
  CUfunction handle = nullptr;
};

// One GPU through its primary context, which it shares with every other user of CUDA in the process. Never destroyed.
// Thread-safe; calls of the driver need a Device::Scope on the calling thread.
class Device {
 public:
  // Error kDeviceUnavailable: no driver, no such device, or a library is missing.
  static Result<Device*> Get(int index);
  // Code generation without a GPU (tests): compiles for this architecture; whatever needs the driver is left out.
  static Result<Device*> Offline(int architecture);

  // The context is current on this thread while a Scope lives.
  class Scope {
   public:
    explicit Scope(const Device& device);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const Device& device_;
    CUcontext previous_ = nullptr;
  };

  bool offline() const { return driver_ == nullptr; }
  const DriverApi& driver() const { return *driver_; }
  const CublasLtApi& blas() const { return *blas_; }
  const CudnnApi& dnn() const { return *dnn_; }
  void* blas_handle() const { return blas_handle_; }
  int index() const { return index_; }
  int architecture() const { return architecture_; }    // 90: compute capability 9.0
  int processors() const { return processors_; }
  // Device and library versions: timings and compiled code fit another machine with the same.
  const std::string& fingerprint() const { return fingerprint_; }

  // A handle of cuDNN is used by one thread at a time: `run` is called with one that nobody else has, bound to `stream`.
  template <typename F>
  int WithDnn(CUstream stream, F&& run) const {
    void* handle = nullptr;
    if (const int status = TakeDnn(&handle)) return status;
    int status = dnn_->SetStream(handle, stream);
    if (status == 0) status = run(handle);
    const std::lock_guard<std::mutex> lock(dnn_mu_);
    dnn_handles_.push_back(handle);
    return status;
  }

  // Compiles CUDA C++ with NVRTC, or takes the code from memory or from `cache_dir` (empty: none). `name`: of the
  // extern "C" kernel. Threads that want the same source wait for the first. Error: kInternalError with the compiler's words.
  Result<Function> Compile(const std::string& source, const std::string& name, const std::string& cache_dir);

  Status Check(int result, const char* what) const { return CheckDriver(*driver_, result, what); }

 private:
  Device() = default;
  Status Open(int index);
  int TakeDnn(void** handle) const;
  Result<std::string> Cubin(const std::string& source, const std::string& cache_dir) const;
  Result<std::shared_ptr<const void>> Load(const std::string& source, const std::string& cache_dir) const;

  const DriverApi* driver_ = nullptr;
  const NvrtcApi* nvrtc_ = nullptr;
  const CublasLtApi* blas_ = nullptr;
  const CudnnApi* dnn_ = nullptr;
  CUcontext context_ = nullptr;
  void* blas_handle_ = nullptr;
  mutable std::mutex dnn_mu_;
  mutable std::vector<void*> dnn_handles_;  // that are free
  int index_ = 0, architecture_ = 0, processors_ = 1;
  std::string fingerprint_;
  std::mutex modules_mu_;
  std::condition_variable loaded_;
  std::map<std::string, std::weak_ptr<const void>> modules_;  // by key of the source
  std::set<std::string> loading_;                             // keys that a thread is busy with
};

// While it lives, the buffers that this thread allocates come from `memory`, or from the driver if that is null.
class MemoryScope {
 public:
  explicit MemoryScope(const std::shared_ptr<const DeviceMemory>& memory);
  ~MemoryScope();
  // The memory of the scope that this thread is in, for other threads that work for it.
  static std::shared_ptr<const DeviceMemory> OfThread();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

 private:
  const std::shared_ptr<const DeviceMemory>* previous_;
};

// Device memory. data() is nullptr for an empty buffer.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Errors: kOutOfMemory, kDeviceFailed.
  static Result<DeviceBuffer> Allocate(const Device& device, size_t bytes);
  // Allocates and copies from the host.
  static Result<DeviceBuffer> Upload(const Device& device, const void* data, size_t bytes);
  DeviceBuffer(DeviceBuffer&& o) noexcept { *this = std::move(o); }
  DeviceBuffer& operator=(DeviceBuffer&& o) noexcept {
    std::swap(device_, o.device_);
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    std::swap(memory_, o.memory_);
    return *this;
  }
  ~DeviceBuffer();
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  const Device* device_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::shared_ptr<const DeviceMemory> memory_;  // where it goes back to; null: the driver
};

// Page-locked host memory: copies to and from it do not stop the host.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  static Result<PinnedBuffer> Allocate(const Device& device, size_t bytes);
  PinnedBuffer(PinnedBuffer&& o) noexcept { *this = std::move(o); }
  PinnedBuffer& operator=(PinnedBuffer&& o) noexcept {
    std::swap(device_, o.device_);
    std::swap(data_, o.data_);
    return *this;
  }
  ~PinnedBuffer();
  void* data() const { return data_; }

 private:
  const Device* device_ = nullptr;
  void* data_ = nullptr;
};

inline CUdeviceptr DevicePointer(const void* p) { return reinterpret_cast<CUdeviceptr>(p); }

// Where a step is put.
struct Launch {
  const Device& device;
  CUstream stream = nullptr;
  void* scratch = nullptr;  // device memory of scratch_bytes()
  int* error = nullptr;     // device memory; a kernel that finds an error in its data writes a RunError
  // Device memory that is read instead of the kernel's weights(): timing with weights that are in no cache.
  const void* weights = nullptr;
  // From the last row of the result to the first, where a kernel reverses(): what the kernel in front wrote last is still in the
  // second-level cache, what it wrote first is not.
  bool backwards = false;
};

// What kernels report through Launch::error.
enum RunError : int { kNoError = 0, kIndexError = 1, kDivisionError = 2, kPowerError = 3 };
Status StatusOf(int run_error);

// A step on a device: pointers are device memory. Immutable and thread-safe.
class DeviceKernel : public Kernel {
 public:
  virtual Status Enqueue(const void* const* in, void* const* out, const Launch& launch) const = 0;
  // Whether it may write Launch::error.
  virtual bool reports() const { return false; }
  // The largest constant that every run reads, where Launch::weights can stand in for it; nullptr: none.
  virtual const DeviceBuffer* weights() const { return nullptr; }
  // Whether it heeds Launch::backwards. Results are the same bits either way.
  virtual bool reverses() const { return false; }
  // A device kernel has no host form: an error.
  Status Run(const void* const* in, void* const* out, void* scratch, Gang& gang) const final;
};

// How the tensor memory accelerator (compute capability 9.0) walks one of a kernel's operands; innermost dim first, in
// elements, strides in bytes.
struct TensorMap {
  size_t operand = 0;  // by position among the pointers
  DType type = DType::kFloat16;
  std::vector<uint64_t> dims, strides;
  std::vector<uint32_t> box, steps;  // of windows, the box: channels and pixels
  int row_bytes = 128;               // of the box in shared memory, which permutes 16 byte chunks over rows that long
  bool windows = false;              // im2col; dims are channels, width, height, images
  std::array<int, 2> lower = {}, upper = {};  // corners of the windows' places, x and y
};

// A compiled kernel with its launch: arguments are the input pointers, the output pointers, then, as asked for, scratch,
// the error flag and sizes.
struct Generated {
  std::string source;  // without the prelude; declares extern "C" __global__ kernel `k`
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  size_t inputs = 1, outputs = 1;
  // Inputs, by position, that are buffers of our own instead of operands of the step.
  struct Bound {
    size_t at;
    std::shared_ptr<const DeviceBuffer> buffer;
    bool weights = false;  // DeviceKernel::weights()
  };
  std::vector<Bound> bound;
  bool error = false;    // takes int* error
  size_t scratch = 0;    // takes void* scratch if > 0
  std::vector<int64_t> sizes;  // takes long longs: sizes that are no constants of the source
  bool reverses = false;       // takes a long long: Launch::backwards
  std::vector<TensorMap> maps;  // takes 128 bytes each, by value, at the end
  size_t shared = 0;     // bytes of dynamic shared memory
  unsigned cluster = 1;  // blocks that share their memory, along z (compute capability 9.0)
  // The source calls after_previous() itself, before it reads what a kernel wrote or writes anything. Otherwise that is
  // put first.
  bool waits = false;

  // 256 threads a block, a thread for each of n items; n is the one size.
  void OneThreadEach(int64_t n);
};
Result<std::shared_ptr<const DeviceKernel>> MakeKernel(Device& device, const std::string& cache_dir, const Generated& code);
// The compiled code alone, with the prelude (codegen.h).
Result<Function> CompileKernel(Device& device, const std::string& cache_dir, const std::string& source);

}  // namespace tfengine::cuda
