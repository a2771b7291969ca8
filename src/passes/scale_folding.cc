// SPDX-License-Identifier: Apache-2.0
#include "passes/scale_folding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/linear.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

using Vector = std::vector<float>;

// y = scale * x + shift per channel of the last axis.
struct Affine {
  ValueId x = kNoValue;
  Vector scale, shift;

  bool HasScale() const { return std::any_of(scale.begin(), scale.end(), [](float s) { return s != 1; }); }
  bool HasShift() const { return std::any_of(shift.begin(), shift.end(), [](float s) { return s != 0; }); }
};

bool IsFinite(const Vector& v) {
  return std::all_of(v.begin(), v.end(), [](float x) { return std::isfinite(x); });
}

// Reads `node` as such a function of its non-constant operand, which has the same shape.
std::optional<Affine> MatchAffine(const Rewriter& r, const Node& node) {
  ValueId out = node.outputs[0];
  const Shape& shape = r.shape(out);
  if (r.dtype(out) != DType::kFloat32 || shape.empty() || !shape.back().is_const() || HasActivation(node))
    return std::nullopt;
  size_t channels = static_cast<size_t>(shape.back().value);
  Affine a{kNoValue, Vector(channels, 1), Vector(channels, 0)};
  if (node.op == Op::kUnary && UnaryKindOf(node) == UnaryKind::k_neg) {
    a.x = node.inputs[0];
    a.scale.assign(channels, -1);
    return a;
  }
  if (node.op != Op::kBinary) return std::nullopt;
  bool constant_first = ConstantOf(r.network(), node.inputs[0]) != nullptr;
  a.x = node.inputs[constant_first];
  if (r.shape(a.x) != shape || ConstantOf(r.network(), a.x)) return std::nullopt;
  std::optional<Vector> c = PerChannel(r.network(), node.inputs[!constant_first], shape);
  if (!c) return std::nullopt;
  switch (BinaryKindOf(node)) {
    case BinaryKind::k_add: a.shift = *c; break;
    case BinaryKind::k_mul: a.scale = *c; break;
    case BinaryKind::k_sub:
      a.shift = *c;
      if (constant_first) a.scale.assign(channels, -1);
      else for (float& s : a.shift) s = -s;
      break;
    case BinaryKind::k_div:
      if (constant_first) return std::nullopt;
      for (size_t i = 0; i < channels; ++i) a.scale[i] = 1 / (*c)[i];
      break;
    default: return std::nullopt;
  }
  if (!IsFinite(a.scale)) return std::nullopt;
  return a;
}

// The linear node again with other weights and bias (empty: as before) and, if given, another first input.
Result<ValueId> AddLinear(Rewriter& r, const Node& node, ValueId x, std::optional<Tensor> weights,
                          const Vector& bias) {
  std::vector<ValueId> inputs = node.inputs;
  inputs[0] = x;
  if (weights) inputs[1] = r.AddConstant(r.value(node.inputs[1]).name, *std::move(weights));
  bool has_bias = BiasOf(node) != kNoValue || std::any_of(bias.begin(), bias.end(), [](float b) { return b != 0; });
  if (has_bias) {
    if (inputs.size() < 3) inputs.resize(3, kNoValue);
    inputs[2] = r.AddConstant(node.name + "/bias", FloatTensor({static_cast<int64_t>(bias.size())}, bias));
  }
  return r.Add(node.op, node.name, std::move(inputs), node.attrs);
}

// The weights times scale[channel(i, j)] at (i, j) of every tap; nullopt if an element is not finite.
template <typename Channel>
std::optional<Tensor> Scaled(const Tensor& weights, const WeightLayout& layout, const Vector& scale, Channel channel) {
  std::vector<float> factors(layout.rows * layout.columns);
  for (int64_t i = 0; i < layout.rows; ++i)
    for (int64_t j = 0; j < layout.columns; ++j) factors[i * layout.columns + j] = scale[channel(i, j)];
  Tensor result(DType::kFloat32, weights.shape());
  const float* in = weights.as<float>();
  float* out = result.mutable_as<float>();
  bool finite = true;
  for (int64_t tap = 0; tap < layout.taps; ++tap, in += factors.size(), out += factors.size()) {
    for (size_t i = 0; i < factors.size(); ++i) {
      out[i] = in[i] * factors[i];
      finite &= std::abs(out[i]) <= std::numeric_limits<float>::max();
    }
  }
  if (!finite) return std::nullopt;
  return result;
}

