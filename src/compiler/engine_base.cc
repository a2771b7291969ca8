// SPDX-License-Identifier: Apache-2.0
#include "compiler/engine_base.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "compiler/calibration.h"
#include "compiler/cuda_engine.h"
#include "compiler/engine_impl.h"
#include "compiler/typed.h"

namespace tfengine {
namespace {

// One pool for all engines of the process that bring no scheduler of their own: idle engines must not cost threads.
std::shared_ptr<ThreadPool> SharedPool(int threads) {
  static std::mutex mu;
  static std::weak_ptr<ThreadPool> pool;
  std::lock_guard<std::mutex> lock(mu);
  auto current = pool.lock();
  if (!current || current->threads() < threads) {
    current = std::make_shared<ThreadPool>(threads);
    pool = current;
  }
  return current;
}

std::string TacticOf(const ShapeChoices& choices, const std::string& value) {
  auto tactic = choices.tactics.find(value);
  return tactic == choices.tactics.end() ? "" : tactic->second;
}

TensorSpec SpecOf(const Value& value) {
  TensorSpec spec{value.name, value.dtype, {}};
  for (Dim d : value.shape) spec.shape.push_back(d.is_const() ? d.value : -1);
  return spec;
}

}  // namespace

EngineBase::EngineBase(quant::Assignment assignment, const Numerics& numerics, const CompileBackend& backend, const EngineOptions& options)
    : network_(std::move(assignment.network)),
      options_(options),
      layers_(std::move(assignment.layers)),
      precision_(numerics.precision),
      described_(backend) {
  if (options_.threads <= 0) options_.threads = AvailableCpus();
  options_.max_cached_shapes = std::max(options_.max_cached_shapes, 1);
  if (!options_.spawn && options_.threads > 1) {
    pool_ = SharedPool(options_.threads - 1);
    options_.spawn = [pool = pool_.get()](std::function<void()> f) { pool->Schedule(std::move(f)); };
  }
  for (ValueId v : network_.inputs()) input_specs_.push_back(SpecOf(network_.value(v)));
  for (ValueId v : network_.outputs()) output_specs_.push_back(SpecOf(network_.value(v)));
}

std::vector<std::vector<int64_t>> ShapesOf(const std::vector<InputView>& inputs) {
  std::vector<std::vector<int64_t>> shapes;
  shapes.reserve(inputs.size());
  for (const InputView& in : inputs) shapes.push_back(in.shape);
  return shapes;
}

const ShapeChoices& EngineBase::ChoicesFor(const std::vector<int64_t>& symbols) const {
  static const ShapeChoices kNone;
  const ShapeChoices* nearest = &kNone;
  double least = std::numeric_limits<double>::infinity();
  for (const ShapeChoices& choices : choices_.at) {
    double distance = 0;  // between logarithms: 1 is as far from 8 as 8 from 64
    for (size_t s = 0; s < symbols.size(); ++s) {
      auto size = choices.sizes.find(network_.dims().symbol_name(static_cast<int>(s)));
      if (size != choices.sizes.end())
        distance += std::fabs(std::log(static_cast<double>(std::max<int64_t>(symbols[s], 1)) / static_cast<double>(std::max<int64_t>(size->second, 1))));
    }
    if (distance >= least) continue;
    least = distance;
    nearest = &choices;
  }
  return *nearest;
}

Status EngineBase::CheckInputs(const std::vector<InputView>& inputs) const {
  if (inputs.size() != input_specs_.size())
    return Error(ErrorId::kInputMismatch, "expected {} inputs, got {}", input_specs_.size(), inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& want = input_specs_[i];
    if (inputs[i].dtype != want.dtype)
      return Error(ErrorId::kInputMismatch, "input \"{}\": expected {}, got {}", want.name, DTypeName(want.dtype),
                   DTypeName(inputs[i].dtype));
    bool fits = inputs[i].shape.size() == want.shape.size();
    for (size_t d = 0; fits && d < want.shape.size(); ++d)
      fits = inputs[i].shape[d] >= 0 && (want.shape[d] < 0 || want.shape[d] == inputs[i].shape[d]);
    if (!fits)
      return Error(ErrorId::kInputMismatch, "input \"{}\": expected shape {} (-1: any), got {}", want.name,
                   ShapeToString(want.shape), ShapeToString(inputs[i].shape));
  }
  return OkStatus();
}

Status EngineBase::RunObserved(CalibrationImpl& calibration, const std::vector<InputView>& inputs, const OutputAllocator& allocate,
                               FunctionRef<Status(void* to, const Tensor& output)> copy) {
  const auto data = calibration.BeginRun(name_, network_, inputs);
  std::vector<Tensor> outputs;
  TFE_RETURN_IF_ERROR(Observe(inputs, [&](const Value& value, const std::vector<int64_t>& shape, const void* at) {
    // Moved values have the range of where they come from.
    if (!IsMoved(network_, value)) CalibrationImpl::Observe(*data, value, shape, at);
  }, &outputs));
  for (size_t i = 0; i < outputs.size(); ++i) {
    void* to = allocate(static_cast<int>(i), outputs[i].dtype(), outputs[i].shape());
    if (to == nullptr && outputs[i].num_bytes() > 0)
      return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes for output \"{}\"", outputs[i].num_bytes(), output_specs_[i].name);
    if (outputs[i].num_bytes() > 0) TFE_RETURN_IF_ERROR(copy(to, outputs[i]));
  }
  return OkStatus();
}

