// SPDX-License-Identifier: Apache-2.0
#include "compiler/cuda_engine.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "compiler/typed.h"

namespace tfengine {
namespace {

using cuda::Device;
using cuda::DeviceBuffer;
using cuda::DevicePointer;
using cuda::PinnedBuffer;

constexpr size_t kMostGraphs = 4;  // per context
constexpr uintptr_t kAlignment = 16;  // of a caller's pointers that kernels can read

const cuda::DeviceKernel& KernelOf(const Step& step) { return static_cast<const cuda::DeviceKernel&>(*step.kernel); }

bool Reports(const Executable& exe) {
  return std::any_of(exe.steps.begin(), exe.steps.end(), [](const Step& step) { return KernelOf(step).reports(); });
}

// Large copies between host buffers take several threads: one cannot use the memory's bandwidth.
void CopyOnHost(void* to, const void* from, size_t bytes, const EngineOptions& options) {
  constexpr size_t kPiece = size_t{1} << 20, kLarge = 4 * kPiece;
  constexpr int kMostThreads = 8;
  if (bytes <= kLarge) {
    std::memcpy(to, from, bytes);
    return;
  }
  Gang gang(std::min(options.threads, kMostThreads), options.spawn);
  gang.Run(static_cast<int64_t>((bytes + kPiece - 1) / kPiece), [&](int64_t piece, int) {
    const size_t at = static_cast<size_t>(piece) * kPiece;
    std::memcpy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, std::min(kPiece, bytes - at));
  });
}

size_t Rounded(size_t bytes) { return (bytes + 255) / 256 * 256; }

Result<std::shared_ptr<const cuda::CudaBackend>> BackendFor(const EngineOptions& options) {
  const auto index = cuda::DeviceIndex(options.device);
  if (!index) return Error(ErrorId::kBadFlag, "device \"{}\": expected cpu, cuda or cuda:<index>", options.device);
  TFE_ASSIGN_OR_RETURN(Device* device, Device::Get(*index));
  BackendOptions backend;
  backend.kernel_cache = options.kernel_cache;
  backend.tf32 = options.tf32;
  return std::make_shared<const cuda::CudaBackend>(*device, backend);
}

}  // namespace

CudaEngine::Context::~Context() {
  const Device::Scope scope(device);
  if (busy) device.driver().EventSynchronize(done);
  if (stream) device.driver().StreamSynchronize(stream);
  for (const Captured& graph : graphs) device.driver().GraphExecDestroy(graph.exec);
  if (done) device.driver().EventDestroy(done);
  if (stream) device.driver().StreamDestroy(stream);
}

CudaEngine::CudaEngine(quant::Assignment assignment, const Numerics& numerics, std::shared_ptr<const cuda::CudaBackend> backend, const EngineOptions& options)
    : EngineBase(std::move(assignment), numerics, *backend, options), backend_(std::move(backend)), device_(backend_->device()) {}

Result<std::shared_ptr<CudaEngine>> CudaEngine::Create(const Network& network, const Numerics& numerics, const DeviceChoices& choices,
                                                       const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<CudaEngine> engine, Make(network, numerics, options, nullptr));
  engine->choices_ = choices;
  return engine;
}

Result<std::shared_ptr<CudaEngine>> CudaEngine::Make(const Network& network, const Numerics& numerics, const EngineOptions& options, const MappedFile* file) {
  TFE_ASSIGN_OR_RETURN(auto backend, BackendFor(options));
  TFE_ASSIGN_OR_RETURN(quant::Assignment assignment, AssignFor(network, numerics, *backend, file));
  return std::shared_ptr<CudaEngine>(new CudaEngine(std::move(assignment), numerics, std::move(backend), options));
}

Result<std::shared_ptr<CudaEngine>> CudaEngine::Create(Plan plan, const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(Network network, ParseNetwork(plan.network_text, plan.constants));
  TFE_RETURN_IF_ERROR(Verify(network));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<CudaEngine> engine, Make(network, plan.numerics, options, plan.file.get()));
  engine->weights_.SetSource(plan.file);
  auto choices = plan.devices.find(engine->backend_->Fingerprint());
  engine->rebuilt_ = choices == plan.devices.end();
  if (!engine->rebuilt_) engine->choices_ = choices->second;
  for (const auto& shapes : plan.prepared_shapes) TFE_RETURN_IF_ERROR(engine->Prepare(shapes));
  return engine;
}

