// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/calibration.h"
#include "compiler/cuda_engine.h"

// How CUDA engines run: plain launches, graphs, copies.
namespace tfengine {
namespace {

using cuda::Device;
using cuda::DeviceBuffer;
using cuda::DevicePointer;

constexpr size_t kMostGraphs = 8, kMostSeen = 8;  // per context
constexpr uintptr_t kAlignment = 16;              // of a caller's pointers that kernels can read
// Up to this size, buffers that were not seen before are copied, so that a graph can run: dozens of launches cost the
// host more than a copy costs the device. Networks with more bytes than this keep the device busy longer than the host.
constexpr size_t kMostCopied = size_t{16} << 20;
constexpr int kFewMisses = 3;

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

bool Aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kAlignment == 0; }

Status NoMemoryFor(const Executable::Port& port, const TensorSpec& spec) {
  return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes for output \"{}\"", port.bytes, spec.name);
}

}  // namespace

char* CudaEngine::Resolve(const BufferRef& ref, const ShapePlan& plan, const Context& c, const Pointers& at) {
  const auto index = static_cast<size_t>(ref.index);
  switch (ref.kind) {
    case BufferRef::Kind::kArena: return c.base + ref.offset;
    // Kernels only read inputs and constants.
    case BufferRef::Kind::kInput: return const_cast<char*>(static_cast<const char*>(at.inputs[index])) + ref.offset;
    case BufferRef::Kind::kOutput: return static_cast<char*>(at.outputs[index]) + ref.offset;
    case BufferRef::Kind::kConstant: return const_cast<char*>(static_cast<const char*>(plan.constants[index]->copy.data())) + ref.offset;
  }
  return nullptr;
}

Status CudaEngine::Enqueue(const ShapePlan& plan, Context& c, const Pointers& at, cuda::CUstream stream, size_t from, size_t to) const {
  const Executable& exe = *plan.exe;
  cuda::Launch launch{device_};
  launch.stream = stream;
  launch.scratch = c.base + Rounded(exe.arena_bytes);
  launch.error = c.error;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (size_t i = from; i < std::min(to, exe.steps.size()); ++i) {
    const Step& step = exe.steps[i];
    in.clear();
    out.clear();
    for (const BufferRef& ref : step.in) in.push_back(Resolve(ref, plan, c, at));
    for (const BufferRef& ref : step.out) out.push_back(Resolve(ref, plan, c, at));
    launch.backwards = plan.backwards[i];
    if (Status s = KernelOf(step).Enqueue(in.data(), out.data(), launch); !s.ok()) return s.WithContext(step.name);
  }
  return OkStatus();
}

Status CudaEngine::EnqueueWithCopies(const ShapePlan& plan, Context& c) const {
  const cuda::DriverApi& api = device_.driver();
  for (size_t i = 0; i < c.inputs.size(); ++i)
    if (c.inputs[i].bytes() > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyHtoDAsync(DevicePointer(c.inputs[i].data()), c.host_inputs[i].data(), c.inputs[i].bytes(), c.stream), "copying inputs"));
  TFE_RETURN_IF_ERROR(Enqueue(plan, c, OwnPointers(c), c.stream));
  for (size_t i = 0; i < c.outputs.size(); ++i)
    if (c.outputs[i].bytes() > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyDtoHAsync(c.host_outputs[i].data(), DevicePointer(c.outputs[i].data()), c.outputs[i].bytes(), c.stream), "copying outputs"));
  if (Reports(*plan.exe))
    TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyDtoHAsync(c.host_error.data(), DevicePointer(c.error), sizeof(int), c.stream), "copying outputs"));
  return OkStatus();
}

Result<CudaEngine::Graph> CudaEngine::Capture(Context& c, FunctionRef<Status()> enqueue) const {
  const cuda::DriverApi& api = device_.driver();
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamBeginCapture(c.stream, cuda::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "capturing"));
  Status status = enqueue();
  cuda::CUgraph graph = nullptr;
  const int ended = api.StreamEndCapture(c.stream, &graph);
  if (status.ok()) status = device_.Check(ended, "capturing");
  cuda::CUgraphExec exec = nullptr;
  if (status.ok()) status = device_.Check(api.GraphInstantiate(&exec, graph, 0), "making a graph");
  if (graph != nullptr) api.GraphDestroy(graph);
  TFE_RETURN_IF_ERROR(status);
  return Graph(device_, exec);
}

