// SPDX-License-Identifier: Apache-2.0
#include "compiler/tactics.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/chain_tactics.h"
#include "compiler/layer_timing.h"

namespace tfengine {
namespace {

// Decides which matmuls of one input run as one kernel. `times`: of the members alone, by the names of their values.
Status ChooseJoint(const Network& network, const CompileBackend& backend, const TacticOptions& options, bool cold, const std::map<std::string, double>& times,
                   TacticMap* chosen) {
  const std::string fingerprint = backend.Fingerprint();
  std::map<std::string, std::string> by_key;
  std::vector<bool> taken(network.nodes().size(), false);
  for (int i = 0; i < static_cast<int>(network.nodes().size()); ++i) {
    if (taken[i] || network.nodes()[i].op != Op::kMatMul) continue;
    const std::vector<int> members = JointProducts(network, i);
    if (members.size() < 2 || members[0] != i) continue;
    std::vector<ConcreteNode> nodes;
    double apart = 0;
    for (int m : members) {
      taken[m] = true;
      TFE_ASSIGN_OR_RETURN(ConcreteNode node, MakeConcrete(network, network.nodes()[m], options.symbols, {}));
      nodes.push_back(std::move(node));
      const auto time = times.find(network.value(network.nodes()[m].outputs[0]).name);
      apart += time == times.end() ? std::numeric_limits<double>::infinity() : time->second;
    }
    const std::vector<std::string> tactics = backend.JointTactics(nodes);
    if (tactics.empty()) continue;
    const std::string key = fmt::format("joint{} {}{}", members.size(), LayerKey(nodes[0], options.threads), cold ? " cold" : "");
    auto known = by_key.find(key);
    if (known == by_key.end()) {
      ConcreteNode whole = nodes[0];
      whole.outputs[0].shape.insert(whole.outputs[0].shape.begin(), static_cast<int64_t>(nodes.size()));
      std::string winner = kSeparately;
      double least = apart;
      WeightStore weights;
      std::vector<std::optional<double>> seen(tactics.size());
      std::vector<std::optional<Lowered>> made(tactics.size());
      std::vector<size_t> unseen;
      for (size_t t = 0; t < tactics.size(); ++t) {
        if (options.cache) seen[t] = options.cache->Find(fingerprint, key, tactics[t]);
        if (!seen[t]) unseen.push_back(t);
      }
      backend.LowerEach(unseen.size(), [&](size_t at) {
        const size_t t = unseen[at];
        auto lowered = backend.LowerJoint(nodes, tactics[t], weights);
        if (lowered.ok() && *lowered && (*lowered)->tactic == tactics[t]) made[t] = **std::move(lowered);
      });
      for (size_t t = 0; t < tactics.size(); ++t) {
        if (!seen[t] && made[t]) {
          seen[t] = backend.Measure(*made[t], whole, cold, least);
          if (seen[t] && std::isfinite(*seen[t]) && options.cache) options.cache->Put(fingerprint, key, tactics[t], *seen[t]);
        }
        if (!seen[t] || !(*seen[t] < least)) continue;
        least = *seen[t];
        winner = tactics[t];
      }
      known = by_key.emplace(key, winner).first;
    }
    (*chosen)[network.value(network.nodes()[i].outputs[0]).name + kJointSuffix] = known->second;
  }
  return OkStatus();
}

// A layer that can be run in several ways, and what each took.
struct Layer {
  ConcreteNode node;
  std::string key;
  std::vector<std::string> candidates;
  std::vector<std::optional<double>> times;  // per candidate; infinity: it does not work
  std::string winner;
  double least = std::numeric_limits<double>::infinity();

  // Ties go to the better guess.
  void Choose() {
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (!times[i] || *times[i] >= least) continue;
      least = *times[i];
      winner = candidates[i];
    }
  }
};

void Report(const TacticOptions& options, size_t done, size_t all) {
  if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(all));
}

void TimeOnHost(std::vector<Layer>& layers, const CompileBackend& backend, const TacticOptions& options, bool cold) {
  for (size_t at = 0; at < layers.size(); ++at) {
    Report(options, at, layers.size());
    Layer& layer = layers[at];
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < layer.candidates.size(); ++i) {
      std::optional<double>& time = layer.times[i];
      if (!time) {
        WeightStore weights;  // dropped with the candidate: only the winner's packed form is kept, elsewhere
        auto lowered = backend.Lower(layer.node, layer.candidates[i], weights, options.threads);
        if (!lowered.ok() || lowered->tactic != layer.candidates[i]) continue;
        std::vector<Sequence::Part> parts;
        parts.push_back({*std::move(lowered), InputsOf({&layer.node, 1}), &layer.node});
        Sequence sequence(std::move(parts), options.threads);
        time = TimeSequence(sequence, cold ? &weights : nullptr, options, least);
        if (options.cache && std::isfinite(*time)) options.cache->Put(backend.Fingerprint(), layer.key, layer.candidates[i], *time);
      }
      least = std::min(least, *time);
    }
  }
}