Result<const void*> CudaEngine::ConstantOnDevice(const std::shared_ptr<const Tensor>& constant) {
  std::lock_guard<std::mutex> lock(constants_mu_);
  auto& [owner, buffer] = constants_[constant.get()];
  if (!owner) {
    auto fresh = DeviceBuffer::Upload(device_, constant->data(), constant->num_bytes());
    if (!fresh.ok()) {
      constants_.erase(constant.get());
      return fresh.status();
    }
    owner = constant;
    buffer = std::move(*fresh);
  }
  return static_cast<const void*>(buffer.data());
}

Result<std::shared_ptr<CudaEngine::ShapePlan>> CudaEngine::MakeShapePlan(const std::vector<std::vector<int64_t>>& shapes) {
  TFE_ASSIGN_OR_RETURN(std::vector<int64_t> symbols, network_.BindSymbols(shapes));
  auto plan = std::make_shared<ShapePlan>();
  plan->input_shapes = shapes;
  TFE_ASSIGN_OR_RETURN(plan->exe, Specialize(network_, *backend_, symbols, ChoicesFor(symbols).tactics, weights_, 1));
  for (const auto& constant : plan->exe->constants) {
    TFE_ASSIGN_OR_RETURN(const void* data, ConstantOnDevice(constant));
    plan->constants.push_back(data);
  }
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
  std::lock_guard<std::mutex> lock(mu_);
  if (auto plan = find()) return plan;
  shapes_.push_front(fresh);
  while (shapes_.size() > static_cast<size_t>(options_.max_cached_shapes)) {
    dropped.push_back(std::move(shapes_.back()));
    shapes_.pop_back();
  }
  return fresh;
}

char* CudaEngine::Resolve(const BufferRef& ref, const ShapePlan& plan, const Context& c, const std::vector<const void*>& inputs,
                          const std::vector<void*>& outputs) {
  const auto index = static_cast<size_t>(ref.index);
  switch (ref.kind) {
    case BufferRef::Kind::kArena: return static_cast<char*>(c.memory.data()) + ref.offset;
    // Kernels only read inputs and constants.
    case BufferRef::Kind::kInput: return const_cast<char*>(static_cast<const char*>(inputs[index])) + ref.offset;
    case BufferRef::Kind::kOutput: return static_cast<char*>(outputs[index]) + ref.offset;
    case BufferRef::Kind::kConstant: return const_cast<char*>(static_cast<const char*>(plan.constants[index])) + ref.offset;
  }
  return nullptr;
}

Status CudaEngine::Enqueue(const ShapePlan& plan, Context& c, const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
                           cuda::CUstream stream, size_t from, size_t to) const {
  const Executable& exe = *plan.exe;
  cuda::Launch launch{device_};
  launch.stream = stream;
  launch.scratch = static_cast<char*>(c.memory.data()) + Rounded(exe.arena_bytes);
  launch.error = c.error;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (size_t i = from; i < std::min(to, exe.steps.size()); ++i) {
    const Step& step = exe.steps[i];
    in.clear();
    out.clear();
    for (const BufferRef& ref : step.in) in.push_back(Resolve(ref, plan, c, inputs, outputs));
    for (const BufferRef& ref : step.out) out.push_back(Resolve(ref, plan, c, inputs, outputs));
    if (Status s = KernelOf(step).Enqueue(in.data(), out.data(), launch); !s.ok()) return s.WithContext(step.name);
  }
  return OkStatus();
}