// affine(linear(x)) → linear(x)
Result<bool> FoldIntoProducer(Rewriter& r, const Node& node) {
  std::optional<Affine> affine = MatchAffine(r, node);
  if (!affine) return false;
  const Node* found = OpenLinear(r, affine->x);
  if (!found) return false;
  const Node linear = *found;
  const Tensor* weights = WeightsOf(r, linear);
  std::optional<Vector> bias = BiasValues(r, linear);
  if (!bias || (affine->HasScale() && !weights)) return false;
  for (size_t i = 0; i < bias->size(); ++i) (*bias)[i] = (*bias)[i] * affine->scale[i] + affine->shift[i];
  std::optional<Tensor> scaled;
  if (affine->HasScale()) {
    WeightLayout layout = LayoutOf(r, linear);
    scaled = Scaled(*weights, layout, affine->scale, [&](int64_t i, int64_t j) { return layout.output(i, j); });
    if (!scaled) return false;
  }
  if (!IsFinite(*bias)) return false;
  TFE_ASSIGN_OR_RETURN(ValueId result, AddLinear(r, linear, linear.inputs[0], scaled, *bias));
  return r.Replace(node.outputs[0], result);
}

// Whether every output of the node reads the same number of inputs: then a shift of x is a shift of the result.
bool ReadsNoPadding(const Node& node) {
  if (node.op == Op::kMatMul) return true;
  if (node.op == Op::kConv2dTranspose) return false;
  Shape pads = node.attrs.Dims("pads");
  return std::all_of(pads.begin(), pads.end(), [](const Dim& d) { return d.is(0); });
}

// linear(affine(x)) → linear(x)
Result<bool> FoldIntoConsumer(Rewriter& r, const Node& linear) {
  const Node* producer = r.Producer(linear.inputs[0]);
  if (!producer || !r.SingleUse(linear.inputs[0])) return false;
  if (linear.op == Op::kMatMul && linear.attrs.Bool("transpose_a")) return false;
  std::optional<Affine> affine = MatchAffine(r, *producer);
  if (!affine) return false;
  bool shifts = affine->HasShift();
  if (shifts && !ReadsNoPadding(linear)) return false;
  const Tensor* weights = WeightsOf(r, linear);
  std::optional<Vector> bias = BiasValues(r, linear);
  if (!weights || !bias) return false;
  WeightLayout layout = LayoutOf(r, linear);
  if (layout.num_inputs() != static_cast<int64_t>(affine->scale.size())) return false;
  if (shifts) {
    std::vector<double> sums(bias->begin(), bias->end());
    const float* w = weights->as<float>();
    for (int64_t tap = 0; tap < layout.taps; ++tap)
      for (int64_t i = 0; i < layout.rows; ++i)
        for (int64_t j = 0; j < layout.columns; ++j)
          sums[layout.output(i, j)] += static_cast<double>(*w++) * affine->shift[layout.input(i, j)];
    bias->assign(sums.begin(), sums.end());
  }
  std::optional<Tensor> scaled;
  if (affine->HasScale()) {
    scaled = Scaled(*weights, layout, affine->scale, [&](int64_t i, int64_t j) { return layout.input(i, j); });
    if (!scaled) return false;
  }
  if (!IsFinite(*bias)) return false;
  TFE_ASSIGN_OR_RETURN(ValueId result, AddLinear(r, linear, affine->x, scaled, *bias));
  return r.Replace(linear.outputs[0], result);
}

Result<bool> FoldNode(Rewriter& r, int index) {
  switch (r.node(index).op) {
    case Op::kUnary:
    case Op::kBinary: return FoldIntoProducer(r, Node(r.node(index)));
    case Op::kConv2d:
    case Op::kConv2dTranspose:
    case Op::kMatMul: return FoldIntoConsumer(r, Node(r.node(index)));
    default: return false;
  }
}

}  // namespace

Result<bool> FoldScales(Network& network) { return RewriteAll(network, FoldNode); }

}  // namespace tfengine::passes
