// SPDX-License-Identifier: Apache-2.0
#include "tfengine/compare.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "api/choose_signature.h"
#include "api/compare_report.h"
#include "api/converted_model.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/compare_engines.h"

namespace tfengine {
namespace {

constexpr double kExact = 200;  // dB: no error at all, or nothing but

void Fill(const quant::Comparison& c, ComparedValue* value) {
  value->snr_db = std::clamp(c.snr_db(), -kExact, kExact);
  value->relative_rms = c.relative_rms();
  value->max_abs_error = c.max_abs_error();
  value->cosine = c.cosine();
  value->top1_agreement = c.top1_agreement();
  value->rows = c.rows();
}

// Equal elements of outputs that are no real numbers.
struct Equality {
  int64_t equal = 0, count = 0;
  void Add(const Tensor& a, const Tensor& b) {
    const size_t size = DTypeSize(a.dtype());
    count += a.num_elements();
    for (int64_t i = 0; i < a.num_elements(); ++i)
      equal += std::memcmp(a.as<char>() + i * size, b.as<char>() + i * size, size) == 0;
  }
};

bool SameSpecs(const std::vector<TensorSpec>& a, const std::vector<TensorSpec>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.name == y.name && x.dtype == y.dtype;
  });
}

class Comparer {
 public:
  Status Load(const std::string& a, const std::string& b, const CompareOptions& options) {
    EngineOptions engine_options;
    engine_options.threads = options.threads;
    engine_options.kernel_cache = options.kernel_cache;
    engine_options.tf32 = options.tf32;
    engine_options.device =
        options.reference_device.empty() ? options.device : options.reference_device;
    TFE_ASSIGN_OR_RETURN(a_.model, ConvertedModel::Load(a, engine_options));
    engine_options.device = options.device;
    TFE_ASSIGN_OR_RETURN(b_.model, ConvertedModel::Load(b, engine_options));
    TFE_ASSIGN_OR_RETURN(const SignatureInfo* info,
                         ChooseSignature(a_.model->signatures(), options.signature));
    signature_ = info->name;
    for (Side* side : {&a_, &b_}) {
      side->dir = side == &a_ ? a : b;
      for (const auto& signature : side->model->manifest().signatures)
        if (signature.info.name == signature_) side->signature = &signature;
    }
    return CheckMatch();
  }

  Status Run(const std::map<std::string, Tensor>& inputs) {
    using Tensors = std::vector<Tensor>;
    auto views = [](const Tensors& operands) {
      std::vector<InputView> result;
      for (const Tensor& t : operands) result.push_back({t.dtype(), t.shape(), t.data()});
      return result;
    };
    TFE_ASSIGN_OR_RETURN(
        const auto a, a_.model->RunWith(signature_, inputs, [&](size_t call, Engine& engine, const Tensors& in) -> Result<Tensors> {
          Tensors out;
          engines_[call].a = &static_cast<EngineBase&>(engine);
          TFE_RETURN_IF_ERROR(engines_[call].comparison.Record(*engines_[call].a, views(in), &out));
          return out;
        }));
    TFE_ASSIGN_OR_RETURN(
        const auto b, b_.model->RunWith(signature_, inputs, [&](size_t call, Engine& engine, const Tensors& in) -> Result<Tensors> {
          Tensors out;
          engines_[call].b = &static_cast<EngineBase&>(engine);
          TFE_RETURN_IF_ERROR(engines_[call].comparison.Compare(*engines_[call].b, views(in), &out));
          return out;
        }));
    ++runs_;
    for (const auto& [name, want] : a) {
      const Tensor& got = b.at(name);
      if (want.shape() != got.shape() || want.dtype() != got.dtype())
        return Mismatch(fmt::format("output \"{}\" is {}{} and {}{}", name, DTypeName(want.dtype()),
                                    ShapeToString(want.shape()), DTypeName(got.dtype()),
                                    ShapeToString(got.shape())));
      std::vector<float> reference, candidate;
      if (ToReals(want.dtype(), Quant(), want.data(), want.num_elements(), &reference)) {
        ToReals(got.dtype(), Quant(), got.data(), got.num_elements(), &candidate);
        outputs_[name].Add(reference.data(), candidate.data(), want.num_elements(), RowOf(want.shape()));
      } else {
        discrete_[name].Add(want, got);
      }
    }
    return OkStatus();
  }