Status CudaEngine::EnqueueWithCopies(const ShapePlan& plan, Context& c) const {
  const cuda::DriverApi& api = device_.driver();
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const DeviceBuffer& buffer = c.inputs[i];
    inputs.push_back(buffer.data());
    if (buffer.bytes() > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyHtoDAsync(DevicePointer(buffer.data()), c.host_inputs[i].data(), buffer.bytes(), c.stream), "copying inputs"));
  }
  for (const DeviceBuffer& buffer : c.outputs) outputs.push_back(buffer.data());
  TFE_RETURN_IF_ERROR(Enqueue(plan, c, inputs, outputs, c.stream));
  for (size_t i = 0; i < c.outputs.size(); ++i)
    if (c.outputs[i].bytes() > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyDtoHAsync(c.host_outputs[i].data(), DevicePointer(c.outputs[i].data()), c.outputs[i].bytes(), c.stream), "copying outputs"));
  if (Reports(*plan.exe))
    TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyDtoHAsync(c.host_error.data(), DevicePointer(c.error), sizeof(int), c.stream), "copying outputs"));
  return OkStatus();
}

Status CudaEngine::Capture(Context& c, Captured captured, FunctionRef<Status()> enqueue) const {
  const cuda::DriverApi& api = device_.driver();
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamBeginCapture(c.stream, cuda::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "capturing"));
  Status status = enqueue();
  cuda::CUgraph graph = nullptr;
  const int ended = api.StreamEndCapture(c.stream, &graph);
  if (status.ok()) status = device_.Check(ended, "capturing");
  if (status.ok()) status = device_.Check(api.GraphInstantiate(&captured.exec, graph, 0), "making a graph");
  if (graph != nullptr) api.GraphDestroy(graph);
  TFE_RETURN_IF_ERROR(status);
  c.graphs.push_front(std::move(captured));
  if (c.graphs.size() > kMostGraphs) {
    // The one with copies stays: it serves every run with host memory.
    auto oldest = std::prev(c.graphs.end());
    if (oldest->copies) --oldest;
    // Work of it may still be queued on a caller's stream.
    if (c.busy) api.EventSynchronize(c.done);
    api.GraphExecDestroy(oldest->exec);
    c.graphs.erase(oldest);
  }
  return OkStatus();
}

Result<std::unique_ptr<CudaEngine::Context>> CudaEngine::MakeContext(const ShapePlan& plan) {
  const cuda::DriverApi& api = device_.driver();
  const Executable& exe = *plan.exe;
  auto c = std::make_unique<Context>(device_);
  const size_t error_at = Rounded(exe.arena_bytes) + Rounded(exe.scratch_bytes);
  TFE_ASSIGN_OR_RETURN(c->memory, DeviceBuffer::Allocate(device_, error_at + 256));
  c->error = reinterpret_cast<int*>(static_cast<char*>(c->memory.data()) + error_at);
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamCreate(&c->stream, cuda::CU_STREAM_NON_BLOCKING), "making a stream"));
  TFE_RETURN_IF_ERROR(device_.Check(api.EventCreate(&c->done, cuda::CU_EVENT_DISABLE_TIMING), "making an event"));
  for (const auto& [ports, device_list, host_list] : {std::tuple{&exe.inputs, &c->inputs, &c->host_inputs}, std::tuple{&exe.outputs, &c->outputs, &c->host_outputs}}) {
    for (const Executable::Port& port : *ports) {
      TFE_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(device_, port.bytes));
      TFE_ASSIGN_OR_RETURN(PinnedBuffer host, PinnedBuffer::Allocate(device_, port.bytes));
      std::memset(host.data(), 0, port.bytes);
      device_list->push_back(std::move(buffer));
      host_list->push_back(std::move(host));
    }
  }
  TFE_ASSIGN_OR_RETURN(c->host_error, PinnedBuffer::Allocate(device_, sizeof(int)));
  std::memset(c->host_error.data(), 0, sizeof(int));
  TFE_RETURN_IF_ERROR(device_.Check(api.MemsetD8Async(DevicePointer(c->memory.data()), 0, c->memory.bytes(), c->stream), "clearing memory"));
  // A plain run on zeros first: libraries load and choose their code in it, which a capture does not allow.
  TFE_RETURN_IF_ERROR(EnqueueWithCopies(plan, *c));
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c->stream), "the first run"));
  Captured captured;
  captured.copies = true;
  TFE_RETURN_IF_ERROR(Capture(*c, captured, [&] { return EnqueueWithCopies(plan, *c); }));
  return c;
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
  auto context = MakeContext(plan);
  if (!context.ok() && context.status().error_id() == static_cast<int>(ErrorId::kOutOfMemory)) {
    FreeMemory();
    context = MakeContext(plan);
  }
  return context;
}

