// SPDX-License-Identifier: Apache-2.0
#include "compiler/chain_tactics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>

#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/layer_timing.h"

namespace tfengine {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kLongestOfConvolutions = 3;  // what is longer is pointwise: the more nodes, the better

// Two ways to compute one value must agree bit for bit, as the kernels of a chain are those of its layers.
bool SameBits(const Tensor& a, const Tensor& b) {
  return a.num_bytes() == b.num_bytes() && std::memcmp(a.data(), b.data(), a.num_bytes()) == 0;
}

// Nodes that may run as one kernel.
struct Chain {
  std::vector<ConcreteNode> nodes;
  std::vector<std::string> tactics;  // of the nodes
  std::vector<std::string> wishes;   // ways to run them; "": the only one
  std::string key;
};

// The best way to run a chain and the milliseconds that it saves; without a record: no chain.
struct Choice {
  double saved = 0;
  int length = 1;
  std::string record;
};

class ChainChooser {
 public:
  ChainChooser(const Network& network, const CompileBackend& backend, const TacticOptions& options, bool cold, const TacticMap& tactics)
      : network_(network), backend_(backend), options_(options), cold_(cold), tactics_(tactics), uses_(network.UseCounts()), fingerprint_(backend.Fingerprint()) {}

  Result<TacticMap> Run() {
    TacticMap records;
    if (!backend_.on_host()) TFE_RETURN_IF_ERROR(CompileAhead());
    for (int i = 0; i < count(); ++i) {
      TFE_ASSIGN_OR_RETURN(const Choice here, BestAt(i));
      if (here.record.empty()) continue;
      // A chain must not take a node from one that saves more.
      Choice next;
      if (here.length <= kLongestOfConvolutions && i + 1 < count()) {
        TFE_ASSIGN_OR_RETURN(next, BestAt(i + 1));
      }
      if (next.saved > here.saved) continue;
      records[network_.value(network_.nodes()[i].outputs[0]).name + kChainSuffix] = here.record;
      i += here.length - 1;
    }
    return records;
  }

 private:
  int count() const { return static_cast<int>(network_.nodes().size()); }

  Result<const Chain*> ChainAt(int index, int length) {
    Chain chain;
    chain.key = "chain";
    for (int k = 0; k < length; ++k) {
      const Node& node = network_.nodes()[index + k];
      TFE_ASSIGN_OR_RETURN(ConcreteNode concrete, MakeConcrete(network_, node, options_.symbols, {}));
      auto tactic = tactics_.find(network_.value(node.outputs[0]).name);
      chain.tactics.push_back(tactic == tactics_.end() ? "" : tactic->second);
      chain.key += " | " + LayerKey(concrete, options_.threads) + " " + chain.tactics.back();
      chain.nodes.push_back(std::move(concrete));
    }
    if (auto known = chains_.find(chain.key); known != chains_.end()) return &known->second;
    chain.wishes = backend_.ChainTactics(chain.nodes);
    if (options_.max_candidates > 0 && chain.wishes.size() > static_cast<size_t>(options_.max_candidates)) chain.wishes.resize(options_.max_candidates);
    if (chain.wishes.empty()) chain.wishes.push_back("");
    const std::string key = chain.key;
    return &chains_.emplace(key, std::move(chain)).first->second;
  }

  // Makes the kernels between which there is a choice, on all cores.
  Status CompileAhead() {
    struct Job {
      const Chain* chain;
      const std::string* wish;
    };
    for (int i = 0; i < count(); ++i)
      for (int length = ChainLength(network_, uses_, i); length > 1; --length) TFE_RETURN_IF_ERROR(ChainAt(i, length).status());
    std::vector<Job> jobs;
    for (const auto& [key, chain] : chains_)
      for (const std::string& wish : chain.wishes)
        if (!wish.empty() && !Known(key, wish)) jobs.push_back({&chain, &wish});
    std::mutex mu;
    backend_.LowerEach(jobs.size(), [&](size_t at) {
      const Job& job = jobs[at];
      WeightStore weights;
      auto lowered = backend_.LowerChain(job.chain->nodes, job.chain->tactics, *job.wish, weights, options_.threads);
      if (!lowered.ok() || !*lowered) return;
      std::lock_guard<std::mutex> lock(mu);
      ahead_.emplace(std::pair(job.chain->key, *job.wish), **std::move(lowered));
    });
    return OkStatus();
  }

  // Of the chains that start at a node, the one that saves most.
  Result<Choice> BestAt(int index) {
    Choice best;
    for (int length = ChainLength(network_, uses_, index); length > 1; --length) {
      TFE_ASSIGN_OR_RETURN(const Choice choice, Choose(index, length));
      if (choice.saved > best.saved) best = choice;
      if (best.length > kLongestOfConvolutions) break;
    }
    return best;
  }

  Result<Choice> Choose(int index, int length) {
    TFE_ASSIGN_OR_RETURN(const Chain* chain, ChainAt(index, length));
    if (auto known = choices_.find(chain->key); known != choices_.end()) return known->second;
    TFE_ASSIGN_OR_RETURN(const Choice choice, backend_.on_host() ? TimeOnHost(*chain) : TimeOnDevice(*chain));
    choices_.emplace(chain->key, choice);
    return choice;
  }

