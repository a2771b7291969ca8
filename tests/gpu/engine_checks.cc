// SPDX-License-Identifier: Apache-2.0
#include "engine_checks.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "backends/cuda/backend.h"
#include "backends/cuda/device.h"
#include "base/errors.h"
#include "base/gang.h"
#include "base/status_macros.h"
#include "compiler/cuda_engine.h"
#include "compiler/engine_impl.h"
#include "tfengine/calibrate.h"

namespace tfengine::gpu {
namespace {

using cuda::Device;
using cuda::DeviceBuffer;
using cuda::DevicePointer;
using Clock = std::chrono::steady_clock;

// Of kernels without shared memory: the fake device (fake/fake_cuda.cc) runs them too.
constexpr char kNetwork[] = R"(network {
    input %x: f32[batch,14,14,16]
    input %n: i32[batch,3]
    const %w1: f32[3,3,16,32] @0
    const %b1: f32[32] @1
    const %w2: f32[1,1,32,32] @2
    const %w3: f32[32,10] @3
    const %table: f32[7,10] @4
    %c1: f32[batch,14,14,32] = conv2d(%x, %w1, %b1) {act="relu", pads=[1,1,1,1]} "c1"
    %c2: f32[batch,14,14,32] = conv2d(%c1, %w2, _, %c1) {} "c2"
    %p: f32[batch,1,1,32] = pool(%c2) {kind="max", ksize=[14,14], strides=[14,14]} "p"
    %m: f32[batch,32] = reshape(%p) {shape=[batch,32]} "m"
    %d: f32[batch,10] = matmul(%m, %w3) {} "d"
    %g: f32[batch,3,10] = gather(%table, %n) {axis=0} "g"
    %s: f32[batch,10] = unary(%d) {kind="sigmoid"} "s"
    return %s, %g
  })";

std::shared_ptr<const Tensor> Random(std::vector<int64_t> shape, uint32_t seed) {
  Tensor t(DType::kFloat32, std::move(shape));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.3f);
  for (int64_t i = 0; i < t.num_elements(); ++i) t.mutable_as<float>()[i] = normal(random);
  return std::make_shared<const Tensor>(std::move(t));
}

Result<Network> TestNetwork() {
  return ParseNetwork(kNetwork, {Random({3, 3, 16, 32}, 1), Random({32}, 2), Random({1, 1, 32, 32}, 3), Random({32, 10}, 4), Random({7, 10}, 5)});
}

std::vector<Tensor> InputsOf(int64_t batch, uint32_t seed) {
  std::vector<Tensor> inputs;
  inputs.push_back(*Random({batch, 14, 14, 16}, seed));
  inputs.emplace_back(DType::kInt32, std::vector<int64_t>{batch, 3});
  for (int64_t i = 0; i < 3 * batch; ++i) inputs.back().mutable_as<int32_t>()[i] = static_cast<int32_t>((i * 5 + seed) % 7);
  return inputs;
}

// The inputs and outputs of a run in device memory, `shift` bytes behind an allocation's start.
struct Buffers {
  std::vector<DeviceBuffer> inputs, outputs;
  std::vector<InputView> views;
  std::vector<Tensor> wanted;
  size_t shift = 0;