void CudaEngine::Give(ShapePlan& plan, std::unique_ptr<Context> context) {
  std::lock_guard<std::mutex> lock(plan.mu);
  plan.free.push_back(std::move(context));
}

void CudaEngine::FreeMemory() {
  std::vector<std::unique_ptr<Context>> idle;
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& plan : shapes_) {
    std::lock_guard<std::mutex> plan_lock(plan->mu);
    std::move(plan->free.begin(), plan->free.end(), std::back_inserter(idle));
    plan->free.clear();
  }
}

Status CudaEngine::Prepare(const std::vector<std::vector<int64_t>>& input_shapes) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(input_shapes));
  const Device::Scope scope(device_);
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> context, TakeContext(*plan));
  Give(*plan, std::move(context));
  return OkStatus();
}

Status CudaEngine::Run(const std::vector<InputView>& inputs, const OutputAllocator& allocate) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  const Executable& exe = *plan->exe;
  const Device::Scope scope(device_);
  const cuda::DriverApi& api = device_.driver();
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> c, TakeContext(*plan));
  std::vector<void*> outputs(exe.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i] = allocate(static_cast<int>(i), exe.outputs[i].dtype, exe.outputs[i].shape);
    if (outputs[i] != nullptr || exe.outputs[i].bytes == 0) continue;
    Give(*plan, std::move(c));
    return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes for output \"{}\"", exe.outputs[i].bytes, output_specs_[i].name);
  }
  if (c->busy) {  // on a caller's stream
    TFE_RETURN_IF_ERROR(device_.Check(api.StreamWaitEvent(c->stream, c->done, 0), "waiting"));
    c->busy = false;
  }
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].data != nullptr) CopyOnHost(c->host_inputs[i].data(), inputs[i].data, exe.inputs[i].bytes, options_);
  const auto graph = std::find_if(c->graphs.begin(), c->graphs.end(), [](const Captured& g) { return g.copies; });
  TFE_RETURN_IF_ERROR(device_.Check(api.GraphLaunch(graph->exec, c->stream), "launching"));
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c->stream), "running"));
  if (int& error = *static_cast<int*>(c->host_error.data()); error != cuda::kNoError) {
    Status status = cuda::StatusOf(error);
    error = cuda::kNoError;
    TFE_RETURN_IF_ERROR(device_.Check(api.MemsetD8Async(DevicePointer(c->error), 0, sizeof(int), c->stream), "clearing memory"));
    TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c->stream), "clearing memory"));
    Give(*plan, std::move(c));
    return status;
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (exe.outputs[i].bytes > 0) CopyOnHost(outputs[i], c->host_outputs[i].data(), exe.outputs[i].bytes, options_);
  Give(*plan, std::move(c));
  return OkStatus();
}