  // A time from the cache; the empty way: together.
  std::optional<double> Known(const std::string& key, const std::string& way) const {
    return options_.cache ? options_.cache->Find(fingerprint_, key, way.empty() ? "together" : way) : std::nullopt;
  }

  // The time of one way, from the cache or by `measure()`.
  template <class Measure>
  double Timed(const std::string& key, const std::string& way, const Measure& measure) const {
    if (const auto known = Known(key, way)) return *known;
    const double time = measure();
    if (options_.cache && std::isfinite(time)) options_.cache->Put(fingerprint_, key, way.empty() ? "together" : way, time);
    return time;
  }

  static Choice ChoiceOf(const Chain& chain, const std::string& wish, double apart, double joined) {
    constexpr double kWorthwhile = 0.98;
    const int length = static_cast<int>(chain.nodes.size());
    return joined < kWorthwhile * apart ? Choice{apart - joined, length, ChainRecord(length, wish)} : Choice();
  }

  Result<std::vector<Sequence::Part>> Separate(const Chain& chain, WeightStore& weights) const {
    std::vector<Sequence::Part> parts;
    for (size_t k = 0; k < chain.nodes.size(); ++k) {
      TFE_ASSIGN_OR_RETURN(Lowered lowered, backend_.Lower(chain.nodes[k], chain.tactics[k], weights, options_.threads));
      parts.push_back({std::move(lowered), InputsOf({&chain.nodes[k], 1}), &chain.nodes[k]});
    }
    return parts;
  }

  // One kernel; none if there is no such kernel, or it cannot be made.
  std::vector<Sequence::Part> Together(const Chain& chain, const std::string& wish, WeightStore& weights) const {
    std::optional<Lowered> lowered;
    if (const auto ahead = ahead_.find({chain.key, wish}); ahead != ahead_.end()) {
      lowered = ahead->second;
    } else if (auto made = backend_.LowerChain(chain.nodes, chain.tactics, wish, weights, options_.threads); made.ok()) {
      lowered = *std::move(made);
    }
    std::vector<Sequence::Part> parts;
    if (lowered) parts.push_back({*std::move(lowered), InputsOf(chain.nodes), &chain.nodes.back()});
    return parts;
  }

  Result<Choice> TimeOnHost(const Chain& chain) const {
    WeightStore weights;
    auto together = Together(chain, "", weights);
    if (together.empty()) return Choice();
    TFE_ASSIGN_OR_RETURN(auto separate, Separate(chain, weights));
    Sequence layers(std::move(separate), options_.threads), joint(std::move(together), options_.threads);
    // A chain that computes something else would win by doing less.
    if (!layers.Run(*options_.gang) || !joint.Run(*options_.gang) || !SameBits(layers.result(), joint.result())) return Choice();
    const WeightStore* evicted = cold_ ? &weights : nullptr;
    const double apart = Timed(chain.key, "separate", [&] { return TimeSequence(layers, evicted, options_, kNever); });
    return ChoiceOf(chain, "", apart, Timed(chain.key, "", [&] { return TimeSequence(joint, evicted, options_, apart); }));
  }

  Result<Choice> TimeOnDevice(const Chain& chain) const {
    WeightStore weights;
    double joined = kNever;
    std::string winner;
    for (const std::string& wish : chain.wishes) {
      std::vector<Sequence::Part> together;
      if (!Known(chain.key, wish)) {
        together = Together(chain, wish, weights);
        if (together.empty()) continue;
      }
      const double time = Timed(chain.key, wish, [&] { return MeasureParts(backend_, together, cold_); });
      if (time >= joined) continue;
      joined = time;
      winner = wish;
    }
    if (joined == kNever) return Choice();
    std::vector<Sequence::Part> separate;
    if (!Known(chain.key, "separate")) {
      TFE_ASSIGN_OR_RETURN(separate, Separate(chain, weights));
    }
    return ChoiceOf(chain, winner, Timed(chain.key, "separate", [&] { return MeasureParts(backend_, separate, cold_); }), joined);
  }

  const Network& network_;
  const CompileBackend& backend_;
  const TacticOptions& options_;
  const bool cold_;
  const TacticMap& tactics_;
  const std::vector<int> uses_;
  const std::string fingerprint_;
  std::map<std::string, Chain> chains_;    // by key
  std::map<std::string, Choice> choices_;  // of them
  std::map<std::pair<std::string, std::string>, Lowered> ahead_;  // by key and wish
};

}  // namespace

Status ChooseChains(const Network& network, const CompileBackend& backend, const TacticOptions& options, bool cold, TacticMap* chosen) {
  TFE_ASSIGN_OR_RETURN(TacticMap records, ChainChooser(network, backend, options, cold, *chosen).Run());
  chosen->merge(records);
  return OkStatus();
}

}  // namespace tfengine
