// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda_engine.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "compiler/cuda_direction.h"
#include "compiler/engine_impl.h"
#include "compiler/typed.h"

// How CUDA engines are made: shapes, contexts, memory. cuda_run.cc runs them.
namespace tfengine {
namespace {

using cuda::Device;
using cuda::DeviceBuffer;
using cuda::DevicePointer;
using cuda::MemoryScope;
using cuda::PinnedBuffer;

constexpr size_t kMostStreams = 8;

size_t Rounded(size_t bytes) { return (bytes + 255) / 256 * 256; }

// Activations, scratch, error flag.
constexpr size_t kErrorBytes = 256;
size_t MemoryBytes(const Executable& exe) { return Rounded(exe.arena_bytes) + Rounded(exe.scratch_bytes) + kErrorBytes; }

bool IsOutOfMemory(const Status& status) { return status.error_id() == static_cast<int>(ErrorId::kOutOfMemory); }

Result<std::shared_ptr<const cuda::CudaBackend>> BackendFor(const EngineOptions& options) {
  const auto index = cuda::DeviceIndex(options.device);
  if (!index) return Error(ErrorId::kBadFlag, "device \"{}\": expected cpu, cuda or cuda:<index>", options.device);
  TFE_ASSIGN_OR_RETURN(Device* device, Device::Get(*index));
  BackendOptions backend;
  backend.kernel_cache = options.kernel_cache;
  backend.tf32 = options.tf32;
  backend.workspace_bytes = options.max_workspace_bytes;
  return std::make_shared<const cuda::CudaBackend>(*device, backend);
}

}  // namespace

CudaEngine::Graph::~Graph() {
  if (exec_ == nullptr) return;
  const Device::Scope scope(*device_);
  device_->driver().GraphExecDestroy(exec_);
}

Status CudaEngine::Graph::Launch(cuda::CUstream stream) const {
  return device_->Check(device_->driver().GraphLaunch(exec_, stream), "launching");
}

CudaEngine::Context::~Context() {
  const Device::Scope scope(device);
  if (stream) device.driver().StreamSynchronize(stream);
  if (stream) device.driver().StreamDestroy(stream);
}

CudaEngine::Arena::~Arena() {
  const Device::Scope scope(device);
  Clear();
  if (done) device.driver().EventDestroy(done);
}

void CudaEngine::Arena::Wait() {
  if (busy) device.driver().EventSynchronize(done);
  busy = false;
}

void CudaEngine::Arena::Clear() {
  Wait();
  contexts.clear();
  memory = DeviceBuffer();
}

CudaEngine::CudaEngine(const Network& network, quant::Assignment assignment, const Numerics& numerics,
                       std::shared_ptr<const cuda::CudaBackend> backend, const EngineOptions& options)
    : EngineBase(std::move(assignment), numerics, *backend, options),
      source_(network),
      numerics_(numerics),
      backend_(std::move(backend)),
      device_(backend_->device()) {}

Result<std::shared_ptr<CudaEngine>> CudaEngine::Create(const Network& network, const Numerics& numerics, const DeviceChoices& choices,
                                                       const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<CudaEngine> engine, Make(network, numerics, options, nullptr));
  engine->choices_ = choices;
  return engine;
}

Result<std::shared_ptr<CudaEngine>> CudaEngine::Make(const Network& network, const Numerics& numerics, const EngineOptions& options, const MappedFile* file) {
  TFE_ASSIGN_OR_RETURN(auto backend, BackendFor(options));
  TFE_ASSIGN_OR_RETURN(quant::Assignment assignment, AssignFor(network, numerics, *backend, file));
  return std::shared_ptr<CudaEngine>(new CudaEngine(network, std::move(assignment), numerics, std::move(backend), options));
}

Result<std::shared_ptr<CudaEngine>> CudaEngine::Create(Plan plan, const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(Network network, ParseNetwork(plan.network_text, plan.constants));
  TFE_RETURN_IF_ERROR(Verify(network));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<CudaEngine> engine, Make(network, plan.numerics, options, plan.file.get()));
  engine->weights_.SetSource(plan.file);
  auto choices = plan.devices.find(engine->backend_->Fingerprint());
  engine->rebuilt_ = choices == plan.devices.end();
  // Choices made with the other setting of TF32 are better than guesses; names that mean nothing here are passed over.
  BackendOptions other = engine->backend_->options();
  other.tf32 = !other.tf32;
  if (engine->rebuilt_) choices = plan.devices.find(cuda::CudaBackend(engine->device_, other).Fingerprint());
  if (choices != plan.devices.end()) engine->choices_ = choices->second;
  for (const auto& shapes : plan.prepared_shapes) TFE_RETURN_IF_ERROR(engine->Prepare(shapes));
  return engine;
}

