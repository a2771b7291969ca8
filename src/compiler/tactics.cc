// SPDX-License-Identifier: Apache-2.0
#include "compiler/tactics.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

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

// Least time of a few runs; infinity if the kernel fails. Gives up early on what is many times slower than `best_so_far`. `cold`:
// weights to evict before each run, or null.
double TimeCandidate(const Lowered& lowered, const ConcreteNode& node, const WeightStore* cold, const TacticOptions& options,
                     double best_so_far) {
  const int threads = options.threads, patience = options.patience;
  Gang& gang = *options.gang;
  std::vector<Tensor> buffers;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (int i : lowered.in) {
    const Operand& o = node.inputs[i];
    if (o.constant) {
      in.push_back(o.constant->data());
      continue;
    }
    buffers.emplace_back(o.dtype, o.shape);
    Tensor& t = buffers.back();
    // Small positive numbers: valid indices, no denormals, no NaN.
    if (o.dtype == DType::kFloat32) {
      for (int64_t k = 0; k < t.num_elements(); ++k) t.mutable_as<float>()[k] = 0.01f * static_cast<float>(k % 17);
    } else {
      std::fill_n(t.mutable_as<char>(), t.num_bytes(), 0);
    }
    in.push_back(t.data());
  }
  for (const Operand& o : node.outputs) {
    buffers.emplace_back(o.dtype, o.shape);
    std::fill_n(buffers.back().mutable_as<char>(), buffers.back().num_bytes(), 0);
    out.push_back(buffers.back().mutable_data());
  }
  AlignedBuffer scratch(lowered.kernel->scratch_bytes(threads));
  double best = std::numeric_limits<double>::infinity();
  double spent = 0;
  for (int round = 0; round < 12 * patience && (round < 4 * patience || spent < 4.0 * patience) && spent < 250.0 * patience; ++round) {
    if (cold != nullptr) Evict(*cold);
    const auto start = Clock::now();
    if (!lowered.kernel->Run(in.data(), out.data(), scratch.data(), gang).ok()) return std::numeric_limits<double>::infinity();
    const double t = Milliseconds(Clock::now() - start);
    spent += t;
    if (round > 0) best = std::min(best, t);
    if (t > 4 * best_so_far + 0.1) return std::min(best, t);
  }
  return best;
}

}  // namespace

Result<TacticMap> ChooseTactics(const Network& network, const CompileBackend& backend, const TacticOptions& options) {
  const std::string fingerprint = backend.Fingerprint();
  size_t weight_bytes = 0;
  for (const Value& v : network.values())
    if (v.constant) weight_bytes += v.constant->num_bytes();
  const bool cold = weight_bytes > options.cache_bytes;
  TacticMap chosen;
  const auto& nodes = network.nodes();
  std::map<std::string, std::string> by_key;  // equal layers get the same answer without a second measurement
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (options.progress) options.progress(static_cast<double>(i) / static_cast<double>(nodes.size()));
    TFE_ASSIGN_OR_RETURN(const ConcreteNode concrete, MakeConcrete(network, nodes[i], options.symbols, {}));
    const std::string key = LayerKey(concrete, options.threads);
    std::vector<std::string> candidates = backend.Tactics(concrete);
    if (options.max_candidates > 0 && candidates.size() > static_cast<size_t>(options.max_candidates)) candidates.resize(options.max_candidates);
    if (candidates.size() < 2) continue;
    const std::string& value = network.value(nodes[i].outputs[0]).name;
    if (auto known = by_key.find(key); known != by_key.end()) {
      chosen[value] = known->second;
      continue;
    }
    std::string winner;
    double least = std::numeric_limits<double>::infinity();
    for (const std::string& tactic : candidates) {  // in this order, so that ties go to the better guess
      std::optional<double> time = options.cache ? options.cache->Find(fingerprint, key, tactic) : std::nullopt;
      if (!time) {
        WeightStore weights;  // dropped with the candidate: only the winner's packed form is kept, elsewhere
        auto lowered = backend.Lower(concrete, tactic, weights, options.threads);
        if (!lowered.ok() || lowered->tactic != tactic) continue;
        time = TimeCandidate(*lowered, concrete, cold ? &weights : nullptr, options, least);
        if (!std::isfinite(*time)) continue;
        if (options.cache) options.cache->Put(fingerprint, key, tactic, *time);
      }
      if (*time >= least) continue;
      least = *time;
      winner = tactic;
    }
    if (winner.empty()) continue;
    chosen[value] = winner;
    by_key[key] = winner;
  }
  return chosen;
}

}  // namespace tfengine