  static Result<Buffers> Make(const Device& device, Engine& cpu, const std::vector<Tensor>& data, size_t shift = 0) {
    Buffers b;
    b.shift = shift;
    const Device::Scope scope(device);
    for (const Tensor& t : data) {
      TFE_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(device, t.num_bytes() + shift));
      char* at = static_cast<char*>(buffer.data()) + shift;
      TFE_RETURN_IF_ERROR(device.Check(device.driver().MemcpyHtoD(DevicePointer(at), t.data(), t.num_bytes()), "copying"));
      b.views.push_back({t.dtype(), t.shape(), at});
      b.inputs.push_back(std::move(buffer));
    }
    TFE_ASSIGN_OR_RETURN(b.wanted, cpu.Run(data));
    for (const Tensor& t : b.wanted) {
      TFE_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(device, t.num_bytes() + shift));
      b.outputs.push_back(std::move(buffer));
    }
    return b;
  }

  Status Run(Engine& engine, void* stream) {
    return engine.RunOnDevice(views, [&](int i, DType, const std::vector<int64_t>&) { return static_cast<char*>(outputs[static_cast<size_t>(i)].data()) + shift; }, stream);
  }

  // Waits, compares and clears the outputs.
  Status Compare(const Device& device, void* stream) {
    const Device::Scope scope(device);
    const cuda::DriverApi& api = device.driver();
    TFE_RETURN_IF_ERROR(device.Check(api.StreamSynchronize(static_cast<cuda::CUstream>(stream)), "waiting"));
    for (size_t i = 0; i < wanted.size(); ++i) {
      Tensor got(wanted[i].dtype(), wanted[i].shape());
      const auto at = DevicePointer(outputs[i].data()) + shift;
      TFE_RETURN_IF_ERROR(device.Check(api.MemcpyDtoH(got.mutable_data(), at, got.num_bytes()), "copying"));
      for (int64_t k = 0; k < got.num_elements(); ++k)
        if (const float a = got.as<float>()[k], b = wanted[i].as<float>()[k]; !(std::fabs(a - b) <= 1e-4f))
          return Error(ErrorId::kInternalError, "output {} element {}: {} instead of {}", i, k, a, b);
      TFE_RETURN_IF_ERROR(device.Check(api.MemsetD8Async(at, 0x7f, got.num_bytes(), nullptr), "clearing"));
      TFE_RETURN_IF_ERROR(device.Check(api.StreamSynchronize(nullptr), "clearing"));
    }
    return OkStatus();
  }
};

class Stream {
 public:
  explicit Stream(const Device& device) : device_(device) {
    const Device::Scope scope(device_);
    device_.driver().StreamCreate(&stream_, cuda::CU_STREAM_NON_BLOCKING);
  }
  ~Stream() {
    const Device::Scope scope(device_);
    device_.driver().StreamDestroy(stream_);
  }
  void* get() const { return stream_; }

 private:
  const Device& device_;
  cuda::CUstream stream_ = nullptr;
};

size_t ResidentPages() {
  std::ifstream statm("/proc/self/statm");
  size_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident;
}

Status Expect(bool condition, const std::string& what) { return condition ? OkStatus() : Error(ErrorId::kInternalError, "{}", what); }

Status ExpectError(const Status& status, ErrorId id) {
  return Expect(status.error_id() == static_cast<int>(id), fmt::format("expected error {}, got \"{}\"", static_cast<int>(id), status.ToString()));
}

class Checks {
 public:
  Checks(const Device& device, std::shared_ptr<EngineImpl> cpu, EngineOptions options, int runs)
      : device_(device), cpu_(std::move(cpu)), options_(std::move(options)), runs_(runs) {}

  int Run() {
    Check("the same pointers again and again", [&] { return SamePointers(0); });
    Check("pointers that are not aligned", [&] { return SamePointers(4); });
    Check("three sets of pointers in turn", [&] { return Rotate(3); });
    Check("twenty sets of pointers in turn", [&] { return Rotate(20); });
    Check("the default stream", [&] { return DefaultStream(); });
    Check("a stream that is destroyed and made again", [&] { return NewStreams(); });
    Check("eight threads with a stream each", [&] { return Threads(false); });
    Check("eight threads on one stream", [&] { return Threads(true); });
    Check("threads with host memory and with device memory", [&] { return Mixed(); });
    Check("more shapes than the cache keeps", [&] { return Shapes(); });
    Check("what constants take on the device", [&] { return Forms(); });
    Check("wrong pointers and shapes", [&] { return WrongPointers(); });
    Check("memory of the caller, that runs out", [&] { return CallersMemory(); });
    Check("a full GPU", [&] { return FullGpu(); });
    Check("calibration of runs on the device", [&] { return Calibrate(); });
    Check("shapes without a kernel run on the CPU", [&] { return OnCpu(); });
    Check("threads that lower for another", [&] { return Lowering(); });
    Check(fmt::format("no leak in {} runs", runs_), [&] { return Leaks(); });
    return failed_;
  }