std::string EngineBase::Describe(const std::string& more) const {
  nlohmann::json j = nlohmann::json::parse(more);
  j["device"] = described_.Fingerprint();
  j["precision"] = precision_;
  j["tuned_for_this_device"] = !rebuilt_;
  auto& batches = j["choices"] = nlohmann::json::array();
  for (const ShapeChoices& c : choices_.at)
    batches.push_back({{"sizes", c.sizes}, {"micro_batch", c.micro_batch}, {"sample_parallel", c.sample_parallel}, {"tactics", c.tactics}});
  j["network"] = PrintNetwork(network_);
  auto& layers = j["layers"] = nlohmann::json::array();
  std::map<std::string, const quant::LayerPrecision*> precisions;
  for (const quant::LayerPrecision& layer : layers_) precisions[layer.name] = &layer;
  for (const Node& node : network_.nodes()) {
    const auto precision = precisions.find(network_.value(node.outputs[0]).name);
    layers.push_back({{"name", node.name},
                      {"op", OpName(node.op)},
                      {"tactic", choices_.at.empty() ? "" : TacticOf(choices_.at[0], network_.value(node.outputs[0]).name)},
                      {"precision", precision == precisions.end() ? "" : PrecisionText(precision->second->precision)},
                      {"why", precision == precisions.end() ? "" : precision->second->why},
                      {"stored", ShortName(network_.value(node.outputs[0]).dtype)}});
  }
  return j.dump();
}

std::string EngineBase::PrecisionText(quant::Precision precision) const {
  switch (precision) {
    case quant::Precision::kF32: return "FP32";
    case quant::Precision::kHalf: return described_.half() == DType::kBfloat16 || precision_ == "BF16" ? "BF16" : "FP16";
    case quant::Precision::kFp8: return "FP8";
    case quant::Precision::kInt8: return "INT8";
  }
  return "";
}

Result<std::shared_ptr<EngineBase>> CreateEngine(const Network& network, const Numerics& numerics, const DeviceChoices& choices,
                                                 const EngineOptions& options) {
  std::shared_ptr<EngineBase> engine;
  if (options.device == "cpu") {
    TFE_ASSIGN_OR_RETURN(engine, EngineImpl::Create(network, numerics, choices, options));
  } else {
    TFE_ASSIGN_OR_RETURN(engine, CudaEngine::Create(network, numerics, choices, options));
  }
  return engine;
}

Status Engine::RunOnDevice(const std::vector<InputView>&, const OutputAllocator&, void*) {
  return Error(ErrorId::kDeviceUnavailable, "this engine runs on the CPU; load it with a device to run it there");
}

Result<std::vector<Tensor>> Engine::Run(const std::vector<Tensor>& inputs) {
  std::vector<InputView> views;
  for (const Tensor& t : inputs) views.push_back({t.dtype(), t.shape(), t.data()});
  std::vector<Tensor> outputs(this->outputs().size());
  TFE_RETURN_IF_ERROR(Run(views, [&](int index, DType dtype, const std::vector<int64_t>& shape) {
    outputs[index] = Tensor(dtype, shape);
    return outputs[index].mutable_data();
  }));
  return outputs;
}

Result<std::shared_ptr<Engine>> Engine::Load(const std::string& path, const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(Plan plan, Plan::Load(path));
  const auto file = plan.file;
  std::shared_ptr<EngineBase> engine;
  if (options.device == "cpu") {
    TFE_ASSIGN_OR_RETURN(engine, EngineImpl::Create(std::move(plan), options));
  } else {
    TFE_ASSIGN_OR_RETURN(engine, CudaEngine::Create(std::move(plan), options));
  }
  const std::string file_name = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
  const bool asset = file_name.starts_with(kEngineFilePrefix);
  engine->set_name(asset ? file_name.substr(std::strlen(kEngineFilePrefix)) : file_name);
  // Packed by now if shapes were prepared; pages that are still needed come back from the page cache.
  if (file) file->Release();
  return std::shared_ptr<Engine>(std::move(engine));
}

}  // namespace tfengine