Result<std::shared_ptr<const CudaEngine::DeviceConstant>> CudaEngine::ConstantOnDevice(const std::shared_ptr<const Tensor>& constant) {
  std::lock_guard<std::mutex> lock(constants_mu_);
  if (const auto known = constants_.find(constant.get()); known != constants_.end())
    if (auto held = known->second.lock()) return held;
  std::erase_if(constants_, [](const auto& entry) { return entry.second.expired(); });
  TFE_ASSIGN_OR_RETURN(DeviceBuffer copy, DeviceBuffer::Upload(device_, constant->data(), constant->num_bytes()));
  auto fresh = std::make_shared<const DeviceConstant>(DeviceConstant{constant, std::move(copy)});
  constants_[constant.get()] = fresh;
  return fresh;
}

Result<std::shared_ptr<CudaEngine::ShapePlan>> CudaEngine::MakeShapePlan(const std::vector<std::vector<int64_t>>& shapes) {
  TFE_ASSIGN_OR_RETURN(std::vector<int64_t> symbols, network_.BindSymbols(shapes));
  auto plan = std::make_shared<ShapePlan>();
  plan->input_shapes = shapes;
  const MemoryScope memory(options_.device_memory);
  auto exe = Specialize(network_, *backend_, symbols, ChoicesFor(symbols).tactics, weights_, 1);
  if (!exe.ok() && IsOutOfMemory(exe.status())) {
    FreeMemory(nullptr);
    exe = Specialize(network_, *backend_, symbols, ChoicesFor(symbols).tactics, weights_, 1);
  }
  if (!exe.ok() && exe.status().error_id() == static_cast<int>(ErrorId::kDeviceUnsupported)) {
    plan->unsupported = exe.status();
    return plan;
  }
  if (!exe.ok()) return exe.status();
  plan->exe = *std::move(exe);
  plan->backwards = Directions(*plan->exe);
  for (const auto& constant : plan->exe->constants) {
    TFE_ASSIGN_OR_RETURN(auto on_device, ConstantOnDevice(constant));
    plan->constants.push_back(std::move(on_device));
  }
  // Copies of weights may be under way on the default stream, for which other streams do not wait.
  const Device::Scope scope(device_);
  TFE_RETURN_IF_ERROR(device_.Check(device_.driver().StreamSynchronize(nullptr), "copying to the device"));
  return plan;
}

Result<std::shared_ptr<CudaEngine::ShapePlan>> CudaEngine::GetShapePlan(const std::vector<std::vector<int64_t>>& shapes) {
  auto find = [&]() -> std::shared_ptr<ShapePlan> {
    for (auto it = shapes_.begin(); it != shapes_.end(); ++it) {
      if ((*it)->input_shapes != shapes) continue;
      shapes_.splice(shapes_.begin(), shapes_, it);
      return shapes_.front();
    }
    return nullptr;
  };
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (auto plan = find()) return plan;
  }
  // Made outside the lock: requests with known shapes go on. Two threads may make the same plan; one is dropped.
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> fresh, MakeShapePlan(shapes));
  std::vector<std::shared_ptr<ShapePlan>> dropped;  // destroyed after the lock
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (auto plan = find()) return plan;
    shapes_.push_front(fresh);
    while (shapes_.size() > static_cast<size_t>(options_.max_cached_shapes)) {
      dropped.push_back(std::move(shapes_.back()));
      shapes_.pop_back();
    }
  }
  dropped.clear();
  weights_.DropUnusedObjects();
  return fresh;
}

CudaEngine::DeviceUse CudaEngine::MemoryUse() {
  DeviceUse use;
  auto add = [&](const Context& c) {
    use.activations += c.memory.bytes();
    for (const auto* list : {&c.inputs, &c.outputs})
      for (const DeviceBuffer& buffer : *list) use.ports += buffer.bytes();
  };
  use.weights = weights_.ObjectBytes();
  {
    std::lock_guard<std::mutex> lock(constants_mu_);
    for (const auto& [tensor, weak] : constants_)
      if (const auto held = weak.lock()) use.constants += held->copy.bytes();
  }
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& plan : shapes_) {
    std::lock_guard<std::mutex> plan_lock(plan->mu);
    for (const auto& context : plan->free) add(*context);
  }
  std::lock_guard<std::mutex> arenas_lock(arenas_mu_);
  for (const auto& [stream, arena] : arenas_) {
    std::lock_guard<std::mutex> arena_lock(arena->mu);
    use.activations += arena->memory.bytes();
    for (const auto& [plan, context] : arena->contexts) add(*context);
  }
  return use;
}

