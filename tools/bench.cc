// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>

#include "api/choose_signature.h"
#include "api/manifest.h"
#include "api/shape_sets.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "command.h"
#include "flags.h"
#include "progress.h"
#include "tfengine/model.h"

namespace tfengine::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Floats are normal, integers 0 or 1 (any table has rows 0 and 1).
Tensor RandomTensor(DType dtype, const std::vector<int64_t>& shape, std::mt19937& random) {
  Tensor tensor(dtype, shape);
  int64_t n = tensor.num_elements();
  std::normal_distribution<double> normal;
  if (dtype == DType::kFloat32) {
    for (int64_t i = 0; i < n; ++i)
      tensor.mutable_as<float>()[i] = static_cast<float>(normal(random));
  } else if (dtype == DType::kFloat64) {
    for (int64_t i = 0; i < n; ++i) tensor.mutable_as<double>()[i] = normal(random);
  } else {
    // The low byte of an integer; for other float types this makes zeros and denormals.
    std::fill_n(tensor.mutable_as<char>(), tensor.num_bytes(), '\0');
    size_t size = DTypeSize(dtype);
    for (int64_t i = 0; i < n; ++i)
      tensor.mutable_as<char>()[i * size] = static_cast<char>(random() & 1);
  }
  return tensor;
}

struct Measurement {
  int64_t batch = 0;
  size_t runs = 0;
  double first = 0, minimum = 0, median = 0, p99 = 0,
         per_second = 0;  // milliseconds; samples per second
};

