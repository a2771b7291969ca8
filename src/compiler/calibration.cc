// SPDX-License-Identifier: Apache-2.0
#include "compiler/calibration.h"

#include <atomic>
#include <cstring>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {

struct CalibrationImpl::EngineData {
  quant::Calibrator calibrator;
  std::string fingerprint;
  std::mutex mu;
  std::vector<std::vector<Tensor>> kept;
  int64_t kept_bytes = 0;
};

namespace {

// Process-wide by design: engines are created by hosts (TensorFlow's resource manager) that nobody can hand an observer.
std::mutex g_mu;
std::weak_ptr<CalibrationImpl> g_active;
std::atomic<CalibrationImpl*> g_active_raw{nullptr};

Result<quant::RangeOptions> RangeOptionsOf(const CalibrationOptions& options) {
  quant::RangeOptions range;
  const auto method = quant::ParseMethod(options.method);
  if (!method)
    return Error(ErrorId::kBadFlag, "calibration method \"{}\": expected {}", options.method, quant::MethodNames());
  if (!(options.percentile > 50 && options.percentile <= 100))
    return Error(ErrorId::kBadFlag, "calibration percentile: expected more than 50 and at most 100, got {}", options.percentile);
  range.method = *method;
  range.percentile = options.percentile;
  range.symmetric = options.symmetric;
  return range;
}

}  // namespace

Result<std::shared_ptr<Calibration>> Calibration::Start(const CalibrationOptions& options) {
  TFE_RETURN_IF_ERROR(RangeOptionsOf(options).status());
  std::lock_guard<std::mutex> lock(g_mu);
  if (g_active_raw.load() != nullptr)
    return Error(ErrorId::kCalibrationActive, "another calibration is observing this process; stop it first");
  auto calibration = std::make_shared<CalibrationImpl>(options);
  g_active = calibration;
  g_active_raw = calibration.get();
  return std::shared_ptr<Calibration>(std::move(calibration));
}

std::shared_ptr<CalibrationImpl> CalibrationImpl::Active() {
  if (g_active_raw.load(std::memory_order_acquire) == nullptr) return nullptr;
  std::lock_guard<std::mutex> lock(g_mu);
  return g_active.lock();
}

void CalibrationImpl::Stop() {
  std::lock_guard<std::mutex> lock(g_mu);
  if (g_active_raw.load() != this) return;
  g_active_raw = nullptr;
  g_active.reset();
}

std::shared_ptr<CalibrationImpl::EngineData> CalibrationImpl::BeginRun(const std::string& engine, const Network& network,
                                                                       const std::vector<InputView>& inputs) {
  std::shared_ptr<EngineData> data;
  {
    std::lock_guard<std::mutex> lock(mu_);
    ++runs_;
    std::shared_ptr<EngineData>& slot = engines_[engine];
    if (!slot) {
      slot = std::make_shared<EngineData>();
      slot->fingerprint = quant::Fingerprint(PrintNetwork(network));
    }
    data = slot;
  }
  int64_t bytes = 0, samples = 1;
  for (const InputView& in : inputs) {
    int64_t n = static_cast<int64_t>(DTypeSize(in.dtype));
    for (int64_t d : in.shape) n *= d;
    bytes += n;
    if (!in.shape.empty()) samples = std::max(samples, in.shape[0]);
  }
  data->calibrator.CountRun(samples);
  std::lock_guard<std::mutex> lock(data->mu);
  if (!data->kept.empty() && data->kept_bytes + bytes > options_.kept_bytes) return data;
  std::vector<Tensor> copies;
  for (const InputView& in : inputs) {
    copies.emplace_back(in.dtype, in.shape);
    if (in.data != nullptr) {
      std::memcpy(copies.back().mutable_data(), in.data, copies.back().num_bytes());
    } else {  // an input that nothing reads
      std::memset(copies.back().mutable_data(), 0, copies.back().num_bytes());
    }
  }
  data->kept.push_back(std::move(copies));
  data->kept_bytes += bytes;
  return data;
}

void CalibrationImpl::Observe(EngineData& engine, const Value& value, const std::vector<int64_t>& shape, const void* data) {
  if (value.dtype != DType::kFloat32) return;
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  engine.calibrator.Observe(value.name, static_cast<const float*>(data), n);
}

int64_t CalibrationImpl::runs() const {
  std::lock_guard<std::mutex> lock(mu_);
  return runs_;
}

Result<quant::CalibrationTable> CalibrationImpl::MakeTable(std::vector<std::string>* notices) const {
  TFE_ASSIGN_OR_RETURN(const quant::RangeOptions range, RangeOptionsOf(options_));
  quant::CalibrationTable table;
  table.method = options_.method;
  std::lock_guard<std::mutex> lock(mu_);
  if (engines_.empty()) return Error(ErrorId::kCalibrationEmpty, "no engine ran while calibration observed; run the model on data");
  for (const auto& [name, data] : engines_) {
    std::vector<std::string> lines;
    TFE_ASSIGN_OR_RETURN(quant::EngineCalibration engine, data->calibrator.Finish(range, &lines));
    engine.fingerprint = data->fingerprint;
    table.samples = std::max(table.samples, data->calibrator.samples());
    table.engines[name] = std::move(engine);
    for (const std::string& line : lines)
      if (notices) notices->push_back(name + ": " + line);
  }
  return table;
}

Result<std::string> CalibrationImpl::Table(std::vector<std::string>* notices) const {
  TFE_ASSIGN_OR_RETURN(const quant::CalibrationTable table, MakeTable(notices));
  return table.ToJson();
}

Status CalibrationImpl::Save(const std::string& path) const {
  TFE_ASSIGN_OR_RETURN(const quant::CalibrationTable table, MakeTable(nullptr));
  return table.Save(path);
}

std::vector<std::vector<Tensor>> CalibrationImpl::KeptInputs(const std::string& engine) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = FindEngine(engines_, engine);
  if (it == engines_.end()) return {};
  std::lock_guard<std::mutex> data_lock(it->second->mu);
  return it->second->kept;
}

}  // namespace tfengine