Result<std::shared_ptr<EngineBase>> CudaEngine::OnCpu() {
  std::lock_guard<std::mutex> lock(cpu_mu_);
  if (!cpu_) {
    EngineOptions options = options_;
    options.device = "cpu";
    options.device_memory = nullptr;
    TFE_ASSIGN_OR_RETURN(cpu_, CreateEngine(source_, numerics_, DeviceChoices(), options));
    cpu_->set_name(name_);
  }
  return cpu_;
}

Result<std::unique_ptr<CudaEngine::Context>> CudaEngine::MakeContext(const ShapePlan& plan, const Arena* arena) const {
  const cuda::DriverApi& api = device_.driver();
  auto c = std::make_unique<Context>(device_);
  const MemoryScope memory(options_.device_memory);
  if (arena == nullptr) {
    TFE_ASSIGN_OR_RETURN(c->memory, DeviceBuffer::Allocate(device_, MemoryBytes(*plan.exe)));
  }
  c->base = static_cast<char*>((arena == nullptr ? c->memory : arena->memory).data());
  c->error = reinterpret_cast<int*>(c->base + MemoryBytes(*plan.exe) - kErrorBytes);
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamCreate(&c->stream, cuda::CU_STREAM_NON_BLOCKING), "making a stream"));
  if (arena != nullptr) return c;  // nobody asks for the error flag
  TFE_RETURN_IF_ERROR(device_.Check(api.MemsetD8Async(DevicePointer(c->error), 0, sizeof(int), c->stream), "clearing memory"));
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c->stream), "clearing memory"));
  return c;
}

Status CudaEngine::EnsureBuffers(const ShapePlan& plan, Context& c) const {
  const Executable& exe = *plan.exe;
  if (c.inputs.size() == exe.inputs.size() && c.outputs.size() == exe.outputs.size()) return OkStatus();
  const MemoryScope memory(options_.device_memory);
  for (const auto& [ports, list] : {std::pair{&exe.inputs, &c.inputs}, std::pair{&exe.outputs, &c.outputs}}) {
    std::vector<DeviceBuffer> fresh;
    for (const Executable::Port& port : *ports) {
      TFE_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(device_, port.bytes));
      fresh.push_back(std::move(buffer));
    }
    *list = std::move(fresh);
  }
  return OkStatus();
}

CudaEngine::Pointers CudaEngine::OwnPointers(const Context& c) {
  Pointers own;
  for (const DeviceBuffer& buffer : c.inputs) own.inputs.push_back(buffer.data());
  for (const DeviceBuffer& buffer : c.outputs) own.outputs.push_back(buffer.data());
  return own;
}

Status CudaEngine::Warm(ShapePlan& plan, Context& c) const {
  if (plan.warm) return OkStatus();
  TFE_RETURN_IF_ERROR(EnsureBuffers(plan, c));
  const cuda::DriverApi& api = device_.driver();
  for (const DeviceBuffer& buffer : c.inputs)  // zeros are valid indices
    if (buffer.bytes() > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemsetD8Async(DevicePointer(buffer.data()), 0, buffer.bytes(), c.stream), "clearing memory"));
  TFE_RETURN_IF_ERROR(Enqueue(plan, c, OwnPointers(c), c.stream));
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c.stream), "the first run"));
  // An integer division by these zeros is nobody's error.
  TFE_RETURN_IF_ERROR(device_.Check(api.MemsetD8Async(DevicePointer(c.error), 0, sizeof(int), c.stream), "clearing memory"));
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c.stream), "clearing memory"));
  plan.warm = true;
  return OkStatus();
}

Status CudaEngine::EnsureHost(ShapePlan& plan, Context& c) const {
  if (c.host_graph) return OkStatus();
  const Executable& exe = *plan.exe;
  TFE_RETURN_IF_ERROR(EnsureBuffers(plan, c));
  for (const auto& [ports, list] : {std::pair{&exe.inputs, &c.host_inputs}, std::pair{&exe.outputs, &c.host_outputs}}) {
    list->clear();
    for (const Executable::Port& port : *ports) {
      TFE_ASSIGN_OR_RETURN(PinnedBuffer buffer, PinnedBuffer::Allocate(device_, port.bytes));
      std::memset(buffer.data(), 0, port.bytes);
      list->push_back(std::move(buffer));
    }
  }
  TFE_ASSIGN_OR_RETURN(c.host_error, PinnedBuffer::Allocate(device_, sizeof(int)));
  std::memset(c.host_error.data(), 0, sizeof(int));
  TFE_RETURN_IF_ERROR(Warm(plan, c));
  TFE_ASSIGN_OR_RETURN(c.host_graph, Capture(c, [&] { return EnqueueWithCopies(plan, c); }));
  return OkStatus();
}

