// SPDX-License-Identifier: Apache-2.0
#include "compiler/build.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "backends/compile_backend.h"
#include "base/crc32c.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/calibration.h"
#include "compiler/engine_impl.h"
#include "compiler/tactics.h"
#include "compiler/timing_cache.h"
#include "compiler/typed.h"
#include "passes/pipeline.h"
#include "plan/plan.h"

namespace tfengine {
namespace {

// A size for a symbol nobody gave one for: a sample for "batch", else a middling extent.
int64_t GuessSize(const std::string& symbol, int64_t batch) { return symbol == "batch" ? batch : 64; }
// A GPU's best kernels for one sample are several times slower than those for many.
constexpr int64_t kSecondBatchOnDevices = 32;

struct Optimized {
  Network network;
  std::string fingerprint;  // of the device
  bool present = true;      // the device is in this machine
  Numerics numerics;
  BuildReport report;
  DeviceChoices choices;
  std::vector<std::vector<std::vector<int64_t>>> shapes;  // the build shapes, per set and input
};

std::vector<std::vector<int64_t>> ShapesAt(const Network& network, const std::vector<int64_t>& symbols) {
  std::vector<std::vector<int64_t>> shapes;
  for (ValueId v : network.inputs()) {
    shapes.emplace_back();
    for (Dim d : network.value(v).shape) {
      auto size = network.dims().Eval(d, symbols);
      shapes.back().push_back(size.ok() ? *size : 1);
    }
  }
  return shapes;
}

// Sizes for symbols nobody gave any for. Empty: the guess breaks a constraint of the network, and is no shape to build for.
std::vector<std::vector<int64_t>> GuessedSizes(const Network& network, const CompileBackend& backend) {
  std::vector<std::vector<int64_t>> sets;
  for (const int64_t batch : {int64_t{1}, kSecondBatchOnDevices}) {
    std::vector<int64_t> symbols;
    for (int s = 0; s < network.dims().num_symbols(); ++s) symbols.push_back(GuessSize(network.dims().symbol_name(s), batch));
    const bool other = sets.empty() || symbols != sets[0];
    if (other && network.BindSymbols(ShapesAt(network, symbols)).ok()) sets.push_back(std::move(symbols));
    if (backend.on_host()) break;
  }
  return sets;
}

// Inputs that are safe for any op: zeros are valid indices and finite numbers.
std::vector<Tensor> ZeroInputs(const Network& network, const std::vector<std::vector<int64_t>>& shapes) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < shapes.size(); ++i) {
    tensors.emplace_back(network.value(network.inputs()[i]).dtype, shapes[i]);
    std::fill_n(tensors.back().mutable_as<char>(), tensors.back().num_bytes(), 0);
  }
  return tensors;
}

// Tries ways to run the batch of `symbols` and notes the fastest. Times come from `cache` where it has them.
Status ChooseBatching(EngineImpl& engine, const Network& network, const std::vector<int64_t>& symbols, int threads,
                      TimingCache& cache, ShapeChoices* choices) {
  struct Candidate {
    int micro_batch;
    bool parallel;
  };
  const int64_t batch = symbols[engine.separation().symbol];
  std::vector<Candidate> candidates = {{0, false}};
  for (int micro = 1; micro <= 16 && micro < batch; micro *= 2) candidates.push_back({micro, false});
  for (int micro = 1; threads > 1 && micro <= 2 && micro * threads <= batch; micro *= 2) candidates.push_back({micro, true});
  const std::vector<Tensor> inputs = ZeroInputs(network, ShapesAt(network, symbols));
  const std::string device = FindBackend("cpu")->Fingerprint();
  const std::string key = fmt::format("batch of {} t{} network {:08x}", batch, threads, Crc32c(PrintNetwork(network)));
  double best = std::numeric_limits<double>::infinity();
  for (const Candidate& c : candidates) {
    const std::string way = fmt::format("micro{}{}", c.micro_batch, c.parallel ? " parallel" : "");
    const std::optional<double> known = cache.Find(device, key, way);
    double least = known.value_or(std::numeric_limits<double>::infinity()), spent = 0;
    engine.SetBatching(c.micro_batch, c.parallel);
    for (int round = 0; !known && round < 6 && (round < 3 || spent < 60.0); ++round) {
      const auto start = std::chrono::steady_clock::now();
      auto result = static_cast<Engine&>(engine).Run(inputs);
      if (!result.ok()) return OkStatus();  // zeros do not suit this model; keep whole batches
      const double t = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
      spent += t;
      if (round > 0) least = std::min(least, t);
      if (round > 0 && least > 1.3 * best) break;
    }
    cache.Put(device, key, way, least);
    // Pieces cost calls; they must win clearly.
    if (least < best * (c.micro_batch == 0 ? 1.0 : 0.98)) {
      best = least;
      choices->micro_batch = c.micro_batch;
      choices->sample_parallel = c.parallel;
    }
  }
  return OkStatus();
}

