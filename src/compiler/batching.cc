// SPDX-License-Identifier: Apache-2.0
#include "compiler/batching.h"

#include <algorithm>

namespace tfengine {
namespace {

enum class State {
  kShared,   // the same for every sample
  kBatched,  // dim 0 is batch * constant, sample-major
  kMixed,    // anything else
};

class Analyzer {
 public:
  Analyzer(const Network& network, int symbol) : network_(network), symbol_(symbol) {}

  bool IsBatchMultiple(Dim d) const {
    if (d.is_const() || !network_.dims().DependsOn(d, symbol_)) return false;
    // d == f(batch) with f(0) == 0, f(2) == 2 f(1), f(3) == 3 f(1) for fixed other symbols is batch * k in the
    // normal forms that arise; other symbols make it unsure.
    std::vector<int64_t> at(network_.dims().num_symbols(), 1);
    for (int s = 0; s < network_.dims().num_symbols(); ++s)
      if (s != symbol_ && network_.dims().DependsOn(d, s)) return false;
    int64_t f[5];
    for (int b = 0; b < 5; ++b) {
      at[symbol_] = b;
      auto v = network_.dims().Eval(d, at);
      if (!v.ok()) return false;
      f[b] = *v;
    }
    return f[0] == 0 && f[1] > 0 && f[2] == 2 * f[1] && f[3] == 3 * f[1] && f[4] == 4 * f[1];
  }

  // The state of a value from its shape alone: batched only if dim 0 is a multiple and no other dim depends on batch.
  bool HasBatchedShape(ValueId id) const {
    const Shape& shape = network_.value(id).shape;
    if (shape.empty() || !IsBatchMultiple(shape[0])) return false;
    return std::none_of(shape.begin() + 1, shape.end(), [&](Dim d) { return network_.dims().DependsOn(d, symbol_); });
  }
  bool FreeOfBatch(const Shape& shape) const {
    return std::none_of(shape.begin(), shape.end(), [&](Dim d) { return network_.dims().DependsOn(d, symbol_); });
  }
  bool AttrsFreeOfBatch(const Node& node) const {
    for (const auto& [key, attr] : node.attrs.items())
      if (const Shape* dims = std::get_if<Shape>(&attr); dims != nullptr && !FreeOfBatch(*dims)) return false;
    return true;
  }

  State Transfer(const Node& node, const std::vector<State>& states) const {
    bool any_batched = false;
    for (ValueId in : node.inputs) {
      if (in == kNoValue) continue;
      if (states[in] == State::kMixed) return State::kMixed;
      any_batched |= states[in] == State::kBatched;
    }
    auto state_of = [&](size_t i) {
      return i < node.inputs.size() && node.inputs[i] != kNoValue ? states[node.inputs[i]] : State::kShared;
    };
    auto shape_of = [&](size_t i) -> const Shape& { return network_.value(node.inputs[i]).shape; };
    auto shared_from = [&](size_t first) {
      for (size_t i = first; i < node.inputs.size(); ++i)
        if (state_of(i) == State::kBatched) return false;
      return true;
    };
    const Shape& out = network_.value(node.outputs[0]).shape;
    if (!any_batched) {
      // Same data for every sample; a broadcast to [batch, ...] of it is batched.
      if (node.op == Op::kBroadcast && HasBatchedShape(node.outputs[0])) {
        const Shape& in = shape_of(0);
        return in.size() < out.size() || in[0].is(1) ? State::kBatched : State::kMixed;
      }
      return AttrsFreeOfBatch(node) && FreeOfBatch(out) ? State::kShared : State::kMixed;
    }
    if (!HasBatchedShape(node.outputs[0])) return State::kMixed;
    const bool first_only = state_of(0) == State::kBatched && shared_from(1);
    bool ok = false;
    switch (node.op) {
      case Op::kConv2d:
      case Op::kConv2dTranspose:
        // The residual is shaped like the output.
        ok = state_of(0) == State::kBatched && state_of(1) == State::kShared && state_of(2) == State::kShared &&
             (node.inputs.size() < 4 || node.inputs[3] == kNoValue || state_of(3) == State::kBatched);
        break;
      case Op::kBatchNorm:
      case Op::kPool:
      case Op::kResize:
      case Op::kDepthToSpace:
      case Op::kSpaceToDepth: ok = first_only; break;
      case Op::kFakeQuant: ok = first_only && (shape_of(1).empty() || node.attrs.Int("axis") != 0); break;
      case Op::kUnary:
      case Op::kConvert:
      case Op::kCast: ok = true; break;
      case Op::kSoftmax:
      case Op::kLogSoftmax:
      case Op::kTopK: ok = out.size() >= 2; break;
      case Op::kLayerNorm:
        ok = out.size() >= 2 && state_of(0) == State::kBatched && state_of(1) == State::kShared &&
             state_of(2) == State::kShared &&
             (node.inputs.size() < 4 || node.inputs[3] == kNoValue || state_of(3) == State::kBatched);
        break;
      case Op::kBinary:
      case Op::kSelect: ok = BroadcastOk(node, states); break;
      case Op::kMatMul: ok = MatMulOk(node, states); break;
      case Op::kAttention: ok = AttentionOk(node, states); break;
      case Op::kReshape: ok = true; break;  // row-major: the batch stays the outermost factor
      case Op::kTranspose: ok = node.attrs.Ints("perm")[0] == 0; break;
      case Op::kReduce: {
        auto axes = node.attrs.Ints("axes");
        ok = std::find(axes.begin(), axes.end(), 0) == axes.end();
        break;
      }
      case Op::kArgReduce:
      case Op::kCumulative: ok = node.attrs.Int("axis") != 0; break;
      case Op::kConcat: {
        ok = node.attrs.Int("axis") != 0;
        for (size_t i = 0; i < node.inputs.size(); ++i) ok = ok && state_of(i) == State::kBatched;
        break;
      }
      case Op::kSlice:
        ok = node.attrs.Dims("begin")[0].is(0) && node.attrs.Ints("strides")[0] == 1 && out[0] == shape_of(0)[0];
        break;
      case Op::kPad: ok = node.attrs.Dims("lo")[0].is(0) && node.attrs.Dims("hi")[0].is(0); break;
      case Op::kTile: ok = node.attrs.Dims("reps")[0].is(1); break;
      case Op::kBroadcast: ok = shape_of(0).size() == out.size() && shape_of(0)[0] == out[0]; break;
      case Op::kOneHot: ok = node.attrs.Int("axis") != 0; break;
      case Op::kGather: ok = GatherOk(node, states); break;
      default: ok = false;
    }
    return ok ? State::kBatched : State::kMixed;
  }

