// SPDX-License-Identifier: Apache-2.0
#include "passes/activations.h"

#include <algorithm>

#include "base/status_macros.h"
#include "passes/algebra.h"
#include "passes/constants.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

// A formula in x and t = inner(argument), both polynomials by power: argument[i] multiplies x^i, result[i][j] x^i t^j.
struct Formula {
  UnaryKind inner;
  double argument[4];
  double result[2][2];
  UnaryKind kind;
};

constexpr double kSqrtHalf = 0.70710678118654752;
constexpr double kSqrt2OverPi = 0.79788456080286536, kCubic = 0.044715 * kSqrt2OverPi;

constexpr Formula kFormulas[] = {
    {UnaryKind::k_erf, {0, kSqrtHalf, 0, 0}, {{0, 0}, {0.5, 0.5}}, UnaryKind::k_gelu_erf},
    {UnaryKind::k_erfc, {0, -kSqrtHalf, 0, 0}, {{0, 0}, {0, 0.5}}, UnaryKind::k_gelu_erf},
    {UnaryKind::k_erfc, {0, kSqrtHalf, 0, 0}, {{0, 0}, {1, -0.5}}, UnaryKind::k_gelu_erf},
    {UnaryKind::k_tanh, {0, kSqrt2OverPi, 0, kCubic}, {{0, 0}, {0.5, 0.5}}, UnaryKind::k_gelu_tanh},
    {UnaryKind::k_sigmoid, {0, 2 * kSqrt2OverPi, 0, 2 * kCubic}, {{0, 0}, {0, 1}}, UnaryKind::k_gelu_tanh},
    {UnaryKind::k_sigmoid, {0, 1, 0, 0}, {{0, 0}, {0, 1}}, UnaryKind::k_silu},
    {UnaryKind::k_relu6, {3, 1, 0, 0}, {{0, 0}, {0, 1.0 / 6}}, UnaryKind::k_hard_swish},
    {UnaryKind::k_relu6, {3, 1, 0, 0}, {{0, 1.0 / 6}, {0, 0}}, UnaryKind::k_hard_sigmoid},
    {UnaryKind::k_hard_sigmoid, {0, 1, 0, 0}, {{0, 0}, {0, 1}}, UnaryKind::k_hard_swish},
};
constexpr size_t kMaxCandidates = 16;

bool IsInner(UnaryKind kind) {
  return std::any_of(std::begin(kFormulas), std::end(kFormulas), [&](const Formula& f) { return f.inner == kind; });
}

Polynomial Argument(const Formula& f, ValueId x) {
  Polynomial p;
  for (size_t i = 0; i < 4; ++i)
    if (f.argument[i] != 0) p[std::vector<ValueId>(i, x)] = f.argument[i];
  return p;
}

Polynomial ResultOf(const Formula& f, ValueId x, ValueId t) {
  Polynomial p;
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 2; ++j) {
      std::vector<ValueId> key(i, x);
      key.insert(key.end(), j, t);
      std::sort(key.begin(), key.end());
      if (f.result[i][j] != 0) p[key] = f.result[i][j];
    }
  }
  return p;
}

// Values from which `argument` may have been computed by arithmetic, itself first.
std::vector<ValueId> Sources(const Rewriter& r, ValueId argument) {
  std::vector<ValueId> sources{argument};
  for (size_t i = 0; i < sources.size() && sources.size() < kMaxCandidates; ++i) {
    const Node* node = r.Producer(sources[i]);
    if (!node || (node->op != Op::kBinary && node->op != Op::kUnary)) continue;
    for (ValueId id : node->inputs)
      if (!ConstantOf(r.network(), id) && std::count(sources.begin(), sources.end(), id) == 0) sources.push_back(id);
  }
  return sources;
}

// Values that are computed from `t` by arithmetic, nearest first.
std::vector<ValueId> Results(const Rewriter& r, ValueId t) {
  std::vector<ValueId> results{t};
  for (size_t i = 0; i < results.size() && results.size() < kMaxCandidates; ++i) {
    for (int user : r.Users(results[i])) {
      const Node& node = r.node(user);
      if (node.op != Op::kBinary && node.op != Op::kUnary) continue;
      if (std::count(results.begin(), results.end(), node.outputs[0]) == 0) results.push_back(node.outputs[0]);
    }
  }
  results.erase(results.begin());
  return results;
}