Status CudaEngine::Run(const std::vector<InputView>& inputs, const OutputAllocator& allocate) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  if (!plan->unsupported.ok()) {
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<EngineBase> cpu, OnCpu());
    return cpu->Run(inputs, allocate);
  }
  const Executable& exe = *plan->exe;
  const Device::Scope scope(device_);
  const cuda::DriverApi& api = device_.driver();
  if (precision_ == "FP32") {
    if (auto calibration = CalibrationImpl::Active())
      return RunObserved(*calibration, inputs, allocate, [](void* to, const Tensor& output) {
        std::memcpy(to, output.data(), output.num_bytes());
        return OkStatus();
      });
  }
  std::vector<void*> outputs(exe.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i] = allocate(static_cast<int>(i), exe.outputs[i].dtype, exe.outputs[i].shape);
    if (outputs[i] == nullptr && exe.outputs[i].bytes > 0) return NoMemoryFor(exe.outputs[i], output_specs_[i]);
  }
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> c, TakeContext(*plan));
  TFE_RETURN_IF_ERROR(EnsureHost(*plan, *c));
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].data != nullptr) CopyOnHost(c->host_inputs[i].data(), inputs[i].data, exe.inputs[i].bytes, options_);
  TFE_RETURN_IF_ERROR(c->host_graph.Launch(c->stream));
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

Status CudaEngine::CheckPointers(const ShapePlan& plan, const Pointers& at) const {
  const cuda::DriverApi& api = device_.driver();
  auto check = [&](const char* what, const TensorSpec& spec, const Executable::Port& port, const void* p) -> Status {
    if (p == nullptr || port.bytes == 0) return OkStatus();
    int type = 0, ordinal = -1;
    const cuda::CUdeviceptr address = DevicePointer(p);
    if (api.PointerGetAttribute(&type, cuda::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address) != 0)
      return Error(ErrorId::kInputMismatch, "{} \"{}\": expected a pointer to memory of cuda:{}, got one that the driver does not know", what, spec.name, device_.index());
    if (type == cuda::CU_MEMORYTYPE_DEVICE && api.PointerGetAttribute(&ordinal, cuda::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address) == 0 && ordinal != device_.index())
      return Error(ErrorId::kInputMismatch, "{} \"{}\": expected memory of cuda:{}, got memory of cuda:{}", what, spec.name, device_.index(), ordinal);
    cuda::CUdeviceptr base = 0;
    size_t size = 0;
    if (api.MemGetAddressRange(&base, &size, address) == 0 && address + port.bytes > base + size)
      return Error(ErrorId::kInputMismatch, "{} \"{}\": expected {} bytes, the buffer has {} left", what, spec.name, port.bytes, base + size - address);
    return OkStatus();
  };
  for (size_t i = 0; i < at.inputs.size(); ++i) TFE_RETURN_IF_ERROR(check("input", input_specs_[i], plan.exe->inputs[i], at.inputs[i]));
  for (size_t i = 0; i < at.outputs.size(); ++i) TFE_RETURN_IF_ERROR(check("output", output_specs_[i], plan.exe->outputs[i], at.outputs[i]));
  return OkStatus();
}

// On buffers of the context, with copies.
Status CudaEngine::QueueCopied(const ShapePlan& plan, Context& c, const Pointers& caller, cuda::CUstream stream) const {
  const cuda::DriverApi& api = device_.driver();
  TFE_RETURN_IF_ERROR(EnsureBuffers(plan, c));
  if (plan.warm && !c.own_graph) {
    TFE_ASSIGN_OR_RETURN(c.own_graph, Capture(c, [&] { return Enqueue(plan, c, OwnPointers(c), c.stream); }));
  }
  auto copy = [&](const void* to, const void* from, size_t bytes) {
    return to == nullptr || from == nullptr || bytes == 0
               ? OkStatus()
               : device_.Check(api.MemcpyDtoDAsync(DevicePointer(to), DevicePointer(from), bytes, stream), "copying");
  };
  for (size_t i = 0; i < c.inputs.size(); ++i) TFE_RETURN_IF_ERROR(copy(c.inputs[i].data(), caller.inputs[i], c.inputs[i].bytes()));
  if (c.own_graph) {
    TFE_RETURN_IF_ERROR(c.own_graph.Launch(stream));
  } else {
    TFE_RETURN_IF_ERROR(Enqueue(plan, c, OwnPointers(c), stream));
  }
  for (size_t i = 0; i < c.outputs.size(); ++i) TFE_RETURN_IF_ERROR(copy(caller.outputs[i], c.outputs[i].data(), c.outputs[i].bytes()));
  return OkStatus();
}

