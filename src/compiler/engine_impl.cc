// SPDX-License-Identifier: Apache-2.0
#include "compiler/engine_impl.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "compiler/calibration.h"
#include "compiler/typed.h"
#include "compiler/work.h"

namespace tfengine {
EngineImpl::EngineImpl(quant::Assignment assignment, const Numerics& numerics, const EngineOptions& options)
    : EngineBase(std::move(assignment), numerics, *FindBackend("cpu"), options), backend_(FindBackend("cpu")) {}

Result<std::shared_ptr<EngineImpl>> EngineImpl::Create(Plan plan, const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(Network network, ParseNetwork(plan.network_text, plan.constants));
  TFE_RETURN_IF_ERROR(Verify(network));
  TFE_ASSIGN_OR_RETURN(quant::Assignment assignment, AssignFor(network, plan.numerics, *FindBackend("cpu"), plan.file.get()));
  std::shared_ptr<EngineImpl> engine(new EngineImpl(std::move(assignment), plan.numerics, options));
  engine->weights_.SetSource(plan.file);
  auto choices = plan.devices.find(engine->backend_->Fingerprint());
  engine->rebuilt_ = choices == plan.devices.end();
  if (!engine->rebuilt_) engine->choices_ = choices->second;
  TFE_RETURN_IF_ERROR(engine->Initialize());
  for (const auto& shapes : plan.prepared_shapes) TFE_RETURN_IF_ERROR(engine->Prepare(shapes));
  return engine;
}

Result<std::shared_ptr<EngineImpl>> EngineImpl::Create(const Network& network, const Numerics& numerics,
                                                       const DeviceChoices& choices, const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(quant::Assignment assignment, AssignFor(network, numerics, *FindBackend("cpu")));
  std::shared_ptr<EngineImpl> engine(new EngineImpl(std::move(assignment), numerics, options));
  engine->choices_ = choices;
  TFE_RETURN_IF_ERROR(engine->Initialize());
  return engine;
}

Status EngineImpl::Initialize() {
  separation_ = AnalyzeBatch(network_);
  return OkStatus();
}

Result<std::shared_ptr<const EngineImpl::ShapePlan>> EngineImpl::MakeShapePlan(
    const std::vector<std::vector<int64_t>>& shapes) {
  TFE_ASSIGN_OR_RETURN(std::vector<int64_t> symbols, network_.BindSymbols(shapes));
  auto plan = std::make_shared<ShapePlan>();
  plan->input_shapes = shapes;
  auto specialize = [&](int64_t batch, int threads) {
    std::vector<int64_t> s = symbols;
    if (separation_.separable) s[separation_.symbol] = batch;
    return Specialize(network_, *backend_, s, ChoicesFor(s).tactics, weights_, threads);
  };
  const ShapeChoices& choices = ChoicesFor(symbols);
  const int64_t micro = choices.micro_batch;
  const int64_t batch = separation_.separable ? symbols[separation_.symbol] : 1;
  if (separation_.separable && micro > 0 && batch > micro) {
    plan->batch = batch;
    plan->piece = micro;
    plan->parallel = choices.sample_parallel && options_.threads > 1;
    plan->pieces = batch / micro;
    // A last round that would leave threads idle is run with all threads on each piece instead.
    int64_t rest = batch % micro;
    if (plan->parallel) {
      rest += plan->pieces % options_.threads * micro;
      plan->pieces -= plan->pieces % options_.threads;
      if (plan->pieces == 0) plan->parallel = false;
    }
    if (plan->pieces > 0) {
      TFE_ASSIGN_OR_RETURN(plan->main, specialize(micro, plan->parallel ? 1 : options_.threads));
    }
    if (rest > 0) {
      TFE_ASSIGN_OR_RETURN(plan->tail, specialize(rest, options_.threads));
    }
  } else {
    plan->batch = plan->piece = std::max<int64_t>(batch, 1);
    TFE_ASSIGN_OR_RETURN(plan->main, specialize(batch, options_.threads));
  }
  for (ValueId v : network_.outputs()) {
    Executable::Port port;
    port.dtype = network_.value(v).dtype;
    port.bytes = DTypeSize(port.dtype);
    for (Dim d : network_.value(v).shape) {
      TFE_ASSIGN_OR_RETURN(int64_t size, network_.dims().Eval(d, symbols));
      port.shape.push_back(size);
      port.bytes *= static_cast<size_t>(size);
    }
    plan->outputs.push_back(port);
  }
  return std::shared_ptr<const ShapePlan>(plan);
}

std::shared_ptr<const EngineImpl::ShapePlan> EngineImpl::KnownShapePlan(const std::vector<InputView>& inputs) {
  std::lock_guard<std::mutex> lock(mu_);
  for (auto it = shapes_.begin(); it != shapes_.end(); ++it) {
    auto same = [](const InputView& input, const std::vector<int64_t>& shape) { return input.shape == shape; };
    if (!std::equal(inputs.begin(), inputs.end(), (*it)->input_shapes.begin(), (*it)->input_shapes.end(), same)) continue;
    shapes_.splice(shapes_.begin(), shapes_, it);
    return shapes_.front();
  }
  return nullptr;
}

Result<std::shared_ptr<const EngineImpl::ShapePlan>> EngineImpl::GetShapePlan(
    const std::vector<std::vector<int64_t>>& shapes) {
  auto find = [&]() -> std::shared_ptr<const ShapePlan> {
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
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<const ShapePlan> fresh, MakeShapePlan(shapes));
  std::lock_guard<std::mutex> lock(mu_);
  if (auto plan = find()) return plan;
  shapes_.push_front(fresh);
  while (shapes_.size() > static_cast<size_t>(options_.max_cached_shapes)) shapes_.pop_back();
  return fresh;
}

void EngineImpl::SetBatching(int micro_batch, bool sample_parallel) {
  if (choices_.at.empty()) choices_.at.emplace_back();
  for (ShapeChoices& choices : choices_.at) {
    choices.micro_batch = micro_batch;
    choices.sample_parallel = sample_parallel;
  }
  shapes_.clear();
}

Status EngineImpl::Prepare(const std::vector<std::vector<int64_t>>& input_shapes) {
  auto plan = GetShapePlan(input_shapes);
  return plan.ok() ? OkStatus() : plan.status();
}

Status EngineImpl::RunPieces(const ShapePlan& plan, const std::vector<InputView>& inputs,
                             const std::vector<void*>& outputs) {
  Gang gang(options_.threads, options_.spawn);
  const size_t main_bytes = plan.main ? (plan.main->memory_bytes() + 63) / 64 * 64 : 0;
  const size_t tail_bytes = plan.tail ? plan.tail->memory_bytes() : 0;
  const int lanes = plan.parallel ? gang.threads() : 1;
  AlignedBuffer memory = memory_.Take(std::max(main_bytes * static_cast<size_t>(lanes), tail_bytes));
  if (memory.data() == nullptr)
    return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of activations", main_bytes * static_cast<size_t>(lanes));

  // Runs `exe` on samples [first, first + its batch) of the caller's buffers.
  auto run = [&](const Executable& exe, int64_t first, void* arena, Gang& workers) {
    std::vector<const void*> in(inputs.size());
    std::vector<void*> out(outputs.size());
    for (size_t i = 0; i < in.size(); ++i) {
      in[i] = inputs[i].data;
      if (first > 0 && separation_.input_has_batch[i])
        in[i] = static_cast<const char*>(in[i]) + exe.inputs[i].bytes / static_cast<size_t>(exe.inputs[i].shape[0]) * static_cast<size_t>(first);
    }
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<char*>(outputs[i]) + plan.outputs[i].bytes / static_cast<size_t>(plan.batch) * static_cast<size_t>(first);
    return exe.Run(in.data(), out.data(), arena, workers);
  };

  Status status;
  if (plan.parallel) {
    std::mutex mu;
    gang.Run(plan.pieces, [&](int64_t piece, int worker) {
      Gang alone;
      Status s = run(*plan.main, piece * plan.piece, static_cast<char*>(memory.data()) + main_bytes * static_cast<size_t>(worker), alone);
      if (s.ok()) return;
      std::lock_guard<std::mutex> lock(mu);
      status = std::move(s);
    });
  } else {
    for (int64_t piece = 0; piece < plan.pieces && plan.main && status.ok(); ++piece)
      status = run(*plan.main, piece * plan.piece, memory.data(), gang);
  }
  if (status.ok() && plan.tail) status = run(*plan.tail, plan.pieces * plan.piece, memory.data(), gang);
  memory_.Give(std::move(memory));
  return status;
}

Status EngineImpl::Run(const std::vector<InputView>& inputs, const OutputAllocator& allocate) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  if (precision_ == "FP32") {
    if (auto calibration = CalibrationImpl::Active())
      return RunObserved(*calibration, inputs, allocate, [](void* to, const Tensor& output) {
        std::memcpy(to, output.data(), output.num_bytes());
        return OkStatus();
      });
  }
  std::shared_ptr<const ShapePlan> plan = KnownShapePlan(inputs);
  if (!plan) {
    TFE_ASSIGN_OR_RETURN(plan, GetShapePlan(ShapesOf(inputs)));
  }
  std::vector<void*> outputs(plan->outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i] = allocate(static_cast<int>(i), plan->outputs[i].dtype, plan->outputs[i].shape);
    if (outputs[i] == nullptr && plan->outputs[i].bytes > 0)
      return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes for output \"{}\"", plan->outputs[i].bytes, output_specs_[i].name);
  }
  return RunPieces(*plan, inputs, outputs);
}

