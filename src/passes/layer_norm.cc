// SPDX-License-Identifier: Apache-2.0
#include "passes/layer_norm.h"

#include <algorithm>

#include "base/status_macros.h"
#include "passes/algebra.h"
#include "passes/constants.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

constexpr size_t kMaxResults = 24;

// mean(x) over the last axis with keepdims: the node, or null.
const Node* LastAxisMean(const Rewriter& r, ValueId id) {
  const Node* node = r.Producer(id, Op::kReduce);
  if (!node || node->attrs.Str("kind") != "mean" || !node->attrs.Bool("keepdims")) return nullptr;
  int64_t last = static_cast<int64_t>(r.shape(node->inputs[0]).size()) - 1;
  return node->attrs.Ints("axes") == std::vector<int64_t>{last} ? node : nullptr;
}

struct Moments {
  ValueId x = kNoValue, mean = kNoValue;
  double epsilon = 0;
};

// Values that occur in the formula of `id`, itself first.
std::vector<ValueId> Operands(const Rewriter& r, ValueId id) {
  std::vector<ValueId> values{id};
  for (size_t i = 0; i < values.size() && values.size() < 12; ++i) {
    const Node* node = r.Producer(values[i]);
    if (!node || (node->op != Op::kBinary && node->op != Op::kUnary)) continue;
    for (ValueId input : node->inputs)
      if (std::count(values.begin(), values.end(), input) == 0) values.push_back(input);
  }
  return values;
}

// Whether `square` is (x - mean)² for a mean of x.
bool MatchCentredSquare(Rewriter& r, ValueId square, Moments* moments) {
  std::vector<ValueId> operands = Operands(r, square);
  for (ValueId mean : operands) {
    const Node* node = LastAxisMean(r, mean);
    if (!node) continue;
    ValueId x = node->inputs[0];
    std::optional<Polynomial> p = Expand(r, square, {{x, mean}});
    std::vector<ValueId> cross{std::min(x, mean), std::max(x, mean)};
    if (!p || !Close(*p, {{{x, x}, 1.0}, {{mean, mean}, 1.0}, {cross, -2.0}})) continue;
    moments->x = x;
    moments->mean = mean;
    return true;
  }
  return false;
}

// variance + epsilon, in either form.
bool MatchVariance(Rewriter& r, ValueId sum, Moments* moments) {
  std::vector<ValueId> means;
  for (ValueId id : Operands(r, sum))
    if (LastAxisMean(r, id)) means.push_back(id);
  for (ValueId outer : means) {
    ValueId square = LastAxisMean(r, outer)->inputs[0];
    std::optional<Polynomial> p = Expand(r, sum, {means});
    if (!p) return false;
    double epsilon = p->count({}) ? p->at({}) : 0;
    p->erase(std::vector<ValueId>{});
    if (epsilon < 0) return false;
    moments->epsilon = epsilon;
    if (Close(*p, {{{outer}, 1.0}}) && MatchCentredSquare(r, square, moments)) return true;
    // mean(x²) - mean(x)²
    for (ValueId mean : means) {
      ValueId x = LastAxisMean(r, mean)->inputs[0];
      if (mean == outer || !Close(*p, {{{outer}, 1.0}, {{mean, mean}, -1.0}})) continue;
      std::optional<Polynomial> x_squared = Expand(r, square, {{x}});
      if (!x_squared || !Close(*x_squared, {{{x, x}, 1.0}})) continue;
      moments->x = x;
      moments->mean = mean;
      return true;
    }
  }
  return false;
}

std::vector<ValueId> Results(const Rewriter& r, ValueId from) {
  std::vector<ValueId> results{from};
  for (size_t i = 0; i < results.size() && results.size() < kMaxResults; ++i) {
    for (int user : r.Users(results[i])) {
      const Node& node = r.node(user);
      if ((node.op != Op::kBinary && node.op != Op::kBroadcast) || HasActivation(node)) continue;
      if (std::count(results.begin(), results.end(), node.outputs[0]) == 0) results.push_back(node.outputs[0]);
    }
  }
  return results;
}

using Vector = std::vector<float>;

// coefficient * the product of the constants in `term` after removing `variables` once each (in order), as a vector
// over the channels of `shape`.
std::optional<Vector> Coefficient(Rewriter& r, std::vector<ValueId> term, double coefficient,
                                  const std::vector<ValueId>& variables, const Shape& shape) {
  for (ValueId variable : variables) {
    auto it = std::find(term.begin(), term.end(), variable);
    if (it == term.end()) return std::nullopt;
    term.erase(it);
  }
  Vector product(shape.back().value, static_cast<float>(coefficient));
  for (ValueId id : term) {
    std::optional<Vector> factor = PerChannel(r.network(), id, shape);
    if (!factor) return std::nullopt;
    for (size_t c = 0; c < product.size(); ++c) product[c] *= (*factor)[c];
  }
  return product;
}

struct Affine {
  Vector gamma, beta;
};