 private:
  void Check(const std::string& name, const std::function<Status()>& check) {
    const auto start = Clock::now();
    note_.clear();
    const Status status = check();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    std::cout << fmt::format("{} {} ({:.2f} s){}{}\n", status.ok() ? "ok    " : "FAILED", name, seconds, note_.empty() ? "" : ": " + note_,
                             status.ok() ? "" : ": " + status.ToString())
              << std::flush;
    failed_ += !status.ok();
  }

  Result<std::shared_ptr<CudaEngine>> NewEngine(const EngineOptions& options) const {
    TFE_ASSIGN_OR_RETURN(const Network network, TestNetwork());
    return CudaEngine::Create(network, Numerics(), DeviceChoices(), options);
  }

  // Microseconds on the host per queued run.
  Result<double> Repeat(Engine& engine, std::vector<Buffers>& sets, void* stream, int rounds) {
    for (int round = 0; round < 3; ++round)
      for (Buffers& b : sets) {
        TFE_RETURN_IF_ERROR(b.Run(engine, stream));
        TFE_RETURN_IF_ERROR(b.Compare(device_, stream));
      }
    const auto start = Clock::now();
    for (int round = 0; round < rounds; ++round)
      for (Buffers& b : sets) TFE_RETURN_IF_ERROR(b.Run(engine, stream));
    const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    for (Buffers& b : sets) TFE_RETURN_IF_ERROR(b.Compare(device_, stream));
    return us / static_cast<double>(rounds) / static_cast<double>(sets.size());
  }

