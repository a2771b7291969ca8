// SPDX-License-Identifier: Apache-2.0
#include "passes/algebra.h"

#include <algorithm>
#include <cmath>

#include "passes/constants.h"

namespace tfengine::passes {
namespace {

constexpr int kMaxDepth = 16;
constexpr int kMaxVisits = 128;  // a chain of x + x doubles them per level
constexpr size_t kMaxTerms = 16;
constexpr size_t kMaxDegree = 6;

using MaybePolynomial = std::optional<Polynomial>;

MaybePolynomial Scaled(MaybePolynomial p, double factor) {
  if (p)
    for (auto& [key, coefficient] : *p) coefficient *= factor;
  return p;
}

MaybePolynomial Sum(MaybePolynomial a, const MaybePolynomial& b) {
  if (!a || !b) return std::nullopt;
  for (const auto& [key, coefficient] : *b) {
    auto [it, inserted] = a->emplace(key, coefficient);
    if (!inserted && (it->second += coefficient) == 0) a->erase(it);
  }
  if (a->size() > kMaxTerms) return std::nullopt;
  return a;
}

MaybePolynomial Product(const MaybePolynomial& a, const MaybePolynomial& b) {
  if (!a || !b) return std::nullopt;
  MaybePolynomial result = Polynomial{};
  for (const auto& [key_a, ca] : *a) {
    for (const auto& [key_b, cb] : *b) {
      std::vector<ValueId> key(key_a);
      key.insert(key.end(), key_b.begin(), key_b.end());
      if (key.size() > kMaxDegree) return std::nullopt;
      std::sort(key.begin(), key.end());
      result = Sum(std::move(result), Polynomial{{std::move(key), ca * cb}});
      if (!result) return std::nullopt;
    }
  }
  return result;
}

class Expander {
 public:
  Expander(Rewriter& rewriter, const Expansion& expansion) : r_(rewriter), e_(expansion) {}

  MaybePolynomial Expand(ValueId id, int depth) {
    if (std::find(e_.atoms.begin(), e_.atoms.end(), id) != e_.atoms.end()) return Polynomial{{{id}, 1.0}};
    if (depth > kMaxDepth || ++visits_ > kMaxVisits || !IsFloat(r_.dtype(id))) return std::nullopt;
    if (std::optional<double> splat = SplatOf(r_.network(), id)) {
      Polynomial p;
      if (*splat != 0) p[{}] = *splat;
      return p;
    }
    if (ConstantOf(r_.network(), id))
      return e_.constants_are_atoms ? MaybePolynomial(Polynomial{{{id}, 1.0}}) : std::nullopt;
    const Node* node = r_.Producer(id);
    if (!node || HasActivation(*node)) return std::nullopt;
    if (node->op == Op::kBinary) return ExpandBinary(*node, depth);
    if (node->op == Op::kBroadcast) return Expand(node->inputs[0], depth + 1);
    if (node->op != Op::kUnary) return std::nullopt;
    UnaryKind kind = UnaryKindOf(*node);
    if (kind == UnaryKind::k_neg) return Scaled(Expand(node->inputs[0], depth + 1), -1);
    if (kind != UnaryKind::k_square) return std::nullopt;
    MaybePolynomial x = Expand(node->inputs[0], depth + 1);
    return Product(x, x);
  }

 private:
  MaybePolynomial ExpandBinary(const Node& node, int depth) {
    ValueId a = node.inputs[0], b = node.inputs[1];
    switch (BinaryKindOf(node)) {
      case BinaryKind::k_add: return Sum(Expand(a, depth + 1), Expand(b, depth + 1));
      case BinaryKind::k_sub: return Sum(Expand(a, depth + 1), Scaled(Expand(b, depth + 1), -1));
      case BinaryKind::k_mul: return Product(Expand(a, depth + 1), Expand(b, depth + 1));
      case BinaryKind::k_squared_difference: {
        MaybePolynomial d = Sum(Expand(a, depth + 1), Scaled(Expand(b, depth + 1), -1));
        return Product(d, d);
      }
      case BinaryKind::k_div: {
        std::optional<double> divisor = SplatOf(r_.network(), b);
        if (!divisor || *divisor == 0) return std::nullopt;
        return Scaled(Expand(a, depth + 1), 1 / *divisor);
      }
      case BinaryKind::k_pow: {
        std::optional<double> power = SplatOf(r_.network(), b);
        if (!power || (*power != 2 && *power != 3)) return std::nullopt;
        MaybePolynomial x = Expand(a, depth + 1), square = Product(x, x);
        return *power == 2 ? square : Product(square, x);
      }
      default: return std::nullopt;
    }
  }

  Rewriter& r_;
  const Expansion& e_;
  int visits_ = 0;
};

}  // namespace

std::optional<Polynomial> Expand(Rewriter& rewriter, ValueId id, const Expansion& expansion) {
  return Expander(rewriter, expansion).Expand(id, 0);
}

bool Close(double a, double b) { return std::abs(a - b) <= 2e-5 * std::max(std::abs(a), std::abs(b)); }

bool Close(const Polynomial& a, const Polynomial& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.first == y.first && Close(x.second, y.second); });
}

}  // namespace tfengine::passes