Status CudaEngine::RunOnDevice(const std::vector<InputView>& inputs, const OutputAllocator& allocate, void* stream_pointer) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  const Executable& exe = *plan->exe;
  const Device::Scope scope(device_);
  const cuda::DriverApi& api = device_.driver();
  auto stream = static_cast<cuda::CUstream>(stream_pointer);
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> c, TakeContext(*plan));
  std::vector<const void*> in;
  std::vector<void*> out, results;
  auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % kAlignment == 0; };
  for (size_t i = 0; i < exe.outputs.size(); ++i) {
    results.push_back(allocate(static_cast<int>(i), exe.outputs[i].dtype, exe.outputs[i].shape));
    if (results.back() == nullptr && exe.outputs[i].bytes > 0) {
      Give(*plan, std::move(c));
      return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes for output \"{}\"", exe.outputs[i].bytes, output_specs_[i].name);
    }
    out.push_back(aligned(results.back()) ? results.back() : c->outputs[i].data());
  }
  if (c->busy) TFE_RETURN_IF_ERROR(device_.Check(api.StreamWaitEvent(stream, c->done, 0), "waiting"));
  for (size_t i = 0; i < inputs.size(); ++i) {
    in.push_back(inputs[i].data);
    if (inputs[i].data != nullptr && aligned(inputs[i].data)) continue;
    in.back() = c->inputs[i].data();
    if (inputs[i].data != nullptr && exe.inputs[i].bytes > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyDtoDAsync(DevicePointer(in.back()), DevicePointer(inputs[i].data), exe.inputs[i].bytes, stream), "copying inputs"));
  }
  auto find = [&] {
    return std::find_if(c->graphs.begin(), c->graphs.end(), [&](const Captured& g) { return !g.copies && g.inputs == in && g.outputs == out; });
  };
  auto graph = find();
  if (graph == c->graphs.end() && c->last_inputs == in && c->last_outputs == out) {
    Captured captured;
    captured.inputs = in;
    captured.outputs = out;
    TFE_RETURN_IF_ERROR(Capture(*c, captured, [&] { return Enqueue(*plan, *c, in, out, c->stream); }));
    graph = find();
  }
  if (graph != c->graphs.end()) {
    TFE_RETURN_IF_ERROR(device_.Check(api.GraphLaunch(graph->exec, stream), "launching"));
    c->graphs.splice(c->graphs.begin(), c->graphs, graph);
  } else {
    c->last_inputs = in;
    c->last_outputs = out;
    TFE_RETURN_IF_ERROR(Enqueue(*plan, *c, in, out, stream));
  }
  for (size_t i = 0; i < results.size(); ++i)
    if (out[i] != results[i] && exe.outputs[i].bytes > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyDtoDAsync(DevicePointer(results[i]), DevicePointer(out[i]), exe.outputs[i].bytes, stream), "copying outputs"));
  TFE_RETURN_IF_ERROR(device_.Check(api.EventRecord(c->done, stream), "recording an event"));
  c->busy = true;
  Give(*plan, std::move(c));
  return OkStatus();
}

Status CudaEngine::Observe(const std::vector<InputView>& inputs, const Observer& observer, std::vector<Tensor>* outputs) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  TFE_ASSIGN_OR_RETURN(const std::vector<int64_t> symbols, network_.BindSymbols(ShapesOf(inputs)));
  const Executable& exe = *plan->exe;
  const Device::Scope scope(device_);
  const cuda::DriverApi& api = device_.driver();
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> c, TakeContext(*plan));
  if (c->busy) TFE_RETURN_IF_ERROR(device_.Check(api.StreamWaitEvent(c->stream, c->done, 0), "waiting"));
  std::vector<const void*> in;
  std::vector<void*> out;
  std::vector<bool> shown(network_.values().size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    in.push_back(c->inputs[i].data());
    const ValueId v = network_.inputs()[i];
    shown[static_cast<size_t>(v)] = true;
    if (inputs[i].data == nullptr) continue;
    observer(network_.value(v), inputs[i].shape, inputs[i].data);
    if (exe.inputs[i].bytes > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyHtoD(DevicePointer(in[i]), inputs[i].data, exe.inputs[i].bytes), "copying inputs"));
  }
  for (const DeviceBuffer& buffer : c->outputs) out.push_back(buffer.data());
  auto fetch = [&](const void* from, Tensor* to) {
    return to->num_bytes() == 0 ? OkStatus() : device_.Check(api.MemcpyDtoH(to->mutable_data(), DevicePointer(from), to->num_bytes()), "copying results");
  };
  for (size_t i = 0; i < exe.steps.size(); ++i) {
    TFE_RETURN_IF_ERROR(Enqueue(*plan, *c, in, out, c->stream, i, i + 1));
    TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c->stream), "running"));
    for (size_t k = 0; k < exe.steps[i].values.size(); ++k) {
      const auto v = static_cast<size_t>(exe.steps[i].values[k]);
      const Value& value = network_.value(static_cast<ValueId>(v));
      // Evaluated without error when the executable was made.
      Tensor data(value.dtype, *EvalShape(network_.dims(), value.shape, symbols));
      TFE_RETURN_IF_ERROR(fetch(Resolve(exe.steps[i].out[k], *plan, *c, in, out), &data));
      shown[v] = true;
      observer(value, data.shape(), data.data());
    }
  }
  for (size_t i = 0; i < exe.outputs.size(); ++i) {
    Tensor data(exe.outputs[i].dtype, exe.outputs[i].shape);
    TFE_RETURN_IF_ERROR(fetch(out[i], &data));
    const auto v = static_cast<size_t>(network_.outputs()[i]);
    if (!shown[v] && !network_.value(static_cast<ValueId>(v)).constant) observer(network_.value(static_cast<ValueId>(v)), data.shape(), data.data());
    shown[v] = true;
    if (outputs != nullptr) outputs->push_back(std::move(data));
  }
  Give(*plan, std::move(c));
  return OkStatus();
}

