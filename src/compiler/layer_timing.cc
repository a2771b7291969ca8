// SPDX-License-Identifier: Apache-2.0
#include "compiler/layer_timing.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/errors.h"

namespace tfengine {
namespace {

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

void Evict(const WeightStore& weights) {
  weights.Visit([](const AlignedBuffer& buffer) {
    const char* p = static_cast<const char*>(buffer.data());
    for (size_t i = 0; i < buffer.bytes(); i += 64) _mm_clflush(p + i);
  });
  _mm_mfence();
}

}  // namespace

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

std::vector<const Operand*> InputsOf(std::span<const ConcreteNode> nodes) {
  std::vector<const Operand*> inputs;
  for (const ConcreteNode& node : nodes)
    for (const Operand& o : node.inputs) inputs.push_back(&o);
  return inputs;
}

Sequence::Sequence(std::vector<Part> parts, int threads) : parts_(std::move(parts)) {
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

bool Sequence::Run(Gang& gang) {
  for (size_t p = 0; p < parts_.size(); ++p)
    if (!parts_[p].lowered.kernel->Run(in_[p].data(), out_[p].data(), scratch_.data(), gang).ok()) return false;
  return true;
}

const void* Sequence::Filled(const Operand& o) {
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

}  // namespace tfengine
