// SPDX-License-Identifier: Apache-2.0
#include "compiler/tactics.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <list>
#include <mutex>
#include <span>
#include <thread>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// Everything that decides a layer's time: op, attributes, operand types and shapes, which operands are constant.
std::string LayerKey(const ConcreteNode& node, int threads) {
  std::string key = fmt::format("{} t{}", OpName(node.op), threads);
  for (const auto& [name, attr] : node.attrs.items()) {
    if (name == "out_scale" || name == "out_zero") continue;  // take no time
    key += " " + name + "=";
    std::visit(
        [&](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, Shape>) {
            for (Dim d : v) key += fmt::format("{},", d.value);
          } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
            for (int64_t d : v) key += fmt::format("{},", d);
          } else {
            key += fmt::format("{}", v);
          }
        },
        attr);
  }
  for (const auto* list : {&node.inputs, &node.outputs})
    for (const Operand& o : *list)
      key += o.present ? fmt::format(" {}{}{}", DTypeName(o.dtype), ShapeToString(o.shape), o.constant ? "c" : "") : " _";
  return key;
}

void Evict(const WeightStore& weights) {
  weights.Visit([](const AlignedBuffer& buffer) {
    const char* p = static_cast<const char*>(buffer.data());
    for (size_t i = 0; i < buffer.bytes(); i += 64) _mm_clflush(p + i);
  });
  _mm_mfence();
}

// Kernels that run one after the other, on memory of their own.
class Sequence {
 public:
  struct Part {
    Lowered lowered;
    std::vector<const Operand*> inputs;  // of the lowered node or chain, in Lowered::in's numbers
    const ConcreteNode* node;            // whose outputs it writes
  };

  explicit Sequence(std::vector<Part> parts, int threads) : parts_(std::move(parts)) {
    size_t scratch = 0;
    for (const Part& part : parts_) scratch = std::max(scratch, part.lowered.kernel->scratch_bytes(threads));
    scratch_ = AlignedBuffer(scratch);
    const void* previous = nullptr;
    for (const Part& part : parts_) {
      auto& in = in_.emplace_back();
      auto& out = out_.emplace_back();
      for (int i : part.lowered.in) {
        const Operand& o = *part.inputs[i];
        // Input 0 of every part but the first is what the part before wrote.
        in.push_back(o.constant ? o.constant->data() : i == 0 && previous != nullptr ? previous : Filled(o));
      }
      for (const Operand& o : part.node->outputs) {
        buffers_.emplace_back(o.dtype, o.shape);
        std::fill_n(buffers_.back().mutable_as<char>(), buffers_.back().num_bytes(), 0);
        out.push_back(buffers_.back().mutable_data());
      }
      result_ = &*std::prev(buffers_.end(), static_cast<std::ptrdiff_t>(part.node->outputs.size()));
      previous = out[0];
    }
  }

  bool Run(Gang& gang) {
    for (size_t p = 0; p < parts_.size(); ++p)
      if (!parts_[p].lowered.kernel->Run(in_[p].data(), out_[p].data(), scratch_.data(), gang).ok()) return false;
    return true;
  }

  // What the last part wrote.
  const Tensor& result() const { return *result_; }

 private:
  const void* Filled(const Operand& o) {
    buffers_.emplace_back(o.dtype, o.shape);
    Tensor& t = buffers_.back();
    // Small positive numbers: valid indices, no denormals, no NaN.
    if (o.dtype == DType::kFloat32) {
      for (int64_t k = 0; k < t.num_elements(); ++k) t.mutable_as<float>()[k] = 0.01f * static_cast<float>(k % 17);
    } else {
      std::fill_n(t.mutable_as<char>(), t.num_bytes(), 0);
    }
    return t.data();
  }

  std::vector<Part> parts_;
  std::list<Tensor> buffers_;
  std::vector<std::vector<const void*>> in_;
  std::vector<std::vector<void*>> out_;
  const Tensor* result_ = nullptr;
  AlignedBuffer scratch_;
};

// Two ways to compute one value must agree bit for bit, as the kernels of a chain are those of its layers.
bool SameBits(const Tensor& a, const Tensor& b) {
  return a.num_bytes() == b.num_bytes() && std::memcmp(a.data(), b.data(), a.num_bytes()) == 0;
}

std::vector<const Operand*> InputsOf(std::span<const ConcreteNode> nodes) {
  std::vector<const Operand*> inputs;
  for (const ConcreteNode& node : nodes)
    for (const Operand& o : node.inputs) inputs.push_back(&o);
  return inputs;
}

// Least time of a few runs; infinity if a kernel fails. Gives up early on what is many times slower than `best_so_far`.
// `cold`: weights to evict before each run, or null.
double TimeSequence(Sequence& sequence, const WeightStore* cold, const TacticOptions& options, double best_so_far) {
  const int patience = options.patience;
  double best = std::numeric_limits<double>::infinity();
  double spent = 0;
  for (int round = 0; round < 12 * patience && (round < 4 * patience || spent < 4.0 * patience) && spent < 250.0 * patience; ++round) {
    if (cold != nullptr) Evict(*cold);
    const auto start = Clock::now();
    if (!sequence.Run(*options.gang)) return std::numeric_limits<double>::infinity();
    const double t = Milliseconds(Clock::now() - start);
    spent += t;
    if (round > 0) best = std::min(best, t);
    if (t > 4 * best_so_far + 0.1) return std::min(best, t);
  }
  return best;
}

