// SPDX-License-Identifier: Apache-2.0
#include "compiler/accuracy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/compare_engines.h"
#include "compiler/engine_base.h"

namespace tfengine {
namespace {

constexpr double kExact = 200;  // dB: no error at all, or nothing but

ValueAccuracy Summary(const std::string& name, const quant::Comparison& c) {
  return {name, std::clamp(c.snr_db(), -kExact, kExact), c.cosine(), c.relative_rms(), c.top1_agreement(), c.rows()};
}

class Guard {
 public:
  Guard(const Network& network, const std::vector<std::vector<Tensor>>& samples, const EngineOptions& options)
      : network_(network), samples_(samples), options_(options) {}

  Status Start() {
    TFE_ASSIGN_OR_RETURN(exact_, CreateEngine(network_, Numerics(), DeviceChoices(), options_));
    return OkStatus();
  }

  // One pass over the samples.
  Status Measure(const Numerics& numerics) {
    TFE_ASSIGN_OR_RETURN(reduced_, CreateEngine(network_, numerics, DeviceChoices(), options_));
    comparison_ = {};
    for (const std::vector<Tensor>& sample : samples_) {
      std::vector<InputView> views;
      for (const Tensor& t : sample) views.push_back({t.dtype(), t.shape(), t.data()});
      TFE_RETURN_IF_ERROR(comparison_.Record(*exact_, views));
      TFE_RETURN_IF_ERROR(comparison_.Compare(*reduced_, views));
    }
    return OkStatus();
  }

  AccuracyReport Report(const AccuracyBudget& budget) const {
    AccuracyReport report;
    report.runs = static_cast<int64_t>(samples_.size());
    for (ValueId v : network_.outputs()) {
      const auto [judged, scores] = Judged(v);
      const quant::Comparison* c = comparison_.Find(network_.value(judged).name);
      if (c == nullptr) continue;
      report.outputs.push_back(Summary(network_.value(judged).name, *c));
      const ValueAccuracy& a = report.outputs.back();
      const double most = budget.max_top1_drop >= 0 ? budget.max_top1_drop : scores ? 0.01 : 1;
      // A share of few rows says little: where one row would be too many, the error decides alone.
      const bool counts = static_cast<double>(a.rows) * most >= 1;
      if (!(a.relative_rms <= budget.max_error) || (counts && 1 - a.top1_agreement > most)) report.within_budget = false;
    }
    for (const Node& node : network_.nodes()) {
      const std::string& name = network_.value(node.outputs[0]).name;
      if (const quant::Comparison* c = comparison_.Find(name)) report.values.push_back(Summary(name, *c));
    }
    return report;
  }

  // The layers that are not FP32 yet, those that lose most first.
  std::vector<std::pair<std::string, quant::Precision>> Culprits() const {
    std::map<std::string, quant::Precision> precision;
    for (const auto& layer : reduced_->layers()) precision[layer.name] = layer.precision;
    std::vector<std::pair<double, std::string>> losses;
    // A moved value has the ratio of what it was moved from.
    std::vector<double> snr(network_.values().size(), kExact);
    for (const Node& node : network_.nodes()) {
      double worst = kExact;
      for (ValueId in : node.inputs)
        if (in != kNoValue) worst = std::min(worst, snr[in]);
      for (ValueId out : node.outputs) {
        const quant::Comparison* c = comparison_.Find(network_.value(out).name);
        snr[out] = c == nullptr ? worst : std::clamp(c->snr_db(), -kExact, kExact);
      }
      const std::string& name = network_.value(node.outputs[0]).name;
      auto p = precision.find(name);
      if (p == precision.end() || p->second == quant::Precision::kF32) continue;
      // Noise that the layer adds, as power relative to its signal.
      const double after = std::pow(10, -snr[node.outputs[0]] / 10), before = std::pow(10, -worst / 10);
      losses.push_back({after - std::min(before, after), name});
    }
    std::sort(losses.begin(), losses.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<std::pair<std::string, quant::Precision>> culprits;
    for (const auto& [loss, name] : losses) culprits.push_back({name, precision[name]});
    return culprits;
  }

 private:
  struct Judge {
    ValueId value;
    bool scores;  // the greatest element of a row is what counts
  };

  // What tells how good an output is: its value or, where that is no real number, the value that it comes from (of the
  // index of a greatest element the scores).
  Judge Judged(ValueId v) const {
    bool scores = false;
    for (;;) {
      const int producer = network_.value(v).producer;
      if (producer < 0) return {v, scores};
      const Node& node = network_.nodes()[producer];
      if (comparison_.Find(network_.value(v).name) != nullptr)
        return {v, scores || node.op == Op::kSoftmax || node.op == Op::kLogSoftmax};
      if (node.inputs.empty() || node.inputs[0] == kNoValue) return {v, scores};
      v = node.inputs[0];
      const auto last = static_cast<int64_t>(network_.value(v).shape.size()) - 1;
      scores = scores || (node.op == Op::kArgReduce && node.attrs.Str("kind") == "max" && node.attrs.Int("axis") == last);
    }
  }

  const Network& network_;
  const std::vector<std::vector<Tensor>>& samples_;
  const EngineOptions options_;
  std::shared_ptr<EngineBase> exact_, reduced_;
  EngineComparison comparison_;
};

}  // namespace

Result<AccuracyReport> GuardAccuracy(const Network& network, const std::vector<std::vector<Tensor>>& samples,
                                     const AccuracyBudget& budget, const EngineOptions& options, Numerics* numerics,
                                     const std::function<void(double)>& progress) {
  Guard guard(network, samples, options);
  TFE_RETURN_IF_ERROR(guard.Start());
  const int before = static_cast<int>(numerics->limits.size());
  // Doubling the number of raised layers ends after a few rounds: all are FP32 at last.
  for (size_t step = 1, round = 0;; ++round) {
    if (progress) progress(1 - 1.0 / static_cast<double>(round + 1));
    TFE_RETURN_IF_ERROR(guard.Measure(*numerics));
    AccuracyReport report = guard.Report(budget);
    report.raised = static_cast<int>(numerics->limits.size()) - before;
    const auto culprits = guard.Culprits();
    if (report.within_budget || culprits.empty()) return report;
    const size_t share = std::max<size_t>(step, culprits.size() / 16);
    for (size_t i = 0; i < std::min(share, culprits.size()); ++i) {
      const auto& [name, precision] = culprits[i];
      // A second time goes all the way.
      numerics->limits[name] = precision > quant::Precision::kHalf && !numerics->limits.count(name) ? quant::Precision::kHalf : quant::Precision::kF32;
    }
    step *= 2;
  }
}

}  // namespace tfengine