 private:
  // Every batched operand has the result's rank and leading dim; the others have rank below it or a leading 1.
  bool BroadcastOk(const Node& node, const std::vector<State>& states) const {
    const Shape& out = network_.value(node.outputs[0]).shape;
    for (ValueId in : node.inputs) {
      const Shape& s = network_.value(in).shape;
      if (states[in] == State::kBatched) {
        if (s.size() != out.size() || s[0] != out[0]) return false;
      } else if (s.size() == out.size() && !s[0].is(1)) {
        return false;
      }
    }
    return true;
  }
  bool MatMulOk(const Node& node, const std::vector<State>& states) const {
    const ValueId a = node.inputs[0], b = node.inputs[1];
    const Shape& out = network_.value(node.outputs[0]).shape;
    auto leading = [&](ValueId id) {
      const Shape& s = network_.value(id).shape;
      if (states[id] != State::kBatched) return s.size() < out.size() || (s.size() > 2 && s[0].is(1));
      return s.size() == out.size() && s.size() > 2 && s[0] == out[0];
    };
    const bool residual_ok = node.inputs.size() < 4 || node.inputs[3] == kNoValue ||
                             (states[node.inputs[3]] == State::kBatched);
    if (node.inputs.size() > 2 && node.inputs[2] != kNoValue && states[node.inputs[2]] != State::kShared) return false;
    if (!residual_ok) return false;
    if (out.size() == 2)  // rows of A are samples
      return states[a] == State::kBatched && states[b] == State::kShared && !node.attrs.Bool("transpose_a");
    return leading(a) && (leading(b) || (states[b] == State::kShared && network_.value(b).shape.size() == 2));
  }
  bool AttentionOk(const Node& node, const std::vector<State>& states) const {
    for (int i = 0; i < 3; ++i)
      if (states[node.inputs[i]] != State::kBatched) return false;
    if (node.inputs.size() < 4 || node.inputs[3] == kNoValue) return true;
    const Shape& mask = network_.value(node.inputs[3]).shape;
    if (states[node.inputs[3]] == State::kBatched) return mask.size() == 4;
    return mask.size() < 4 || mask[0].is(1);
  }
  bool GatherOk(const Node& node, const std::vector<State>& states) const {
    const int64_t axis = node.attrs.Int("axis"), batch_dims = node.attrs.Int("batch_dims");
    const bool params = states[node.inputs[0]] == State::kBatched, indices = states[node.inputs[1]] == State::kBatched;
    if (params && indices) return batch_dims >= 1 && axis >= 1;
    if (params) return axis >= 1 && batch_dims == 0;
    return axis == 0 && batch_dims == 0;
  }

  const Network& network_;
  int symbol_;
};

}  // namespace

BatchSeparation AnalyzeBatch(const Network& network) {
  BatchSeparation result;
  for (int s = 0; s < network.dims().num_symbols(); ++s)
    if (network.dims().symbol_name(s) == "batch") result.symbol = s;
  if (result.symbol < 0) return result;
  Analyzer analyzer(network, result.symbol);
  std::vector<State> states(network.values().size(), State::kShared);
  for (ValueId in : network.inputs()) {
    const Shape& shape = network.value(in).shape;
    if (analyzer.FreeOfBatch(shape)) {
      result.input_has_batch.push_back(false);
    } else if (network.dims().SymbolIndex(shape[0]) == result.symbol && analyzer.HasBatchedShape(in)) {
      states[in] = State::kBatched;
      result.input_has_batch.push_back(true);
    } else {
      return result;
    }
  }
  for (const Node& node : network.nodes()) {
    const State state = analyzer.Transfer(node, states);
    for (ValueId out : node.outputs) {
      states[out] = state;
      if (state == State::kBatched && !analyzer.HasBatchedShape(out)) states[out] = State::kMixed;
    }
  }
  for (ValueId out : network.outputs())
    if (states[out] != State::kBatched) return result;
  // Requirements on sizes that involve the batch would not hold piece by piece.
  for (const DimConstraint& c : network.constraints())
    if (network.dims().DependsOn(c.a, result.symbol) || network.dims().DependsOn(c.b, result.symbol)) return result;
  result.separable = true;
  return result;
}

}  // namespace tfengine