// The sizes of the symbols, by name.
std::map<std::string, int64_t> SizesOf(const Network& network, const std::vector<int64_t>& symbols) {
  std::map<std::string, int64_t> sizes;
  for (size_t s = 0; s < symbols.size(); ++s) sizes[network.dims().symbol_name(static_cast<int>(s))] = symbols[s];
  return sizes;
}

// Ways to cut batches, on the CPU. A network that was timed at single samples only gets an entry for a batch too: it will
// meet one.
Status ChoosePieces(const Network& network, const Network& typed, const BuildOptions& build, int threads,
                    const std::vector<std::vector<int64_t>>& symbol_sets, TimingCache& cache, Optimized* result) {
  constexpr int64_t kProbeBatch = 8;
  EngineOptions options;
  options.threads = threads;
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<EngineImpl> engine, EngineImpl::Create(network, result->numerics, result->choices, options));
  const BatchSeparation& separation = engine->separation();
  if (!separation.separable) return OkStatus();
  if (build.progress) build.progress("choosing batch pieces", 0.9);
  auto batch_of = [&](size_t k) { return symbol_sets[k][separation.symbol]; };
  size_t largest = 0;
  for (size_t k = 0; k < symbol_sets.size(); ++k)
    if (batch_of(k) > batch_of(largest)) largest = k;
  if (batch_of(largest) == 1) {
    std::vector<int64_t> symbols = symbol_sets[largest];
    symbols[separation.symbol] = kProbeBatch;
    ShapeChoices choices = result->choices.at[largest];
    choices.sizes = SizesOf(typed, symbols);
    TFE_RETURN_IF_ERROR(ChooseBatching(*engine, typed, symbols, threads, cache, &choices));
    result->choices.at.push_back(std::move(choices));
  }
  for (size_t k = 0; k < symbol_sets.size(); ++k)
    if (batch_of(k) > 1) TFE_RETURN_IF_ERROR(ChooseBatching(*engine, typed, symbol_sets[k], threads, cache, &result->choices.at[k]));
  return OkStatus();
}

// Tactics at every set of sizes, then ways to cut batches.
Status ChooseByTiming(const Network& network, const Network& typed, const BuildOptions& build,
                      const CompileBackend& backend, const std::vector<std::vector<int64_t>>& symbol_sets, Optimized* result) {
  const int threads = build.threads > 0 ? build.threads : AvailableCpus();
  TimingCache cache;
  if (!build.timing_cache.empty()) cache = TimingCache::Load(build.timing_cache);
  ThreadPool pool(threads - 1);
  Gang gang(threads, [&](std::function<void()> f) { pool.Schedule(std::move(f)); });
  for (size_t k = 0; k < symbol_sets.size(); ++k) {
    TacticOptions options;
    options.threads = threads;
    options.symbols = symbol_sets[k];
    options.cache = &cache;
    options.patience = build.effort > 1 ? 4 : 1;
    options.max_candidates = build.effort < 1 ? 2 : 0;
    options.gang = &gang;
    if (build.progress)
      options.progress = [&](double f) { build.progress("timing tactics", 0.9 * (static_cast<double>(k) + f) / static_cast<double>(symbol_sets.size())); };
    ShapeChoices choices;
    choices.sizes = SizesOf(typed, symbol_sets[k]);
    auto tactics = ChooseTactics(typed, backend, options);
    if (!tactics.ok() && k > 0 && build.shapes.empty() && tactics.status().error_id() == static_cast<int>(ErrorId::kOutOfMemory)) {
      result->report.notices.push_back(fmt::format("{}: too little memory to time tactics at batch {} too; shapes to build for can be given", build.device, kSecondBatchOnDevices));
      continue;
    }
    TFE_ASSIGN_OR_RETURN(choices.tactics, std::move(tactics));
    result->choices.at.push_back(std::move(choices));
  }
  if (build.device == "cpu" && build.effort > 0)  // other devices run whole batches
    TFE_RETURN_IF_ERROR(ChoosePieces(network, typed, build, threads, symbol_sets, cache, result));
  if (!build.timing_cache.empty()) TFE_RETURN_IF_ERROR(cache.Save(build.timing_cache));
  return OkStatus();
}