Status CudaEngine::Queue(ShapePlan& plan, Context& c, const Pointers& caller, cuda::CUstream stream) const {
  const auto known = std::find_if(c.graphs.begin(), c.graphs.end(), [&](const Captured& g) { return g.pointers == caller; });
  if (known != c.graphs.end()) {
    c.graphs.splice(c.graphs.begin(), c.graphs, known);
    return known->graph.Launch(stream);
  }
  TFE_RETURN_IF_ERROR(CheckPointers(plan, caller));
  const bool aligned = std::all_of(caller.inputs.begin(), caller.inputs.end(), Aligned) && std::all_of(caller.outputs.begin(), caller.outputs.end(), Aligned);
  const auto seen = std::find(c.seen.begin(), c.seen.end(), caller);
  if (plan.warm && aligned && seen != c.seen.end()) {
    c.seen.erase(seen);
    TFE_ASSIGN_OR_RETURN(Graph graph, Capture(c, [&] { return Enqueue(plan, c, caller, c.stream); }));
    if (c.graphs.size() >= kMostGraphs) c.graphs.pop_back();
    c.graphs.push_front({caller, std::move(graph)});
    return c.graphs.front().graph.Launch(stream);
  }
  if (seen == c.seen.end()) c.seen.push_front(caller);
  if (c.seen.size() > kMostSeen) c.seen.pop_back();
  size_t bytes = 0;
  for (const auto* ports : {&plan.exe->inputs, &plan.exe->outputs})
    for (const Executable::Port& port : *ports) bytes += port.bytes;
  // Not at first: a caller whose pointers stay needs no copies, and no buffers for them.
  const bool moves = c.misses == kFewMisses && bytes <= kMostCopied;
  c.misses += c.misses < kFewMisses;
  if (!aligned || (plan.warm && moves)) {
    TFE_RETURN_IF_ERROR(QueueCopied(plan, c, caller, stream));
  } else {
    TFE_RETURN_IF_ERROR(Enqueue(plan, c, caller, stream));
  }
  plan.warm = true;
  return OkStatus();
}

Status CudaEngine::RunOnDevice(const std::vector<InputView>& inputs, const OutputAllocator& allocate, void* stream_pointer) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  const auto stream = static_cast<cuda::CUstream>(stream_pointer);
  const Device::Scope scope(device_);
  if (precision_ == "FP32") {
    if (auto calibration = CalibrationImpl::Active()) return ObserveOnDevice(*calibration, inputs, allocate, stream);
  }
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  TFE_RETURN_IF_ERROR(plan->unsupported);
  const Executable& exe = *plan->exe;
  Pointers caller;
  for (const InputView& input : inputs) caller.inputs.push_back(input.data);
  for (size_t i = 0; i < exe.outputs.size(); ++i) {
    caller.outputs.push_back(allocate(static_cast<int>(i), exe.outputs[i].dtype, exe.outputs[i].shape));
    if (caller.outputs.back() == nullptr && exe.outputs[i].bytes > 0) return NoMemoryFor(exe.outputs[i], output_specs_[i]);
  }
  const std::shared_ptr<Arena> arena = ArenaOf(stream);
  std::lock_guard<std::mutex> lock(arena->mu);
  TFE_ASSIGN_OR_RETURN(Context* const c, ContextIn(*arena, plan));
  const cuda::DriverApi& api = device_.driver();
  // Work of an earlier stream with the same handle may be running.
  if (arena->busy) TFE_RETURN_IF_ERROR(device_.Check(api.StreamWaitEvent(stream, arena->done, 0), "waiting"));
  Status status = Queue(*plan, *c, caller, stream);
  const Status recorded = device_.Check(api.EventRecord(arena->done, stream), "recording an event");
  arena->busy = recorded.ok();
  if (status.ok()) status = recorded;
  if (!status.ok()) {
    arena->Wait();
    arena->contexts.pop_front();
  }
  return status;
}

// Brings the data to the host and back: calibration looks at every value there.
Status CudaEngine::ObserveOnDevice(CalibrationImpl& calibration, const std::vector<InputView>& inputs, const OutputAllocator& allocate, cuda::CUstream stream) {
  const cuda::DriverApi& api = device_.driver();
  TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(stream), "running"));
  std::vector<Tensor> copies;
  std::vector<InputView> views = inputs;
  for (InputView& view : views) {
    copies.emplace_back(view.dtype, view.shape);
    if (view.data == nullptr) continue;
    if (copies.back().num_bytes() > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyDtoH(copies.back().mutable_data(), DevicePointer(view.data), copies.back().num_bytes()), "copying inputs"));
    view.data = copies.back().data();
  }
  return RunObserved(calibration, views, allocate, [&](void* to, const Tensor& output) {
    return device_.Check(api.MemcpyHtoD(DevicePointer(to), output.data(), output.num_bytes()), "copying outputs");
  });
}

}  // namespace tfengine
