// SPDX-License-Identifier: Apache-2.0
#include "passes/attention.h"

#include <algorithm>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/rewriter.h"
#include "passes/shapes.h"

namespace tfengine::passes {
namespace {

constexpr double kLargestUsefulMask = -1e8;  // a select value at or below removes a score for good
constexpr double kMaskValue = -3e38;

using Perm = std::vector<int64_t>;

// What stands between the matmuls, from the softmax upwards.
struct Scores {
  ValueId product = kNoValue;  // q k'
  double scale = 1;
  ValueId mask = kNoValue;
  bool negate_mask = false;  // float masks that are subtracted
  double mask_scale = 1;     // factor of a float mask that was added before the scale
};

// A product or quotient by one number: x and the factor.
bool MatchScale(const Rewriter& r, ValueId id, ValueId* x, double* factor) {
  for (int side = 0; side < 2; ++side) {
    const Node* mul = r.Binary(id, BinaryKind::k_mul);
    if (!mul) break;
    std::optional<double> c = SplatOf(r.network(), mul->inputs[1 - side]);
    if (!c || r.shape(mul->inputs[side]) != r.shape(id)) continue;
    *x = mul->inputs[side];
    *factor = *c;
    return true;
  }
  const Node* div = r.Binary(id, BinaryKind::k_div);
  if (!div) return false;
  std::optional<double> c = SplatOf(r.network(), div->inputs[1]);
  if (!c || *c == 0 || r.shape(div->inputs[0]) != r.shape(id)) return false;
  *x = div->inputs[0];
  *factor = 1 / *c;
  return true;
}

bool MatchSelect(const Rewriter& r, ValueId id, ValueId* x, ValueId* mask) {
  const Node* select = r.Producer(id, Op::kSelect);
  if (!select) return false;
  std::optional<double> low = SplatOf(r.network(), select->inputs[2]);
  if (!low || *low > kLargestUsefulMask || r.shape(select->inputs[1]) != r.shape(id)) return false;
  *mask = select->inputs[0];
  *x = select->inputs[1];
  return true;
}

bool MatchScores(const Rewriter& r, ValueId id, Scores* s) {
  auto only_here = [&](ValueId value) { return r.SingleUse(value); };
  while (only_here(id)) {
    ValueId x;
    double factor;
    if (const Node* product = r.Producer(id, Op::kMatMul); product && IsBareMatMul(*product)) {
      s->product = id;
      return true;
    }
    if (MatchScale(r, id, &x, &factor)) {
      s->scale *= factor;
    } else if (s->mask == kNoValue && MatchSelect(r, id, &x, &s->mask)) {
      // A select in front of a scale would compare the scaled value: only the usual order is taken.
      if (s->scale != 1) return false;
    } else if (s->mask == kNoValue) {
      const Node* add = r.Binary(id, BinaryKind::k_add);
      const Node* sub = r.Binary(id, BinaryKind::k_sub);
      const Node* sum = add ? add : sub;
      if (!sum) return false;
      // The scores are the operand of full shape that comes from arithmetic; the mask is the other.
      int side = -1;
      for (int candidate = 0; candidate < (add ? 2 : 1) && side < 0; ++candidate) {
        ValueId value = sum->inputs[candidate];
        if (r.shape(value) != r.shape(id) || !only_here(value)) continue;
        Scores rest{.mask = sum->inputs[1 - candidate]};
        if (MatchScores(r, value, &rest)) side = candidate;
      }
      if (side < 0) return false;
      x = sum->inputs[side];
      s->mask = sum->inputs[1 - side];
      s->negate_mask = sub != nullptr;
      s->mask_scale = s->scale;
    } else {
      return false;
    }
    id = x;
  }
  return false;
}

// An operand seen through transposes and scales: x, so that operand = scale * transpose(x, perm).
struct Operand {
  ValueId x = kNoValue;
  Perm perm;
  double scale = 1;
};

Operand See(const Rewriter& r, ValueId id, bool swap_last_two, bool through_scales) {
  Operand o{.x = id};
  size_t rank = r.shape(id).size();
  for (size_t i = 0; i < rank; ++i) o.perm.push_back(static_cast<int64_t>(i));
  if (swap_last_two) std::swap(o.perm[rank - 1], o.perm[rank - 2]);
  for (;;) {
    double factor;
    if (const Node* transpose = r.Producer(o.x, Op::kTranspose)) {
      o.perm = Compose(transpose->attrs.Ints("perm"), o.perm);
      o.x = transpose->inputs[0];
    } else if (through_scales && MatchScale(r, o.x, &o.x, &factor)) {
      o.scale *= factor;
    } else {
      return o;
    }
  }
}

// The operand ([B,H,S,D] after its permutation, or [B,S,D]) as a value of shape [B,S,H,D].
Result<ValueId> HeadsInside(Rewriter& r, const std::string& name, const Operand& o) {
  ValueId x = o.x;
  if (o.perm.size() == 4) return r.AddTranspose(name, x, Compose(o.perm, {0, 2, 1, 3}));
  TFE_ASSIGN_OR_RETURN(x, r.AddTranspose(name, x, o.perm));
  Shape shape = r.shape(x);
  return r.AddReshape(name, x, {shape[0], shape[1], Dim(1), shape[2]});
}

Shape Permuted(const Shape& shape, const Perm& perm) {
  Shape result;
  for (int64_t axis : perm) result.push_back(shape[axis]);
  return result;
}

// The mask with four dimensions, compact; scores have shape [B,H,Sq,Sk] (or [B,Sq,Sk]).
Result<ValueId> PrepareMask(Rewriter& r, const std::string& name, const Scores& s, size_t rank) {
  ValueId mask = s.mask;
  if (const Node* broadcast = r.Producer(mask, Op::kBroadcast)) mask = broadcast->inputs[0];
  Shape shape = WithRank(r.shape(mask), rank);
  if (rank == 3) shape = {shape[0], Dim(1), shape[1], shape[2]};
  TFE_ASSIGN_OR_RETURN(mask, r.AddReshape(name + "/mask", mask, WithRank(shape, 4)));
  double factor = s.mask_scale * (s.negate_mask ? -1 : 1);
  if (r.dtype(mask) == DType::kBool || factor == 1) return mask;
  if (factor == -1) return r.AddUnary(UnaryKind::k_neg, name + "/mask", mask);
  ValueId c = r.AddConstant(name + "/mask_scale", FilledTensor(DType::kFloat32, {}, factor));
  return r.AddBinary(BinaryKind::k_mul, name + "/mask", mask, c);
}

struct Match {
  Scores scores;
  ValueId final_mask = kNoValue;  // Keras: select(mask, softmax, 0)
  Operand q, k, v;
  std::string name;
  bool result_transposed = false;  // the second matmul computed v' p'
  size_t rank = 4;
};

// `index` is the second matmul.
bool MatchAll(const Rewriter& r, const Node& node, Match* m) {
  if (!IsBareMatMul(node) || r.dtype(node.outputs[0]) != DType::kFloat32) return false;
  m->name = node.name;
  m->rank = r.shape(node.outputs[0]).size();
  if (m->rank != 3 && m->rank != 4) return false;
  bool found = false;
  for (int side = 0; side < 2 && !found; ++side) {
    // The probabilities are p (first operand, as is) or p' (second operand, transposed).
    if (node.attrs.Bool(side == 0 ? "transpose_a" : "transpose_b") != (side == 1)) continue;
    ValueId p = node.inputs[side];
    if (!r.SingleUse(p)) continue;
    if (const Node* select = r.Producer(p, Op::kSelect)) {
      if (SplatOf(r.network(), select->inputs[2]) != 0.0 || r.shape(select->inputs[1]) != r.shape(p)) continue;
      m->final_mask = select->inputs[0];
      p = select->inputs[1];
    }
    const Node* softmax = r.Producer(p, Op::kSoftmax);
    if (!softmax || !r.SingleUse(p)) continue;
    m->scores = Scores{};
    if (!MatchScores(r, softmax->inputs[0], &m->scores)) continue;
    m->result_transposed = side == 1;
    bool transpose_v = node.attrs.Bool(side == 0 ? "transpose_b" : "transpose_a");
    // v [B,H,Sk,Dv]: as second operand as is, as first operand transposed.
    m->v = See(r, node.inputs[1 - side], transpose_v != (side == 1), false);
    found = true;
  }
  if (!found) return false;
  if (m->final_mask != kNoValue && m->final_mask != m->scores.mask) return false;
  const Node& product = *r.Producer(m->scores.product);
  m->q = See(r, product.inputs[0], product.attrs.Bool("transpose_a"), true);
  m->k = See(r, product.inputs[1], !product.attrs.Bool("transpose_b"), true);
  if (m->q.perm.size() != m->rank || m->k.perm.size() != m->rank || m->v.perm.size() != m->rank) return false;
  m->scores.scale *= m->q.scale * m->k.scale;
  return true;
}

bool ShapesAgree(const Rewriter& r, const Match& m) {
  Shape q = Permuted(r.shape(m.q.x), m.q.perm), k = Permuted(r.shape(m.k.x), m.k.perm);
  Shape v = Permuted(r.shape(m.v.x), m.v.perm), scores = r.shape(m.scores.product);
  size_t n = m.rank;
  for (size_t i = 0; i + 2 < n; ++i)
    if (q[i] != k[i] || q[i] != v[i]) return false;
  if (k[n - 2] != v[n - 2] || q[n - 1] != k[n - 1]) return false;
  if (m.scores.mask == kNoValue) return true;
  return r.shape(m.scores.mask).size() <= n && BroadcastGives({scores, r.shape(m.scores.mask)}, scores);
}

Result<bool> RecognizeNode(Rewriter& r, int index) {
  if (r.node(index).op != Op::kMatMul) return false;
  const Node node = r.node(index);
  Match m;
  if (!MatchAll(r, node, &m) || !ShapesAgree(r, m)) return false;
  TFE_ASSIGN_OR_RETURN(ValueId q, HeadsInside(r, m.name + "/q", m.q));
  TFE_ASSIGN_OR_RETURN(ValueId k, HeadsInside(r, m.name + "/k", m.k));
  TFE_ASSIGN_OR_RETURN(ValueId v, HeadsInside(r, m.name + "/v", m.v));
  std::vector<ValueId> inputs{q, k, v};
  Attrs attrs{{"scale", m.scores.scale}};
  if (m.scores.mask != kNoValue) {
    TFE_ASSIGN_OR_RETURN(ValueId mask, PrepareMask(r, m.name, m.scores, m.rank));
    inputs.push_back(mask);
    if (r.dtype(mask) == DType::kBool) attrs.Set("mask_value", Attr(kMaskValue));
  }
  TFE_ASSIGN_OR_RETURN(ValueId result, r.Add(Op::kAttention, m.name, inputs, attrs));
  if (m.final_mask != kNoValue) {
    // [B,H,Sq,Sk] → any over Sk → [B,Sq,H,1]
    Attrs any{{"kind", std::string("any")}, {"axes", std::vector<int64_t>{3}}, {"keepdims", true}};
    TFE_ASSIGN_OR_RETURN(ValueId rows, r.Add(Op::kReduce, m.name + "/any", {inputs[3]}, any));
    TFE_ASSIGN_OR_RETURN(rows, r.AddTranspose(m.name + "/any", rows, {0, 2, 1, 3}));
    ValueId zero = r.AddConstant(m.name + "/zero", FilledTensor(DType::kFloat32, {}, 0));
    TFE_ASSIGN_OR_RETURN(result, r.Add(Op::kSelect, m.name, {rows, result, zero}));
  }
  if (m.rank == 4) {
    TFE_ASSIGN_OR_RETURN(result,
                         r.AddTranspose(m.name, result, m.result_transposed ? Perm{0, 2, 3, 1} : Perm{0, 2, 1, 3}));
  } else {
    Shape shape = r.shape(result);
    TFE_ASSIGN_OR_RETURN(result, r.AddReshape(m.name, result, {shape[0], shape[1], shape[3]}));
    if (m.result_transposed) {
      TFE_ASSIGN_OR_RETURN(result, r.AddTranspose(m.name, result, {0, 2, 1}));
    }
  }
  return r.Replace(node.outputs[0], result);
}

}  // namespace

Result<bool> RecognizeAttention(Network& network) { return RewriteAll(network, RecognizeNode); }

}  // namespace tfengine::passes