std::string EngineImpl::DescribeJson() const {
  return Describe(fmt::format(R"({{"threads": {}, "batch_separable": {}}})", options_.threads, separation_.separable));
}

// An executable for one run in one piece, with memory for its activations and outputs.
struct EngineImpl::WholeRun {
  std::vector<int64_t> symbols;
  std::shared_ptr<const Executable> exe;
  std::vector<const void*> in;
  std::vector<Tensor> outputs;
  std::vector<void*> out;
  AlignedBuffer memory;
};

Result<std::unique_ptr<EngineImpl::WholeRun>> EngineImpl::PrepareWhole(const std::vector<InputView>& inputs, bool views) {
  TFE_RETURN_IF_ERROR(CheckInputs(inputs));
  auto run = std::make_unique<WholeRun>();
  TFE_ASSIGN_OR_RETURN(run->symbols, network_.BindSymbols(ShapesOf(inputs)));
  TFE_ASSIGN_OR_RETURN(run->exe,
                       Specialize(network_, *backend_, run->symbols, ChoicesFor(run->symbols).tactics, weights_, options_.threads, views));
  for (const InputView& i : inputs) run->in.push_back(i.data);
  for (const Executable::Port& p : run->exe->outputs) {
    run->outputs.emplace_back(p.dtype, p.shape);
    run->out.push_back(run->outputs.back().mutable_data());
  }
  run->memory = AlignedBuffer(run->exe->memory_bytes());
  if (run->memory.data() == nullptr)
    return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of activations", run->exe->memory_bytes());
  return run;
}