Result<std::unique_ptr<CudaEngine::Context>> CudaEngine::TakeContext(ShapePlan& plan) {
  {
    std::lock_guard<std::mutex> lock(plan.mu);
    if (!plan.free.empty()) {
      auto context = std::move(plan.free.back());
      plan.free.pop_back();
      return context;
    }
  }
  auto context = MakeContext(plan, nullptr);
  if (!context.ok() && IsOutOfMemory(context.status())) {
    FreeMemory(nullptr);
    context = MakeContext(plan, nullptr);
  }
  return context;
}

void CudaEngine::Give(ShapePlan& plan, std::unique_ptr<Context> context) {
  std::lock_guard<std::mutex> lock(plan.mu);
  plan.free.push_back(std::move(context));
}

std::shared_ptr<CudaEngine::Arena> CudaEngine::ArenaOf(cuda::CUstream stream) {
  std::shared_ptr<Arena> dropped;  // destroyed after the lock
  std::lock_guard<std::mutex> lock(arenas_mu_);
  for (auto it = arenas_.begin(); it != arenas_.end(); ++it) {
    if (it->first != stream) continue;
    arenas_.splice(arenas_.begin(), arenas_, it);
    return it->second;
  }
  if (arenas_.size() >= kMostStreams) {
    dropped = std::move(arenas_.back().second);
    arenas_.pop_back();
  }
  arenas_.emplace_front(stream, std::make_shared<Arena>(device_));
  return arenas_.front().second;
}

Result<CudaEngine::Context*> CudaEngine::ContextIn(Arena& arena, const std::shared_ptr<ShapePlan>& plan) {
  if (arena.done == nullptr)
    TFE_RETURN_IF_ERROR(device_.Check(device_.driver().EventCreate(&arena.done, cuda::CU_EVENT_DISABLE_TIMING), "making an event"));
  const size_t bytes = MemoryBytes(*plan->exe);
  if (arena.memory.bytes() < bytes) {
    arena.Clear();
    const MemoryScope scope(options_.device_memory);
    auto memory = DeviceBuffer::Allocate(device_, bytes);
    if (!memory.ok() && IsOutOfMemory(memory.status())) {
      FreeMemory(&arena);
      memory = DeviceBuffer::Allocate(device_, bytes);
    }
    if (!memory.ok()) return memory.status();
    arena.memory = std::move(*memory);
  }
  auto& contexts = arena.contexts;
  const auto known = std::find_if(contexts.begin(), contexts.end(), [&](const auto& entry) { return entry.first == plan; });
  if (known != contexts.end()) {
    contexts.splice(contexts.begin(), contexts, known);
    return contexts.front().second.get();
  }
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> context, MakeContext(*plan, &arena));
  if (contexts.size() >= static_cast<size_t>(options_.max_cached_shapes)) {
    arena.Wait();
    contexts.pop_back();
  }
  contexts.emplace_front(plan, std::move(context));
  return contexts.front().second.get();
}

void CudaEngine::FreeMemory(const Arena* mine) {
  weights_.DropUnusedObjects();
  std::vector<std::unique_ptr<Context>> idle;  // destroyed after the locks
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& plan : shapes_) {
    std::lock_guard<std::mutex> plan_lock(plan->mu);
    std::move(plan->free.begin(), plan->free.end(), std::back_inserter(idle));
    plan->free.clear();
  }
  std::lock_guard<std::mutex> arenas_lock(arenas_mu_);
  for (const auto& [stream, arena] : arenas_) {
    if (arena.get() == mine) continue;
    const std::unique_lock<std::mutex> arena_lock(arena->mu, std::try_to_lock);
    if (arena_lock) arena->Clear();
  }
}

Status CudaEngine::Prepare(const std::vector<std::vector<int64_t>>& input_shapes) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(input_shapes));
  if (!plan->unsupported.ok()) {
    if (options_.device_memory) return OkStatus();  // RunOnDevice reports it
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<EngineBase> cpu, OnCpu());
    return cpu->Prepare(input_shapes);
  }
  const Device::Scope scope(device_);
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> context, TakeContext(*plan));
  if (options_.device_memory) return Warm(*plan, *context);  // runs will come with buffers on the device
  TFE_RETURN_IF_ERROR(EnsureHost(*plan, *context));
  Give(*plan, std::move(context));
  return OkStatus();
}

std::string CudaEngine::DescribeJson() const {
  std::lock_guard<std::mutex> lock(cpu_mu_);
  return Describe(fmt::format(R"({{"tf32": {}, "compute_capability": {}, "cpu_fallback": {}}})", options_.tf32, device_.architecture(), cpu_ != nullptr));
}

}  // namespace tfengine