// The sum of the kernels' times on a device, which measures kernel by kernel.
double MeasureParts(const CompileBackend& backend, const std::vector<Sequence::Part>& parts, bool cold) {
  double sum = 0;
  for (const Sequence::Part& part : parts) {
    ConcreteNode node = *part.node;
    node.inputs.clear();
    for (const Operand* o : part.inputs) node.inputs.push_back(*o);
    sum += backend.Measure(part.lowered, node, cold, std::numeric_limits<double>::infinity()).value_or(std::numeric_limits<double>::infinity());
  }
  return sum;
}

// Decides which nodes run as one kernel, given the tactic of each; adds that to `chosen`.
Status ChooseChains(const Network& network, const CompileBackend& backend, const TacticOptions& options, bool cold, TacticMap* chosen) {
  const std::vector<int> uses = network.UseCounts();
  const std::string fingerprint = backend.Fingerprint();
  std::map<std::string, std::string> by_key;
  for (int i = 0; i < static_cast<int>(network.nodes().size()); ++i) {
    int taken = 1;
    for (int length = ChainLength(network, uses, i); length > 1 && taken == 1; --length) {
      std::vector<ConcreteNode> nodes;
      std::vector<std::string> tactics;
      std::string key = "chain";
      for (int k = 0; k < length; ++k) {
        TFE_ASSIGN_OR_RETURN(ConcreteNode node, MakeConcrete(network, network.nodes()[i + k], options.symbols, {}));
        auto tactic = chosen->find(network.value(network.nodes()[i + k].outputs[0]).name);
        tactics.push_back(tactic == chosen->end() ? "" : tactic->second);
        key += " | " + LayerKey(node, options.threads) + " " + tactics.back();
        nodes.push_back(std::move(node));
      }
      const std::string name = network.value(network.nodes()[i].outputs[0]).name + kChainSuffix;
      auto known = by_key.find(key);
      if (known == by_key.end()) {
        WeightStore weights;
        TFE_ASSIGN_OR_RETURN(std::optional<Lowered> chain, backend.LowerChain(nodes, tactics, weights, options.threads));
        if (!chain) continue;
        // The time of one way, from the cache or by `measure()`.
        auto timed = [&](const char* way, const auto& measure) -> double {
          const auto found = options.cache ? options.cache->Find(fingerprint, key, way) : std::nullopt;
          if (found) return *found;
          const double time = measure();
          if (options.cache && std::isfinite(time)) options.cache->Put(fingerprint, key, way, time);
          return time;
        };
        std::vector<Sequence::Part> separate;
        for (int k = 0; k < length; ++k) {
          TFE_ASSIGN_OR_RETURN(Lowered lowered, backend.Lower(nodes[k], tactics[k], weights, options.threads));
          separate.push_back({std::move(lowered), InputsOf({&nodes[k], 1}), &nodes[k]});
        }
        std::vector<Sequence::Part> together;
        together.push_back({*std::move(chain), InputsOf(nodes), &nodes.back()});
        double apart, joined;
        if (backend.on_host()) {
          Sequence layers(std::move(separate), options.threads), joint(std::move(together), options.threads);
          // A chain that computes something else would win by doing less.
          if (!layers.Run(*options.gang) || !joint.Run(*options.gang) || !SameBits(layers.result(), joint.result())) continue;
          const WeightStore* evicted = cold ? &weights : nullptr;
          apart = timed("separate", [&] { return TimeSequence(layers, evicted, options, std::numeric_limits<double>::infinity()); });
          joined = timed("together", [&] { return TimeSequence(joint, evicted, options, apart); });
        } else {
          apart = timed("separate", [&] { return MeasureParts(backend, separate, cold); });
          joined = timed("together", [&] { return MeasureParts(backend, together, cold); });
        }
        known = by_key.emplace(key, joined < 0.98 * apart ? std::to_string(length) : "").first;
      }
      if (known->second.empty()) continue;
      (*chosen)[name] = known->second;
      taken = length;
    }
    i += taken - 1;
  }
  return OkStatus();
}

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
      for (const std::string& tactic : tactics) {
        std::optional<double> time = options.cache ? options.cache->Find(fingerprint, key, tactic) : std::nullopt;
        if (!time) {
          const auto lowered = backend.LowerJoint(nodes, tactic, weights);
          if (!lowered.ok() || !*lowered || (*lowered)->tactic != tactic) continue;
          time = backend.Measure(**lowered, whole, cold, least);
          if (!time || !std::isfinite(*time)) continue;
          if (options.cache) options.cache->Put(fingerprint, key, tactic, *time);
        }
        if (*time >= least) continue;
        least = *time;
        winner = tactic;
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