Result<bool> RecognizeFormula(Rewriter& r, int index) {
  UnaryKind inner = UnaryKindOf(r.node(index));
  if (!IsInner(inner)) return false;
  ValueId t = r.node(index).outputs[0];
  std::vector<ValueId> results = Results(r, t);
  if (results.empty()) return false;
  for (ValueId x : Sources(r, r.node(index).inputs[0])) {
    std::optional<Polynomial> argument = Expand(r, r.node(index).inputs[0], {{x}});
    if (!argument) continue;
    // The last match takes in the most: hard_swish(x) after hard_sigmoid(x).
    const Formula* best = nullptr;
    ValueId out = kNoValue;
    for (ValueId result : results) {
      if (!r.Interchangeable(result, x)) continue;
      std::optional<Polynomial> p = Expand(r, result, {{x, t}});
      if (!p) continue;
      for (const Formula& f : kFormulas) {
        if (f.inner != inner || !Close(*argument, Argument(f, x)) || !Close(*p, ResultOf(f, x, t))) continue;
        best = &f;
        out = result;
      }
    }
    if (!best) continue;
    std::string name = r.Producer(out)->name;
    TFE_ASSIGN_OR_RETURN(ValueId fused, r.AddUnary(best->kind, name, x));
    return r.Replace(out, fused);
  }
  return false;
}

// The two sides of a binary node as (value, splat constant).
bool SplitSplat(const Rewriter& r, const Node& node, ValueId* x, double* splat) {
  for (int side = 0; side < 2; ++side) {
    std::optional<double> c = SplatOf(r.network(), node.inputs[1 - side]);
    *x = node.inputs[side];
    if (!c || ConstantOf(r.network(), *x)) continue;
    *splat = *c;
    return true;
  }
  return false;
}

Result<bool> ReplaceByClip(Rewriter& r, const Node& node, ValueId x, double low, double high) {
  UnaryKind kind = low == 0 && high == 6 ? UnaryKind::k_relu6 : UnaryKind::k_clip;
  bool clip = kind == UnaryKind::k_clip;
  TFE_ASSIGN_OR_RETURN(ValueId out, r.AddUnary(kind, node.name, x, clip ? low : 0, clip ? high : 0));
  return r.Replace(node.outputs[0], out);
}

// max(x, a x) with 0 < a < 1
Result<bool> RecognizeLeakyRelu(Rewriter& r, const Node& node) {
  for (int side = 0; side < 2; ++side) {
    ValueId x = node.inputs[side];
    std::optional<Polynomial> scaled = Expand(r, node.inputs[1 - side], {{x}});
    if (!scaled || scaled->size() != 1 || scaled->begin()->first != std::vector<ValueId>{x}) continue;
    double alpha = scaled->begin()->second;
    if (!(alpha > 0 && alpha < 1)) continue;
    TFE_ASSIGN_OR_RETURN(ValueId out, r.AddUnary(UnaryKind::k_leaky_relu, node.name, x, alpha));
    return r.Replace(node.outputs[0], out);
  }
  return false;
}

Result<bool> RecognizeMinMax(Rewriter& r, const Node& node) {
  BinaryKind kind = BinaryKindOf(node);
  if ((kind != BinaryKind::k_min && kind != BinaryKind::k_max) || HasActivation(node)) return false;
  ValueId out = node.outputs[0], x, inner_x;
  double limit, inner_limit;
  if (!IsFloat(r.dtype(out))) return false;
  bool is_min = kind == BinaryKind::k_min;
  if (!SplitSplat(r, node, &x, &limit)) return is_min ? Result<bool>(false) : RecognizeLeakyRelu(r, node);
  if (r.shape(x) != r.shape(out)) return false;
  if (const Node* relu = r.Unary(x, UnaryKind::k_relu); relu && is_min && limit >= 0)
    return ReplaceByClip(r, node, relu->inputs[0], 0, limit);
  const Node* inner = r.Binary(x, is_min ? BinaryKind::k_max : BinaryKind::k_min);
  if (inner && SplitSplat(r, *inner, &inner_x, &inner_limit) && r.shape(inner_x) == r.shape(out)) {
    double low = is_min ? inner_limit : limit, high = is_min ? limit : inner_limit;
    if (low <= high) return ReplaceByClip(r, node, inner_x, low, high);
  }
  if (is_min || limit != 0) return false;
  // min(x, b) below a max(.., 0) was tried above; what is left is a plain relu.
  TFE_ASSIGN_OR_RETURN(ValueId relu, r.AddUnary(UnaryKind::k_relu, node.name, x));
  return r.Replace(out, relu);
}

Result<bool> RecognizeNode(Rewriter& r, int index) {
  if (r.node(index).op == Op::kUnary) return RecognizeFormula(r, index);
  if (r.node(index).op == Op::kBinary) return RecognizeMinMax(r, Node(r.node(index)));
  return false;
}

}  // namespace

Result<bool> RecognizeActivations(Network& network) { return RewriteAll(network, RecognizeNode); }

}  // namespace tfengine::passes