// Ranges, and the layers that must be more exact than asked for.
Status ChooseNumerics(const Network& network, const BuildOptions& build, const CompileBackend& backend, Optimized* result) {
  Numerics& numerics = result->numerics;
  auto& notices = result->report.notices;
  numerics = build.numerics;
  if (numerics.precision == "FP32") return OkStatus();
  if (backend.half() == DType::kFloat32) {
    notices.push_back(fmt::format("{}: this machine has no fast 16-bit products; layers that would use them run in FP32",
                                  numerics.precision));
  } else if (numerics.precision == "FP16" && backend.half() == DType::kBfloat16) {
    notices.push_back("FP16: this machine is fast in BF16, not in FP16; layers run in BF16");
  }
  const bool eight_bits = numerics.precision == "INT8" || numerics.precision == "FP8";
  if (numerics.precision == "FP8" && !backend.fp8()) {
    const DType half = backend.half();
    notices.push_back(fmt::format("FP8: this machine has no FP8 products (NVIDIA GPUs of compute capability 8.9 and later have); layers that would use them run in {}",
                                  half == DType::kFloat32 ? "FP32" : half == DType::kFloat16 ? "FP16" : "BF16"));
  }
  if (eight_bits && build.table != nullptr) {
    std::vector<std::string> values;
    const std::vector<int> uses = network.UseCounts();
    for (size_t i = 0; i < uses.size(); ++i) {
      const Value& v = network.value(static_cast<ValueId>(i));
      if (v.dtype == DType::kFloat32 && !v.constant && uses[i] > 0 && !IsMoved(network, v)) values.push_back(v.name);
    }
    const auto engine = FindEngine(build.table->engines, build.engine_name);
    const bool found = engine != build.table->engines.end();
    for (std::string& line : quant::CheckCalibration(*build.table, found ? engine->first : build.engine_name, quant::Fingerprint(PrintNetwork(network)), values))
      notices.push_back(std::move(line));
    if (found)
      for (const std::string& name : values)
        if (auto value = engine->second.values.find(name); value != engine->second.values.end())
          numerics.ranges.try_emplace(name, value->second.range());
  }
  if (build.samples.empty() || !result->present) return OkStatus();
  EngineOptions options;
  options.threads = build.threads > 0 ? build.threads : AvailableCpus();
  options.device = build.device;
  options.kernel_cache = build.kernel_cache;
  options.tf32 = build.tf32;
  options.max_workspace_bytes = build.max_workspace_bytes;
  TFE_ASSIGN_OR_RETURN(result->report.accuracy,
                       GuardAccuracy(network, build.samples, build.budget, options, &numerics, [&](double f) {
                         if (build.progress) build.progress("checking accuracy", f);
                       }));
  const AccuracyReport& accuracy = *result->report.accuracy;
  if (accuracy.raised > 0) notices.push_back(fmt::format("accuracy: {} layers run in a higher precision to keep the budget", accuracy.raised));
  if (!accuracy.within_budget) notices.push_back("accuracy: the budget does not hold even with every layer in FP32");
  return OkStatus();
}