  Status SamePointers(size_t shift) {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    const Stream stream(device_);
    std::vector<Buffers> sets;
    TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(4, 1), shift));
    sets.push_back(std::move(b));
    TFE_ASSIGN_OR_RETURN(const double us, Repeat(*engine, sets, stream.get(), 300));
    note_ = fmt::format("{:.1f} us per call", us);
    return OkStatus();
  }

  Status Rotate(int count) {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    const Stream stream(device_);
    std::vector<Buffers> sets;
    for (int i = 0; i < count; ++i) {
      TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(4, static_cast<uint32_t>(i))));
      sets.push_back(std::move(b));
    }
    TFE_ASSIGN_OR_RETURN(const double us, Repeat(*engine, sets, stream.get(), 300 / count));
    note_ = fmt::format("{:.1f} us per call", us);
    return OkStatus();
  }

  Status DefaultStream() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(2, 9)));
    for (int i = 0; i < 4; ++i) {
      TFE_RETURN_IF_ERROR(b.Run(*engine, nullptr));
      TFE_RETURN_IF_ERROR(b.Compare(device_, nullptr));
    }
    return OkStatus();
  }

  Status NewStreams() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(2, 9)));
    for (int i = 0; i < 30; ++i) {
      const Stream stream(device_);
      TFE_RETURN_IF_ERROR(b.Run(*engine, stream.get()));
      TFE_RETURN_IF_ERROR(b.Compare(device_, stream.get()));
    }
    return OkStatus();
  }

  // The first error of `count` threads.
  static Status InThreads(int count, const std::function<Status(int)>& work) {
    std::vector<Status> results(static_cast<size_t>(count));
    std::vector<std::thread> threads;
    for (int t = 0; t < count; ++t) threads.emplace_back([&, t] { results[static_cast<size_t>(t)] = work(t); });
    for (auto& t : threads) t.join();
    for (const Status& s : results) TFE_RETURN_IF_ERROR(s);
    return OkStatus();
  }

  Status Threads(bool one_stream) {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    const Stream shared(device_);
    return InThreads(8, [&](int t) -> Status {
      const Stream own(device_);
      void* stream = one_stream ? shared.get() : own.get();
      TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(1 + t % 3, static_cast<uint32_t>(t))));
      for (int i = 0; i < 100; ++i) {
        TFE_RETURN_IF_ERROR(b.Run(*engine, stream));
        if (i % 10 == 0) TFE_RETURN_IF_ERROR(b.Compare(device_, stream));
      }
      return b.Compare(device_, stream);
    });
  }

  Status Mixed() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    return InThreads(6, [&](int t) -> Status {
      const Stream stream(device_);
      const std::vector<Tensor> data = InputsOf(3, static_cast<uint32_t>(t));
      TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, data));
      for (int i = 0; i < 50; ++i) {
        if (t % 2 == 0) {
          TFE_RETURN_IF_ERROR(b.Run(*engine, stream.get()));
          TFE_RETURN_IF_ERROR(b.Compare(device_, stream.get()));
          continue;
        }
        TFE_ASSIGN_OR_RETURN(std::vector<Tensor> got, static_cast<Engine&>(*engine).Run(data));
        for (int64_t k = 0; k < got[0].num_elements(); ++k)
          TFE_RETURN_IF_ERROR(Expect(std::fabs(got[0].as<float>()[k] - b.wanted[0].as<float>()[k]) <= 1e-4f, "a run on host memory is wrong"));
      }
      return OkStatus();
    });
  }

  Status Shapes() {
    EngineOptions options = options_;
    options.max_cached_shapes = 3;
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options));
    const Stream stream(device_);
    for (int round = 0; round < 2; ++round)
      for (int64_t batch = 1; batch <= 6; ++batch) {
        TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(batch, 7)));
        for (int i = 0; i < 3; ++i) {
          TFE_RETURN_IF_ERROR(b.Run(*engine, stream.get()));
          TFE_RETURN_IF_ERROR(b.Compare(device_, stream.get()));
        }
      }
    return OkStatus();
  }

  // One form of each constant, whatever was tried, and nothing of shapes that are gone.
  Status Forms() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    TFE_ASSIGN_OR_RETURN(const Network network, TestNetwork());
    size_t bytes = 0;
    for (const Value& v : network.values()) bytes += v.constant ? v.constant->num_bytes() : 0;
    TFE_RETURN_IF_ERROR(static_cast<Engine&>(*engine).Run(InputsOf(2, 1)).status());
    const CudaEngine::DeviceUse use = engine->MemoryUse();
    note_ = fmt::format("{} bytes of constants take {}", bytes, use.weights + use.constants);
    TFE_RETURN_IF_ERROR(Expect(use.weights + use.constants <= bytes + bytes / 8, note_));

    TFE_ASSIGN_OR_RETURN(const Network moving, ParseNetwork(R"(network {
        input %x: f32[n,8]
        const %row: f32[1,8] @0
        %t: f32[n,8] = broadcast(%row) {shape=[n,8]} "t"
        %y: f32[n,8] = binary(%x, %t) {kind="add"} "y"
        return %y
      })", {Random({1, 8}, 1)}));
    EngineOptions options = options_;
    options.max_cached_shapes = 1;
    TFE_ASSIGN_OR_RETURN(auto small, CudaEngine::Create(moving, Numerics(), DeviceChoices(), options));
    for (int64_t n = 8; n > 0; --n) TFE_RETURN_IF_ERROR(static_cast<Engine&>(*small).Run({*Random({n, 8}, 2)}).status());
    const size_t left = small->MemoryUse().constants;
    return Expect(left == 8 * sizeof(float), fmt::format("constants of {} bytes are left", left));
  }

  Status WrongPointers() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    const Stream stream(device_);
    const std::vector<Tensor> data = InputsOf(512, 3);
    TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, data));
    std::vector<InputView> good = b.views;
    b.views[0].data = data[0].data();
    TFE_RETURN_IF_ERROR(ExpectError(b.Run(*engine, stream.get()), ErrorId::kInputMismatch));
    TFE_ASSIGN_OR_RETURN(DeviceBuffer small, DeviceBuffer::Allocate(device_, 4u << 20));
    b.views[0].data = static_cast<char*>(small.data()) + (4u << 20) - 64;
    TFE_RETURN_IF_ERROR(ExpectError(b.Run(*engine, stream.get()), ErrorId::kInputMismatch));
    b.views = good;
    b.views[0].shape[1] = 13;
    TFE_RETURN_IF_ERROR(ExpectError(b.Run(*engine, stream.get()), ErrorId::kInputMismatch));
    b.views = good;
    b.views[1].dtype = DType::kFloat32;
    TFE_RETURN_IF_ERROR(ExpectError(b.Run(*engine, stream.get()), ErrorId::kInputMismatch));
    b.views = good;
    TFE_RETURN_IF_ERROR(ExpectError(engine->RunOnDevice(b.views, [](int, DType, const std::vector<int64_t>&) -> void* { return nullptr; }, stream.get()), ErrorId::kOutOfMemory));
    TFE_RETURN_IF_ERROR(ExpectError(b.Run(*cpu_, stream.get()), ErrorId::kDeviceUnavailable));
    for (int i = 0; i < 3; ++i) {
      TFE_RETURN_IF_ERROR(b.Run(*engine, stream.get()));
      TFE_RETURN_IF_ERROR(b.Compare(device_, stream.get()));
    }
    return OkStatus();
  }

  Status CallersMemory() {
    struct Pool {
      std::mutex mu;
      std::map<void*, DeviceBuffer> given;
      size_t used = 0, most = 0, limit = SIZE_MAX;
    };
    auto pool = std::make_shared<Pool>();
    auto memory = std::make_shared<DeviceMemory>();
    memory->allocate = [pool, this](size_t bytes) -> void* {
      std::lock_guard<std::mutex> lock(pool->mu);
      if (bytes > pool->limit - std::min(pool->used, pool->limit)) return nullptr;
      const std::shared_ptr<const DeviceMemory> from_driver;
      const cuda::MemoryScope scope(from_driver);
      auto buffer = DeviceBuffer::Allocate(device_, bytes);
      if (!buffer.ok()) return nullptr;
      pool->used += bytes;
      pool->most = std::max(pool->most, pool->used);
      void* data = buffer->data();
      pool->given.emplace(data, std::move(*buffer));
      return data;
    };
    memory->release = [pool](void* data) {
      std::lock_guard<std::mutex> lock(pool->mu);
      pool->used -= pool->given.at(data).bytes();
      pool->given.erase(data);
    };
    EngineOptions options = options_;
    options.device_memory = memory;
    const Stream stream(device_);
    TFE_ASSIGN_OR_RETURN(Buffers small, Buffers::Make(device_, *cpu_, InputsOf(2, 3)));
    TFE_ASSIGN_OR_RETURN(Buffers large, Buffers::Make(device_, *cpu_, InputsOf(256, 3)));
    {
      TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options));
      TFE_RETURN_IF_ERROR(engine->Prepare({{2, 14, 14, 16}, {2, 3}}));
      for (int i = 0; i < 3; ++i) {
        TFE_RETURN_IF_ERROR(small.Run(*engine, stream.get()));
        TFE_RETURN_IF_ERROR(small.Compare(device_, stream.get()));
      }
      TFE_RETURN_IF_ERROR(Expect(engine->MemoryUse().total() == pool->used,
                                 fmt::format("the engine knows of {} bytes, and uses {}", engine->MemoryUse().total(), pool->used)));
      pool->limit = pool->used + 1000;
      TFE_RETURN_IF_ERROR(ExpectError(large.Run(*engine, stream.get()), ErrorId::kOutOfMemory));
      for (int i = 0; i < 3; ++i) {
        TFE_RETURN_IF_ERROR(small.Run(*engine, stream.get()));
        TFE_RETURN_IF_ERROR(small.Compare(device_, stream.get()));
      }
      pool->limit = SIZE_MAX;
      for (int i = 0; i < 3; ++i) {
        TFE_RETURN_IF_ERROR(large.Run(*engine, stream.get()));
        TFE_RETURN_IF_ERROR(large.Compare(device_, stream.get()));
      }
    }
    note_ = fmt::format("{} KiB at most", pool->most >> 10);
    return Expect(pool->used == 0 && pool->most > 0, fmt::format("{} bytes were not given back", pool->used));
  }

  Status FullGpu() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(2, 3)));
    TFE_ASSIGN_OR_RETURN(Buffers large, Buffers::Make(device_, *cpu_, InputsOf(3000, 3)));
    const Stream stream(device_);
    TFE_RETURN_IF_ERROR(b.Run(*engine, stream.get()));
    TFE_RETURN_IF_ERROR(b.Compare(device_, stream.get()));
    {
      std::vector<DeviceBuffer> hog;
      for (size_t piece = size_t{32} << 30; piece >= (size_t{1} << 20);) {
        auto buffer = DeviceBuffer::Allocate(device_, piece);
        if (buffer.ok()) {
          hog.push_back(std::move(*buffer));
        } else {
          piece /= 2;
        }
      }
      TFE_RETURN_IF_ERROR(ExpectError(large.Run(*engine, stream.get()), ErrorId::kOutOfMemory));
      TFE_RETURN_IF_ERROR(Expect(!static_cast<Engine&>(*engine).Run(InputsOf(3000, 3)).ok(), "a run on a full GPU went well"));
    }
    for (Buffers* set : {&b, &large}) {
      TFE_RETURN_IF_ERROR(set->Run(*engine, stream.get()));
      TFE_RETURN_IF_ERROR(set->Compare(device_, stream.get()));
    }
    return OkStatus();
  }

  Status Calibrate() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    engine->set_name("engine_1");
    const Stream stream(device_);
    TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(8, 3)));
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<Calibration> calibration, Calibration::Start());
    TFE_RETURN_IF_ERROR(b.Run(*engine, stream.get()));
    TFE_RETURN_IF_ERROR(static_cast<Engine&>(*engine).Run(InputsOf(8, 4)).status());
    calibration->Stop();
    TFE_RETURN_IF_ERROR(b.Compare(device_, stream.get()));
    TFE_RETURN_IF_ERROR(Expect(calibration->runs() == 2, fmt::format("{} runs were observed", calibration->runs())));
    TFE_ASSIGN_OR_RETURN(const std::string table, calibration->Table());
    return Expect(table.find("\"c1\"") != std::string::npos, "a layer is missing in the table");
  }

  Status OnCpu() {
    std::string text = "network {\n  input %x: f32[batch,2]\n  %y: f32[batch,600] = concat(%x";
    for (int i = 1; i < 300; ++i) text += ", %x";
    text += ") {axis=1} \"y\"\n  return %y\n}";
    TFE_ASSIGN_OR_RETURN(const Network network, ParseNetwork(text, {}));
    TFE_ASSIGN_OR_RETURN(auto engine, CudaEngine::Create(network, Numerics(), DeviceChoices(), options_));
    Tensor x(DType::kFloat32, {1, 2});
    x.mutable_as<float>()[0] = 1;
    x.mutable_as<float>()[1] = 2;
    std::vector<Tensor> inputs;
    inputs.push_back(x);
    TFE_ASSIGN_OR_RETURN(const std::vector<Tensor> got, static_cast<Engine&>(*engine).Run(inputs));
    return Expect(got[0].as<float>()[598] == 1 && got[0].as<float>()[599] == 2, "wrong numbers");
  }

  // They use its memory, and the code of one source is loaded once.
  Status Lowering() {
    TFE_ASSIGN_OR_RETURN(cuda::Device* const device, Device::Get(0));
    const cuda::CudaBackend backend(*device, {});
    const std::shared_ptr<const DeviceMemory> memory = std::make_shared<DeviceMemory>();
    const cuda::MemoryScope scope(memory);
    constexpr size_t kJobs = 8;
    std::array<cuda::Function, kJobs> code;
    std::atomic<int> others{0}, failed{0};
    std::atomic<bool> helped{AvailableCpus() == 1};
    const std::thread::id caller = std::this_thread::get_id();
    const auto start = Clock::now();
    backend.LowerEach(kJobs, [&](size_t i) {
      others += cuda::MemoryScope::OfThread() != memory;
      auto compiled = cuda::CompileKernel(*device, "", "extern \"C\" __global__ void k(int* x) { *x = 12345; }\n");
      failed += !compiled.ok();
      if (compiled.ok()) code[i] = *std::move(compiled);
      if (std::this_thread::get_id() != caller) helped = true;
      while (!helped && Clock::now() - start < std::chrono::seconds(20)) std::this_thread::yield();
    });
    TFE_RETURN_IF_ERROR(Expect(failed == 0, fmt::format("{} threads compiled nothing", failed.load())));
    TFE_RETURN_IF_ERROR(Expect(others == 0, fmt::format("{} jobs had other memory", others.load())));
    TFE_RETURN_IF_ERROR(Expect(helped, "no other thread helped"));
    for (const cuda::Function& function : code) TFE_RETURN_IF_ERROR(Expect(function.module == code[0].module, "one source was loaded twice"));
    return Expect(cuda::MemoryScope::OfThread() == memory, "the caller's memory has changed");
  }

  Status Leaks() {
    TFE_ASSIGN_OR_RETURN(auto engine, NewEngine(options_));
    const Stream stream(device_);
    std::vector<Buffers> sets;
    for (uint32_t i = 0; i < 12; ++i) {
      TFE_ASSIGN_OR_RETURN(Buffers b, Buffers::Make(device_, *cpu_, InputsOf(1 + i % 2, i)));
      sets.push_back(std::move(b));
    }
    auto some = [&](int count) -> Status {
      for (int i = 0; i < count; ++i) {
        TFE_RETURN_IF_ERROR(sets[static_cast<size_t>(i * 7 % 12)].Run(*engine, stream.get()));
        if (i % 100 == 0) TFE_RETURN_IF_ERROR(sets[static_cast<size_t>(i * 7 % 12)].Compare(device_, stream.get()));
      }
      return device_.Check(device_.driver().StreamSynchronize(static_cast<cuda::CUstream>(stream.get())), "waiting");
    };
    const Device::Scope scope(device_);
    TFE_RETURN_IF_ERROR(some(1000));
    const size_t free = FreeBytes(device_), pages = ResidentPages();
    TFE_RETURN_IF_ERROR(some(runs_));
    const auto lost = static_cast<int64_t>(free) - static_cast<int64_t>(FreeBytes(device_));
    const auto grown = (static_cast<int64_t>(ResidentPages()) - static_cast<int64_t>(pages)) * 4;
    note_ = fmt::format("{} KiB on the device, {} KiB on the host", lost >> 10, grown);
    return Expect(lost <= (4 << 20) && grown <= 16384, "memory grew");
  }

  const Device& device_;
  const std::shared_ptr<EngineImpl> cpu_;
  const EngineOptions options_;
  const int runs_;
  std::string note_;
  int failed_ = 0;
};

}  // namespace

size_t FreeBytes(const Device& device) {
  const Device::Scope scope(device);
  size_t free = 0, total = 0;
  device.driver().MemGetInfo(&free, &total);
  return free;
}

int CheckEngines(const std::string& kernel_cache, int runs) {
  auto device = Device::Get(0);
  auto network = TestNetwork();
  if (!device.ok() || !network.ok()) {
    std::cout << (device.ok() ? network.status() : device.status()).ToString() << "\n";
    return 1;
  }
  auto cpu = EngineImpl::Create(*network, Numerics(), DeviceChoices(), EngineOptions());
  if (!cpu.ok()) {
    std::cout << cpu.status().ToString() << "\n";
    return 1;
  }
  EngineOptions options;
  options.device = "cuda";
  options.kernel_cache = kernel_cache;
  const int failed = Checks(**device, *cpu, options, runs).Run();
  std::cout << fmt::format("engine: {} failed\n", failed);
  return failed;
}

}  // namespace tfengine::gpu