// Candidates are compiled on all cores, some way ahead of the one that is timed.
void TimeOnDevice(std::vector<Layer>& layers, const CompileBackend& backend, const TacticOptions& options, bool cold) {
  struct Job {
    size_t layer, candidate;
    bool done = false;
    std::optional<Lowered> lowered;
  };
  std::vector<Job> jobs;
  for (size_t at = 0; at < layers.size(); ++at)
    for (size_t i = 0; i < layers[at].candidates.size(); ++i)
      if (!layers[at].times[i]) jobs.push_back({at, i, false, std::nullopt});
  if (jobs.empty()) return;
  std::vector<std::shared_ptr<WeightStore>> weights(layers.size());  // candidates of a layer have the same forms
  for (const Job& job : jobs)
    if (!weights[job.layer]) weights[job.layer] = std::make_shared<WeightStore>();
  const size_t workers = std::min<size_t>(std::max(1u, std::thread::hardware_concurrency()), jobs.size()), most_ahead = 4 * workers;
  std::mutex mu;
  std::condition_variable changed;
  size_t next = 0, timed = 0;
  auto compile = [&] {
    std::unique_lock<std::mutex> lock(mu);
    for (;;) {
      changed.wait(lock, [&] { return next == jobs.size() || next < timed + most_ahead; });
      if (next == jobs.size()) return;
      Job& job = jobs[next++];
      const Layer& layer = layers[job.layer];
      const std::shared_ptr<WeightStore> store = weights[job.layer];
      lock.unlock();
      auto lowered = backend.Lower(layer.node, layer.candidates[job.candidate], *store, options.threads);
      lock.lock();
      if (lowered.ok() && lowered->tactic == layer.candidates[job.candidate]) job.lowered = *std::move(lowered);
      job.done = true;
      changed.notify_all();
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers; ++i) threads.emplace_back(compile);
  for (size_t at = 0; at < jobs.size(); ++at) {
    Report(options, at, jobs.size());
    Job& job = jobs[at];
    Layer& layer = layers[job.layer];
    {
      std::unique_lock<std::mutex> lock(mu);
      changed.wait(lock, [&] { return job.done; });
    }
    double time = std::numeric_limits<double>::infinity(), least = time;
    for (const auto& known : layer.times) least = std::min(least, known.value_or(time));
    if (job.lowered) time = backend.Measure(*job.lowered, layer.node, cold, least).value_or(time);
    layer.times[job.candidate] = time;
    // That there is no such kernel is worth knowing too; a failure to run may have been the moment's.
    if (options.cache && (std::isfinite(time) || !job.lowered)) options.cache->Put(backend.Fingerprint(), layer.key, layer.candidates[job.candidate], time);
    std::lock_guard<std::mutex> lock(mu);
    job.lowered.reset();
    if (at + 1 == jobs.size() || jobs[at + 1].layer != job.layer) weights[job.layer].reset();
    ++timed;
    changed.notify_all();
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

Result<TacticMap> ChooseTactics(const Network& network, const CompileBackend& backend, const TacticOptions& options) {
  const std::string fingerprint = backend.Fingerprint();
  size_t weight_bytes = 0;
  for (const Value& v : network.values())
    if (v.constant) weight_bytes += v.constant->num_bytes();
  const bool cold = weight_bytes > options.cache_bytes;
  std::vector<Layer> layers;  // those that differ and have a choice
  std::map<std::string, size_t> by_key;
  std::map<std::string, size_t> layer_of;  // by the name of the value
  for (const Node& node : network.nodes()) {
    TFE_ASSIGN_OR_RETURN(ConcreteNode concrete, MakeConcrete(network, node, options.symbols, {}));
    std::string key = LayerKey(concrete, options.threads) + (cold && !backend.on_host() ? " cold" : "");
    const std::string& value = network.value(node.outputs[0]).name;
    if (auto known = by_key.find(key); known != by_key.end()) {
      layer_of[value] = known->second;
      continue;
    }
    Layer layer;
    layer.candidates = backend.Tactics(concrete);
    if (options.max_candidates > 0 && layer.candidates.size() > static_cast<size_t>(options.max_candidates)) layer.candidates.resize(options.max_candidates);
    if (layer.candidates.size() < 2) continue;
    for (const std::string& tactic : layer.candidates)
      layer.times.push_back(options.cache ? options.cache->Find(fingerprint, key, tactic) : std::nullopt);
    layer.node = std::move(concrete);
    layer.key = key;
    layer_of[value] = by_key[key] = layers.size();
    layers.push_back(std::move(layer));
  }
  if (backend.on_host()) {
    TimeOnHost(layers, backend, options, cold);
  } else {
    TimeOnDevice(layers, backend, options, cold);
  }
  TacticMap chosen;
  std::map<std::string, double> times;
  for (Layer& layer : layers) layer.Choose();
  for (const auto& [value, at] : layer_of) {
    if (layers[at].winner.empty()) continue;
    chosen[value] = layers[at].winner;
    times[value] = layers[at].least;
  }
  TFE_RETURN_IF_ERROR(ChooseJoint(network, backend, options, cold, times, &chosen));
  TFE_RETURN_IF_ERROR(ChooseChains(network, backend, options, cold, &chosen));
  return chosen;
}

}  // namespace tfengine