  CompareReport Report(double threshold_db) const {
    CompareReport report;
    report.signature = signature_;
    report.runs = runs_;
    for (const auto& [name, comparison] : outputs_) {
      report.outputs.push_back({name});
      Fill(comparison, &report.outputs.back());
    }
    for (const auto& [name, equality] : discrete_) {
      report.outputs.push_back({name});
      report.outputs.back().discrete = true;
      report.outputs.back().equal = equality.count == 0 ? 1 : static_cast<double>(equality.equal) / static_cast<double>(equality.count);
    }
    std::sort(report.outputs.begin(), report.outputs.end(),
              [](const auto& x, const auto& y) { return x.name < y.name; });
    for (const auto& [call, compared] : engines_) AddLayers(compared, &report.layers);
    for (size_t i = 0; i < report.layers.size() && report.first_below < 0; ++i)
      if (report.layers[i].snr_db < threshold_db) report.first_below = static_cast<int>(i);
    Describe({{a_.dir, a_.model->manifest().precision}, {b_.dir, b_.model->manifest().precision}, threshold_db}, &report);
    return report;
  }

 private:
  struct Side {
    std::string dir;
    std::shared_ptr<ConvertedModel> model;
    const Manifest::Signature* signature = nullptr;
  };
  struct Compared {
    EngineComparison comparison;
    EngineBase* a = nullptr;
    EngineBase* b = nullptr;
  };

  Status Mismatch(const std::string& what) const {
    return Error(ErrorId::kBadFlag,
                 "{} and {}: expected two conversions of one SavedModel with the same choice of nodes: {}",
                 a_.dir, b_.dir, what);
  }

  Status CheckMatch() const {
    if (b_.signature == nullptr)
      return Mismatch(fmt::format("the second has no signature \"{}\"", signature_));
    const Manifest::Signature &a = *a_.signature, &b = *b_.signature;
    if (!SameSpecs(a.info.inputs, b.info.inputs) || !SameSpecs(a.info.outputs, b.info.outputs))
      return Mismatch(fmt::format("signature \"{}\" has other inputs or outputs", signature_));
    if (!a.info.whole || !b.info.whole) return OkStatus();  // the first run says why not
    if (a.calls.size() != b.calls.size())
      return Mismatch(fmt::format("signature \"{}\" runs {} and {} engines", signature_, a.calls.size(), b.calls.size()));
    for (size_t i = 0; i < a.calls.size(); ++i) {
      // Engine names end in a checksum of what they compute, weights included.
      const std::string& x = a_.model->manifest().engines[a.calls[i].engine].name;
      const std::string& y = b_.model->manifest().engines[b.calls[i].engine].name;
      if (x.substr(x.rfind('_') + 1) != y.substr(y.rfind('_') + 1))
        return Mismatch(fmt::format("engine {} against {}", x, y));
    }
    return OkStatus();
  }

  static std::map<std::string, std::string> Precisions(const EngineBase& engine) {
    std::map<std::string, std::string> precisions;
    for (const auto& layer : engine.layers())
      precisions[layer.name] = engine.PrecisionText(layer.precision);
    return precisions;
  }

  static void AddLayers(const Compared& compared, std::vector<ComparedValue>* layers) {
    const auto of_a = Precisions(*compared.a), of_b = Precisions(*compared.b);
    auto text = [](const auto& precisions, const std::string& name) {
      const auto found = precisions.find(name);
      return found == precisions.end() ? "" : found->second;
    };
    const Network& network = compared.a->network();
    for (const Node& node : network.nodes()) {
      const std::string& name = network.value(node.outputs[0]).name;
      const quant::Comparison* comparison = compared.comparison.Find(name);
      if (comparison == nullptr) continue;
      layers->push_back({name, OpName(node.op), "", ""});
      if (!MovesElements(node.op, node.attrs)) {
        layers->back().precision_a = text(of_a, name);
        layers->back().precision_b = text(of_b, name);
      }
      Fill(*comparison, &layers->back());
    }
  }

  Side a_, b_;
  std::string signature_;
  int64_t runs_ = 0;
  std::map<size_t, Compared> engines_;  // by call
  std::map<std::string, quant::Comparison> outputs_;
  std::map<std::string, Equality> discrete_;
};

}  // namespace

std::vector<int> CompareReport::Worst(size_t count) const {
  std::vector<int> order(layers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int x, int y) { return layers[x].snr_db < layers[y].snr_db; });
  order.resize(std::min(order.size(), count));
  return order;
}

Result<CompareReport> CompareModels(const std::string& a, const std::string& b,
                                    const CompareOptions& options, const BatchSource& next) {
  Comparer comparer;
  TFE_RETURN_IF_ERROR(comparer.Load(a, b, options));
  for (int64_t runs = 0;; ++runs) {
    std::map<std::string, Tensor> batch;
    TFE_ASSIGN_OR_RETURN(const bool more, next(&batch));
    if (!more && runs == 0)
      return Error(ErrorId::kInputMismatch, "the data has no batch; give at least one");
    if (!more) break;
    TFE_RETURN_IF_ERROR(comparer.Run(batch));
  }
  return comparer.Report(options.threshold_db);
}

}  // namespace tfengine