std::string CudaEngine::DescribeJson() const {
  return Describe(fmt::format(R"({{"tf32": {}, "compute_capability": {}}})", options_.tf32, device_.architecture()));
}

Result<double> CudaEngine::Time(Context& c, int repeats, FunctionRef<Status()> enqueue) const {
  const cuda::DriverApi& api = device_.driver();
  TFE_RETURN_IF_ERROR(Capture(c, Captured(), [&] {
    Status status;
    for (int i = 0; i < repeats && status.ok(); ++i) status = enqueue();
    return status;
  }));
  const Captured graph = c.graphs.front();
  c.graphs.pop_front();
  cuda::CUevent start = nullptr, stop = nullptr;
  std::vector<float> times;
  bool ok = api.EventCreate(&start, cuda::CU_EVENT_DEFAULT) == 0 && api.EventCreate(&stop, cuda::CU_EVENT_DEFAULT) == 0;
  for (int round = 0; ok && round < 21; ++round) {
    float ms = 0;
    ok = api.EventRecord(start, c.stream) == 0 && api.GraphLaunch(graph.exec, c.stream) == 0 && api.EventRecord(stop, c.stream) == 0 &&
         api.EventSynchronize(stop) == 0 && api.EventElapsedTime(&ms, start, stop) == 0;
    if (round > 0) times.push_back(ms);
  }
  if (start) api.EventDestroy(start);
  if (stop) api.EventDestroy(stop);
  api.GraphExecDestroy(graph.exec);
  if (!ok) return Error(ErrorId::kDeviceFailed, "timing failed");
  std::sort(times.begin(), times.end());
  return static_cast<double>(times[times.size() / 2]) / repeats;
}

Result<std::string> CudaEngine::ProfileJson(const std::vector<InputView>& inputs) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  const Executable& exe = *plan->exe;
  const Device::Scope scope(device_);
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> c, TakeContext(*plan));
  std::vector<const void*> in;
  std::vector<void*> out;
  for (size_t i = 0; i < inputs.size(); ++i) {
    in.push_back(c->inputs[i].data());
    if (inputs[i].data != nullptr && exe.inputs[i].bytes > 0)
      TFE_RETURN_IF_ERROR(device_.Check(device_.driver().MemcpyHtoD(DevicePointer(in[i]), inputs[i].data, exe.inputs[i].bytes), "copying inputs"));
  }
  for (const DeviceBuffer& buffer : c->outputs) out.push_back(buffer.data());
  nlohmann::json j;
  TFE_ASSIGN_OR_RETURN(j["graph_ms"], Time(*c, 1, [&] { return Enqueue(*plan, *c, in, out, c->stream); }));
  TFE_ASSIGN_OR_RETURN(j["graph_back_to_back_ms"], Time(*c, 10, [&] { return Enqueue(*plan, *c, in, out, c->stream); }));
  auto& steps = j["steps"] = nlohmann::json::array();
  for (size_t i = 0; i < exe.steps.size(); ++i) {
    TFE_ASSIGN_OR_RETURN(const double ms, Time(*c, 10, [&] { return Enqueue(*plan, *c, in, out, c->stream, i, i + 1); }));
    steps.push_back({{"name", exe.steps[i].name}, {"op", exe.steps[i].op}, {"tactic", exe.steps[i].tactic}, {"ms", ms}});
  }
  Give(*plan, std::move(c));
  return j.dump();
}

}  // namespace tfengine