// p = gamma x i - gamma m i + beta?
std::optional<Affine> MatchAffine(Rewriter& r, const Polynomial& p, const Moments& m, ValueId inverse,
                                  const Shape& shape) {
  Affine affine{{}, Vector(shape.back().value, 0)};
  Vector minus_gamma;
  for (const auto& [term, coefficient] : p) {
    if (std::optional<Vector> g = Coefficient(r, term, coefficient, {m.x, inverse}, shape)) {
      if (!affine.gamma.empty()) return std::nullopt;
      affine.gamma = *g;
    } else if (std::optional<Vector> h = Coefficient(r, term, coefficient, {m.mean, inverse}, shape)) {
      if (!minus_gamma.empty()) return std::nullopt;
      minus_gamma = *h;
    } else if (std::optional<Vector> b = Coefficient(r, term, coefficient, {}, shape)) {
      for (size_t c = 0; c < b->size(); ++c) affine.beta[c] += (*b)[c];
    } else {
      return std::nullopt;
    }
  }
  if (affine.gamma.empty() || minus_gamma.empty()) return std::nullopt;
  for (size_t c = 0; c < minus_gamma.size(); ++c)
    if (affine.gamma[c] != -minus_gamma[c]) return std::nullopt;
  return affine;
}

ValueId VectorConstant(Rewriter& r, const std::string& name, const Vector& v, float neutral) {
  if (std::all_of(v.begin(), v.end(), [&](float x) { return x == neutral; })) return kNoValue;
  return r.AddConstant(name, FloatTensor({static_cast<int64_t>(v.size())}, v));
}

Result<ValueId> AddLayerNorm(Rewriter& r, const std::string& name, ValueId x, const Affine& affine, double epsilon,
                             ValueId residual = kNoValue) {
  std::vector<ValueId> inputs{x, VectorConstant(r, name + "/gamma", affine.gamma, 1),
                              VectorConstant(r, name + "/beta", affine.beta, 0), residual};
  while (inputs.back() == kNoValue) inputs.pop_back();
  return r.Add(Op::kLayerNorm, name, std::move(inputs), {{"epsilon", epsilon}});
}

// From the node that computes 1 / sqrt(v + eps).
Result<bool> Recognize(Rewriter& r, const Node& node) {
  Moments moments;
  ValueId inverse = node.outputs[0];
  if (r.dtype(inverse) != DType::kFloat32 || !MatchVariance(r, node.inputs[0], &moments)) return false;
  const Shape shape = r.shape(moments.x);
  if (!shape.back().is_const()) return false;
  // The nearest result is taken: gamma and beta that follow are absorbed later, if nothing else reads it.
  for (ValueId result : Results(r, inverse)) {
    if (!r.Interchangeable(result, moments.x)) continue;
    std::optional<Polynomial> p = Expand(r, result, {{moments.x, moments.mean, inverse}, true});
    if (!p) continue;
    std::optional<Affine> affine = MatchAffine(r, *p, moments, inverse, shape);
    if (!affine) continue;
    std::string name = r.Producer(result)->name;
    TFE_ASSIGN_OR_RETURN(ValueId norm, AddLayerNorm(r, name, moments.x, *affine, moments.epsilon));
    return r.Replace(result, norm);
  }
  return false;
}

// layer_norm(x) * c, + c, - c
Result<bool> Absorb(Rewriter& r, const Node& node) {
  BinaryKind kind = BinaryKindOf(node);
  if (HasActivation(node)) return false;
  for (int side = 0; side < 2; ++side) {
    ValueId value = node.inputs[side];
    const Node* norm = r.Producer(value, Op::kLayerNorm);
    if (!norm || !r.SingleUse(value)) continue;
    const Shape shape = r.shape(value);
    std::optional<Vector> c = PerChannel(r.network(), node.inputs[1 - side], shape);
    if (!c) continue;
    auto parameter = [&](size_t slot, float fallback) -> std::optional<Vector> {
      ValueId id = InputOr(*norm, slot);
      if (id == kNoValue) return Vector(shape.back().value, fallback);
      return PerChannel(r.network(), id, shape);
    };
    std::optional<Vector> gamma = parameter(1, 1), beta = parameter(2, 0);
    if (!gamma || !beta) continue;
    for (size_t i = 0; i < c->size(); ++i) {
      if (kind == BinaryKind::k_mul) {
        (*gamma)[i] *= (*c)[i];
        (*beta)[i] *= (*c)[i];
      } else if (kind == BinaryKind::k_add) {
        (*beta)[i] += (*c)[i];
      } else if (kind == BinaryKind::k_sub && side == 0) {
        (*beta)[i] -= (*c)[i];
      } else {
        return false;
      }
    }
    double epsilon = norm->attrs.Float("epsilon");
    ValueId x = norm->inputs[0], residual = InputOr(*norm, 3);
    if (!r.Interchangeable(node.outputs[0], value)) return false;
    TFE_ASSIGN_OR_RETURN(ValueId result, AddLayerNorm(r, node.name, x, {*gamma, *beta}, epsilon, residual));
    return r.Replace(node.outputs[0], result);
  }
  return false;
}

Result<bool> RecognizeNode(Rewriter& r, int index) {
  if (r.node(index).op == Op::kBinary) return Absorb(r, Node(r.node(index)));
  if (r.node(index).op == Op::kUnary && UnaryKindOf(r.node(index)) == UnaryKind::k_rsqrt)
    return Recognize(r, Node(r.node(index)));
  return false;
}

}  // namespace

Result<bool> RecognizeLayerNorm(Network& network) { return RewriteAll(network, RecognizeNode); }

}  // namespace tfengine::passes