Result<Optimized> Optimize(Network network, const BuildOptions& build) {
  Optimized result;
  TFE_RETURN_IF_ERROR(passes::RunPasses(network));
  BackendOptions backend_options;
  backend_options.kernel_cache = build.kernel_cache;
  backend_options.tf32 = build.tf32;
  backend_options.workspace_bytes = build.max_workspace_bytes;
  auto opened = OpenBackend(build.device, backend_options);
  if (!opened.ok()) {
    if (opened.status().error_id() != static_cast<int>(ErrorId::kDeviceUnavailable)) return opened.status();
    result.present = false;
    result.report.notices.push_back(fmt::format("{}: {}; nothing was timed, engines take their first guesses", build.device, opened.status().message()));
    opened = AbsentBackend(build.device);
  }
  const std::shared_ptr<const CompileBackend> backend = *opened;
  result.fingerprint = backend->Fingerprint();
  TFE_RETURN_IF_ERROR(ChooseNumerics(network, build, *backend, &result));
  TFE_ASSIGN_OR_RETURN(quant::Assignment typed, AssignFor(network, result.numerics, *backend));
  result.report.layers = std::move(typed.layers);
  const std::string& precision = result.numerics.precision;
  if ((precision == "INT8" || (precision == "FP8" && backend->fp8())) &&
      std::none_of(result.report.layers.begin(), result.report.layers.end(), [](const auto& layer) { return layer.precision > quant::Precision::kHalf; }))
    result.report.notices.push_back(result.numerics.ranges.empty()
                                        ? fmt::format("{0}: no calibrated ranges; no layer is {0}. Calibrate with representative data", precision)
                                        : fmt::format("{0}: no layer of this engine is {0}", precision));

  std::vector<std::vector<int64_t>> symbol_sets;
  for (const auto& shapes : build.shapes) {
    TFE_ASSIGN_OR_RETURN(std::vector<int64_t> symbols, network.BindSymbols(shapes));
    symbol_sets.push_back(std::move(symbols));
  }
  if (symbol_sets.empty()) {
    symbol_sets = GuessedSizes(network, *backend);
    if (!symbol_sets.empty()) result.shapes.push_back(ShapesAt(network, symbol_sets[0]));
  } else {
    for (const auto& symbols : symbol_sets) result.shapes.push_back(ShapesAt(network, symbols));
  }

  if (build.time_tactics && result.present && !symbol_sets.empty())
    TFE_RETURN_IF_ERROR(ChooseByTiming(network, typed.network, build, *backend, symbol_sets, &result));
  result.network = std::move(network);
  return result;
}

}  // namespace

Status CheckDevice(const std::string& device) {
  const auto opened = OpenBackend(device);
  return opened.ok() || opened.status().error_id() == static_cast<int>(ErrorId::kDeviceUnavailable) ? OkStatus() : opened.status();
}

Result<BuildReport> BuildEngineFile(Network network, const BuildOptions& build, const std::string& path) {
  TFE_ASSIGN_OR_RETURN(Optimized optimized, Optimize(std::move(network), build));
  Plan plan;
  plan.network_text = PrintNetwork(optimized.network);
  plan.constants = NetworkConstants(optimized.network);
  plan.numerics = optimized.numerics;
  if (build.time_tactics && optimized.present) plan.devices[optimized.fingerprint] = optimized.choices;
  plan.prepared_shapes = optimized.shapes;
  if (build.progress) build.progress("writing the engine", 1);
  TFE_RETURN_IF_ERROR(plan.Save(path));
  return std::move(optimized.report);
}

Result<std::shared_ptr<Engine>> BuildEngine(Network network, const BuildOptions& build, const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(Optimized optimized, Optimize(std::move(network), build));
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<EngineBase> engine,
                       CreateEngine(optimized.network, optimized.numerics, optimized.choices, options));
  for (const auto& shapes : optimized.shapes) TFE_RETURN_IF_ERROR(engine->Prepare(shapes));
  return std::shared_ptr<Engine>(std::move(engine));
}

}  // namespace tfengine