class BenchCommand : public Command {
 public:
  void DefineFlags(CLI::App& app) override {
    app.add_option("MODEL", model_, "Converted SavedModel directory")->required();
    app.add_option("--batch", batches_, "Batch sizes, separated by commas")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--shapes", shapes_,
                   "Input shapes where more than the batch is unknown, e.g. \"x=1x128\"");
    app.add_option("--signature", signature_,
                   "Signature to run (default: serving_default, or the only one)");
    DefineDeviceFlags(app, &options_);
    app.add_option("--threads", options_.threads, "Threads; 0: all CPUs")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--seconds", seconds_, "Time per batch size")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_flag("--json", json_, "Print JSON");
    app.add_flag("--profile", profile_, "Print the time of every step");
  }

  Status Run() override {
    TFE_ASSIGN_OR_RETURN(auto shape_sets, ParseShapeSets(shapes_));
    if (shape_sets.size() > 1)
      return Error(ErrorId::kBadFlag, "--shapes: expected one shape per input");
    Clock::time_point start = Clock::now();
    TFE_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, Model::Load(model_, options_));
    double load_ms = MillisecondsSince(start);
    TFE_ASSIGN_OR_RETURN(const SignatureInfo* signature, ChooseSignature(*model, signature_));
    Json json = {{"model", model_},
                 {"signature", signature->name},
                 {"threads", options_.threads},
                 {"load_ms", load_ms}};
    json["batches"] = Json::array();
    if (!json_) {
      fmt::print("{}, signature {}, loaded in {:.1f} ms\n\n", model_, signature->name, load_ms);
      fmt::print("{:>6} {:>8} {:>10} {:>10} {:>10} {:>10} {:>12}\n", "batch", "runs", "first ms",
                 "min ms", "median ms", "p99 ms", "samples/s");
    }
    for (size_t i = 0; i < batches_.size(); ++i) {
      TFE_ASSIGN_OR_RETURN(auto inputs, MakeInputs(*signature, batches_[i], shape_sets));
      TFE_ASSIGN_OR_RETURN(Measurement m, Measure(*model, *signature, inputs, i));
      if (!json_)
        fmt::print("{:>6} {:>8} {:>10.3f} {:>10.3f} {:>10.3f} {:>10.3f} {:>12.1f}\n", m.batch,
                   m.runs, m.first, m.minimum, m.median, m.p99, m.per_second);
      json["batches"].push_back({{"batch", m.batch},
                                 {"runs", m.runs},
                                 {"first_ms", m.first},
                                 {"min_ms", m.minimum},
                                 {"median_ms", m.median},
                                 {"p99_ms", m.p99},
                                 {"samples_per_second", m.per_second}});
      if (profile_)
        TFE_RETURN_IF_ERROR(Profile(*model, *signature, inputs, &json["batches"].back()));
    }
    if (json_) fmt::print("{}\n", json.dump(1));
    return OkStatus();
  }

 private:
  using Inputs = std::map<std::string, Tensor>;

  Result<Inputs> MakeInputs(const SignatureInfo& signature, int64_t batch,
                            const std::vector<ShapeMap>& given) const {
    std::mt19937 random(1);
    Inputs inputs;
    for (const TensorSpec& spec : signature.inputs) {
      std::vector<int64_t> shape = spec.shape;
      bool from_flag = !given.empty() && given[0].count(spec.name) > 0;
      if (from_flag) shape = given[0].at(spec.name);
      if (!shape.empty() && (spec.shape.empty() || spec.shape[0] == -1)) shape[0] = batch;
      if (!spec.known_rank && !from_flag) shape = {-1};
      for (int64_t size : shape)
        if (size < 0)
          return Error(ErrorId::kBadFlag,
                       "input \"{}\" is {}: give its sizes with --shapes \"{}=...\"", spec.name,
                       SpecToString(spec), spec.name);
      if (DTypeSize(spec.dtype) == 0)
        return Error(ErrorId::kUnsupportedDType, "input \"{}\" is {}: no random values", spec.name,
                     SpecToString(spec));
      inputs[spec.name] = RandomTensor(spec.dtype, shape, random);
    }
    return inputs;
  }

  Result<Measurement> Measure(Model& model, const SignatureInfo& signature, const Inputs& inputs,
                              size_t index) const {
    ProgressLine progress;
    Measurement m;
    m.batch = batches_[index];
    std::vector<double> times;
    double total = 0;
    for (Clock::time_point begin = Clock::now();
         times.size() < 3 || MillisecondsSince(begin) < 1e3 * seconds_;) {
      Clock::time_point start = Clock::now();
      TFE_RETURN_IF_ERROR(model.Run(signature.name, inputs).status());
      times.push_back(MillisecondsSince(start));
      double share = std::min(1.0, MillisecondsSince(begin) / (1e3 * seconds_));
      progress.Update(fmt::format("batch {}", m.batch), (index + share) / batches_.size());
    }
    m.first = times[0];
    times.erase(times.begin());  // makes the buffer plan
    for (double t : times) total += t;
    std::sort(times.begin(), times.end());
    m.runs = times.size();
    m.minimum = times[0];
    m.median = times[times.size() / 2];
    m.p99 = times[std::min(times.size() - 1, times.size() * 99 / 100)];
    m.per_second = 1e3 * m.batch * m.runs / total;
    return m;
  }

  Status Profile(Model& model, const SignatureInfo& signature, const Inputs& inputs,
                 Json* json) const {
    TFE_ASSIGN_OR_RETURN(auto engine, model.engine(signature.name));
    TFE_ASSIGN_OR_RETURN(Manifest manifest, Manifest::Load(model_));
    std::vector<InputView> views;
    for (const Manifest::Signature& entry : manifest.signatures) {
      if (entry.info.name != signature.name) continue;
      for (const Manifest::Source& source : entry.calls.at(0).inputs) {
        if (source.kind != Manifest::Source::Kind::kInput)
          return Error(ErrorId::kNotWhole,
                       "signature \"{}\": its engine takes more than the inputs", signature.name);
        const Tensor& tensor = inputs.at(entry.info.inputs[source.index].name);
        views.push_back({tensor.dtype(), tensor.shape(), tensor.data()});
      }
    }
    TFE_ASSIGN_OR_RETURN(std::string profile, engine->ProfileJson(views));
    (*json)["profile"] = Json::parse(profile);
    if (!json_) PrintProfile((*json)["profile"]);
    return OkStatus();
  }

  static void PrintProfile(const Json& profile) {
    if (profile.contains("graph_ms"))
      fmt::print("on the device, without copies: {:.4f} ms\n\n", profile.value("graph_ms", 0.0));
    std::vector<Json> steps = profile.at("steps");
    double total = 0;
    for (const Json& step : steps) total += step.value("ms", 0.0);
    std::stable_sort(steps.begin(), steps.end(), [](const Json& a, const Json& b) {
      return a.value("ms", 0.0) > b.value("ms", 0.0);
    });
    fmt::print("\n{:>9} {:>6} {:>7} {:>8}  {:16} {:28} {}\n", "ms", "%", "GB/s", "GFLOP/s", "op", "tactic", "layer");
    for (const Json& step : steps)
      fmt::print("{:>9.4f} {:>6.1f} {:>7.0f} {:>8.0f}  {:16} {:28} {}\n", step.value("ms", 0.0),
                 100 * step.value("ms", 0.0) / total, step.value("bytes", 0.0) / step.value("ms", 1.0) / 1e6,
                 step.value("flops", 0.0) / step.value("ms", 1.0) / 1e6, step.value("op", ""),
                 step.value("tactic", ""), step.value("name", ""));
    fmt::print("\n");
  }

  std::string model_, signature_;
  std::vector<int64_t> batches_ = {1};
  std::vector<std::string> shapes_;
  EngineOptions options_;
  double seconds_ = 2;
  bool json_ = false, profile_ = false;
};

}  // namespace

std::unique_ptr<Command> NewBenchCommand() { return std::make_unique<BenchCommand>(); }

}  // namespace tfengine::cli