Status EngineImpl::Observe(const std::vector<InputView>& inputs, const Observer& observer, std::vector<Tensor>* outputs) {
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<WholeRun> run, PrepareWhole(inputs, /*views=*/false));  // an observer sees dense values
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].data != nullptr) observer(network_.value(network_.inputs()[i]), inputs[i].shape, inputs[i].data);
  std::vector<bool> shown(network_.values().size());
  for (ValueId v : network_.inputs()) shown[v] = true;
  Gang gang(options_.threads, options_.spawn);
  TFE_RETURN_IF_ERROR(run->exe->Run(run->in.data(), run->out.data(), run->memory.data(), gang, [&](int step, void* const* out) {
    const std::vector<int>& values = run->exe->steps[step].values;
    for (size_t k = 0; k < values.size(); ++k) {
      const Value& value = network_.value(values[k]);
      shown[values[k]] = true;
      // Evaluated without error when the executable was made.
      observer(value, *EvalShape(network_.dims(), value.shape, run->symbols), out[k]);
    }
  }));
  for (size_t i = 0; i < run->outputs.size(); ++i) {
    const ValueId v = network_.outputs()[i];
    if (!shown[v] && !network_.value(v).constant) observer(network_.value(v), run->outputs[i].shape(), run->outputs[i].data());
    shown[v] = true;
  }
  if (outputs != nullptr) *outputs = std::move(run->outputs);
  return OkStatus();
}

Result<std::string> EngineImpl::ProfileJson(const std::vector<InputView>& inputs) {
  TFE_ASSIGN_OR_RETURN(std::unique_ptr<WholeRun> run, PrepareWhole(inputs, /*views=*/true));
  const Executable* exe = run->exe.get();
  std::vector<double> best(exe->steps.size(), 1e30);
  Gang gang(options_.threads, options_.spawn);
  for (int round = 0; round < 5; ++round) {
    auto last = std::chrono::steady_clock::now();
    TFE_RETURN_IF_ERROR(exe->Run(run->in.data(), run->out.data(), run->memory.data(), gang, [&](int step, void* const*) {
      const auto now = std::chrono::steady_clock::now();
      best[step] = std::min(best[step], std::chrono::duration<double, std::milli>(now - last).count());
      last = std::chrono::steady_clock::now();
    }));
  }
  nlohmann::json j;
  const std::vector<int> uses = network_.UseCounts();
  auto& steps = j["steps"] = nlohmann::json::array();
  for (size_t i = 0; i < exe->steps.size(); ++i) {
    TFE_ASSIGN_OR_RETURN(const Work work, WorkOf(network_, uses, exe->steps[i], run->symbols));
    steps.push_back({{"name", exe->steps[i].name}, {"op", exe->steps[i].op}, {"tactic", exe->steps[i].tactic}, {"bytes", work.bytes}, {"flops", work.flops}, {"ms", best[i]}});
  }
  return j.dump();
}

}  // namespace tfengine
