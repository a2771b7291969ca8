// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/cuda_engine.h"
#include "compiler/work.h"

// Looking into CUDA engines: every value of a run, times of steps.
namespace tfengine {

using cuda::Device;
using cuda::DevicePointer;

Status CudaEngine::Observe(const std::vector<InputView>& inputs, const Observer& observer, std::vector<Tensor>* outputs) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  if (!plan->unsupported.ok()) {
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<EngineBase> cpu, OnCpu());
    return cpu->Observe(inputs, observer, outputs);
  }
  TFE_ASSIGN_OR_RETURN(const std::vector<int64_t> symbols, network_.BindSymbols(ShapesOf(inputs)));
  const Executable& exe = *plan->exe;
  const Device::Scope scope(device_);
  const cuda::DriverApi& api = device_.driver();
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> c, TakeContext(*plan));
  TFE_RETURN_IF_ERROR(EnsureBuffers(*plan, *c));
  const Pointers at = OwnPointers(*c);
  std::vector<bool> shown(network_.values().size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueId v = network_.inputs()[i];
    shown[static_cast<size_t>(v)] = true;
    if (inputs[i].data == nullptr) continue;
    observer(network_.value(v), inputs[i].shape, inputs[i].data);
    if (exe.inputs[i].bytes > 0)
      TFE_RETURN_IF_ERROR(device_.Check(api.MemcpyHtoD(DevicePointer(at.inputs[i]), inputs[i].data, exe.inputs[i].bytes), "copying inputs"));
  }
  auto fetch = [&](const void* from, Tensor* to) {
    return to->num_bytes() == 0 ? OkStatus() : device_.Check(api.MemcpyDtoH(to->mutable_data(), DevicePointer(from), to->num_bytes()), "copying results");
  };
  for (size_t i = 0; i < exe.steps.size(); ++i) {
    TFE_RETURN_IF_ERROR(Enqueue(*plan, *c, at, c->stream, i, i + 1));
    TFE_RETURN_IF_ERROR(device_.Check(api.StreamSynchronize(c->stream), "running"));
    for (size_t k = 0; k < exe.steps[i].values.size(); ++k) {
      const auto v = static_cast<size_t>(exe.steps[i].values[k]);
      const Value& value = network_.value(static_cast<ValueId>(v));
      // Evaluated without error when the executable was made.
      Tensor data(value.dtype, *EvalShape(network_.dims(), value.shape, symbols));
      TFE_RETURN_IF_ERROR(fetch(Resolve(exe.steps[i].out[k], *plan, *c, at), &data));
      shown[v] = true;
      observer(value, data.shape(), data.data());
    }
  }
  for (size_t i = 0; i < exe.outputs.size(); ++i) {
    Tensor data(exe.outputs[i].dtype, exe.outputs[i].shape);
    TFE_RETURN_IF_ERROR(fetch(at.outputs[i], &data));
    const auto v = static_cast<size_t>(network_.outputs()[i]);
    if (!shown[v] && !network_.value(static_cast<ValueId>(v)).constant) observer(network_.value(static_cast<ValueId>(v)), data.shape(), data.data());
    shown[v] = true;
    if (outputs != nullptr) outputs->push_back(std::move(data));
  }
  Give(*plan, std::move(c));
  return OkStatus();
}

Result<double> CudaEngine::Time(Context& c, int repeats, FunctionRef<Status()> enqueue) const {
  const cuda::DriverApi& api = device_.driver();
  TFE_ASSIGN_OR_RETURN(const Graph graph, Capture(c, [&] {
    Status status;
    for (int i = 0; i < repeats && status.ok(); ++i) status = enqueue();
    return status;
  }));
  cuda::CUevent start = nullptr, stop = nullptr;
  std::vector<float> times;
  bool ok = api.EventCreate(&start, cuda::CU_EVENT_DEFAULT) == 0 && api.EventCreate(&stop, cuda::CU_EVENT_DEFAULT) == 0;
  for (int round = 0; ok && round < 21; ++round) {
    float ms = 0;
    ok = api.EventRecord(start, c.stream) == 0 && graph.Launch(c.stream).ok() && api.EventRecord(stop, c.stream) == 0 &&
         api.EventSynchronize(stop) == 0 && api.EventElapsedTime(&ms, start, stop) == 0;
    if (round > 0) times.push_back(ms);
  }
  if (start) api.EventDestroy(start);
  if (stop) api.EventDestroy(stop);
  if (!ok) return Error(ErrorId::kDeviceFailed, "timing failed");
  std::sort(times.begin(), times.end());
  return static_cast<double>(times[times.size() / 2]) / repeats;
}

Result<std::string> CudaEngine::ProfileJson(const std::vector<InputView>& inputs) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ShapePlan> plan, GetShapePlan(ShapesOf(inputs)));
  if (!plan->unsupported.ok()) {
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<EngineBase> cpu, OnCpu());
    return cpu->ProfileJson(inputs);
  }
  const Executable& exe = *plan->exe;
  const Device::Scope scope(device_);
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<Context> c, TakeContext(*plan));
  TFE_RETURN_IF_ERROR(EnsureBuffers(*plan, *c));
  TFE_RETURN_IF_ERROR(Warm(*plan, *c));
  const Pointers at = OwnPointers(*c);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].data != nullptr && exe.inputs[i].bytes > 0)
      TFE_RETURN_IF_ERROR(device_.Check(device_.driver().MemcpyHtoD(DevicePointer(at.inputs[i]), inputs[i].data, exe.inputs[i].bytes), "copying inputs"));
  }
  nlohmann::json j;
  TFE_ASSIGN_OR_RETURN(j["graph_ms"], Time(*c, 1, [&] { return Enqueue(*plan, *c, at, c->stream); }));
  TFE_ASSIGN_OR_RETURN(j["graph_back_to_back_ms"], Time(*c, 10, [&] { return Enqueue(*plan, *c, at, c->stream); }));
  TFE_ASSIGN_OR_RETURN(const std::vector<int64_t> symbols, network_.BindSymbols(plan->input_shapes));
  const std::vector<int> uses = network_.UseCounts();
  auto& steps = j["steps"] = nlohmann::json::array();
  for (size_t i = 0; i < exe.steps.size(); ++i) {
    TFE_ASSIGN_OR_RETURN(const Work work, WorkOf(network_, uses, exe.steps[i], symbols));
    TFE_ASSIGN_OR_RETURN(const double ms, Time(*c, 10, [&] { return Enqueue(*plan, *c, at, c->stream, i, i + 1); }));
    steps.push_back({{"name", exe.steps[i].name}, {"op", exe.steps[i].op}, {"tactic", exe.steps[i].tactic}, {"bytes", work.bytes}, {"flops", work.flops}, {"ms", ms}});
  }
  Give(*plan, std::move(c));
  return j.dump();
}

}  // namespace tfengine
