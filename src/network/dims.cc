// SPDX-License-Identifier: Apache-2.0
#include "network/dims.h"

#include <algorithm>
#include <numeric>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

constexpr int kSymbol = 0, kFloorDiv = 1, kMin = 2, kMax = 3;
constexpr size_t kMaxTerms = 64;
constexpr int kMaxSize = 256;

using Monomial = std::vector<int>;
using Polynomial = std::map<Monomial, int64_t>;

bool Overflowed(Dim d) { return d.is_const() && (d.value == INT64_MAX || d.value == INT64_MIN); }

int64_t FloorDivide(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return a == INT64_MIN ? DimTable::kOverflow : -a;
  int64_t q = a / b;
  return q - (a % b != 0 && (a < 0) != (b < 0));
}

Monomial Times(const Monomial& a, const Monomial& b) {
  Monomial m;
  m.reserve(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(m));
  return m;
}

// a += coefficient * m * b; false on overflow.
bool AddScaled(Polynomial* a, const Polynomial& b, int64_t coefficient, const Monomial& m) {
  for (const auto& [atoms, c] : b) {
    int64_t product;
    if (__builtin_mul_overflow(c, coefficient, &product)) return false;
    int64_t& slot = (*a)[m.empty() ? atoms : Times(atoms, m)];
    if (__builtin_add_overflow(slot, product, &slot)) return false;
  }
  std::erase_if(*a, [](const auto& term) { return term.second == 0; });
  return true;
}

// The leading term in graded lexicographic order (a monomial order, unlike the map's).
Polynomial::const_iterator Leading(const Polynomial& p) {
  return std::max_element(p.begin(), p.end(), [](const auto& x, const auto& y) {
    return x.first.size() != y.first.size() ? x.first.size() < y.first.size() : x.first < y.first;
  });
}

}  // namespace

Polynomial DimTable::ToPolynomial(Dim d) const {
  if (!d.is_const()) return polynomials_[d.expr];
  if (d.value == 0) return {};
  return {{{}, d.value}};
}

int DimTable::SizeOf(Dim d) const {
  if (d.is_const()) return 1;
  int64_t size = 0;
  for (const auto& [atoms, c] : polynomials_[d.expr]) {
    ++size;
    for (int atom : atoms) size += atom_sizes_[atom];
  }
  return static_cast<int>(std::min<int64_t>(size, kMaxSize + 1));
}

Dim DimTable::Intern(Polynomial p) {
  std::erase_if(p, [](const auto& term) { return term.second == 0; });
  if (p.empty()) return Dim(0);
  if (p.size() == 1 && p.begin()->first.empty()) return Dim(p.begin()->second);
  auto it = polynomial_index_.find(p);
  Dim d;
  if (it != polynomial_index_.end()) {
    d.expr = it->second;
    return d;
  }
  int64_t size = 0;
  for (const auto& [atoms, c] : p)
    for (int atom : atoms) size += atom_sizes_[atom];
  if (p.size() > kMaxTerms || size > kMaxSize) return Dim(kOverflow);
  d.expr = static_cast<int32_t>(polynomials_.size());
  polynomial_index_.emplace(p, d.expr);
  polynomials_.push_back(std::move(p));
  return d;
}

Dim DimTable::InternAtom(const Atom& atom) {
  auto key = std::make_tuple(atom.kind, atom.a.value, atom.a.expr, atom.b.value, atom.b.expr);
  auto it = atom_index_.find(key);
  int index;
  if (it != atom_index_.end()) {
    index = it->second;
  } else {
    int size = atom.kind == kSymbol ? 1 : SizeOf(atom.a) + SizeOf(atom.b);
    if (size > kMaxSize) return Dim(kOverflow);
    index = static_cast<int>(atoms_.size());
    atoms_.push_back(atom);
    atom_sizes_.push_back(size);
    atom_index_.emplace(key, index);
  }
  return Intern({{{index}, 1}});
}

Dim DimTable::Symbol(std::string_view name) {
  for (size_t i = 0; i < symbols_.size(); ++i)
    if (symbols_[i] == name) return InternAtom({kSymbol, Dim(static_cast<int64_t>(i)), Dim(0)});
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  TFE_CHECK(!name.empty() && letter(name[0]));
  for (char c : name) TFE_CHECK(letter(c) || (c >= '0' && c <= '9'));
  symbols_.emplace_back(name);
  return InternAtom({kSymbol, Dim(static_cast<int64_t>(symbols_.size()) - 1), Dim(0)});
}

Dim DimTable::Add(Dim a, Dim b) {
  if (Overflowed(a) || Overflowed(b)) return Dim(kOverflow);
  if (a.is(0)) return b;
  if (b.is(0)) return a;
  Polynomial sum = ToPolynomial(a);
  return AddScaled(&sum, ToPolynomial(b), 1, {}) ? Intern(std::move(sum)) : Dim(kOverflow);
}

Dim DimTable::Sub(Dim a, Dim b) {
  if (Overflowed(a) || Overflowed(b)) return Dim(kOverflow);
  if (a == b) return Dim(0);
  if (b.is(0)) return a;
  Polynomial difference = ToPolynomial(a);
  return AddScaled(&difference, ToPolynomial(b), -1, {}) ? Intern(std::move(difference)) : Dim(kOverflow);
}

Dim DimTable::Mul(Dim a, Dim b) {
  if (Overflowed(a) || Overflowed(b)) return Dim(kOverflow);
  if (a.is(1)) return b;
  if (b.is(1)) return a;
  Polynomial product;
  const Polynomial right = ToPolynomial(b);
  for (const auto& [atoms, c] : ToPolynomial(a))
    if (!AddScaled(&product, right, c, atoms)) return Dim(kOverflow);
  return Intern(std::move(product));
}

Dim DimTable::Product(const Shape& dims) {
  Dim product(1);
  for (Dim d : dims) product = Mul(product, d);
  return product;
}

// Long division; true if the remainder is 0.
bool DimTable::DividePolynomials(Polynomial a, const Polynomial& b, Polynomial* quotient) const {
  quotient->clear();
  if (b.empty()) return false;
  const auto divisor = Leading(b);
  while (!a.empty()) {
    const auto top = Leading(a);
    Monomial rest;
    if (top->second % divisor->second != 0 ||
        !std::includes(top->first.begin(), top->first.end(), divisor->first.begin(), divisor->first.end()))
      return false;
    std::set_difference(top->first.begin(), top->first.end(), divisor->first.begin(), divisor->first.end(),
                        std::back_inserter(rest));
    if (divisor->second == -1 && top->second == INT64_MIN) return false;
    const int64_t c = top->second / divisor->second;
    (*quotient)[rest] = c;
    if (c == INT64_MIN || !AddScaled(&a, b, -c, rest)) return false;
  }
  return true;
}

bool DimTable::DividesExactly(Dim a, Dim b, Dim* quotient) {
  if (Overflowed(a) || Overflowed(b)) return false;
  Polynomial q;
  if (!DividePolynomials(ToPolynomial(a), ToPolynomial(b), &q)) return false;
  *quotient = Intern(std::move(q));
  return !Overflowed(*quotient);
}

// One round of rewriting floor(numerator / divisor) + whole, divisor > 0, towards its normal form:
//   coefficients of the numerator in [0, divisor); numerator and divisor without a common factor;
//   floor((floor(x / n) + r) / d) -> floor((x + n * r) / (n * d)).
// Returns false if nothing changed. *divisor becomes 0 if a coefficient overflows.
bool DimTable::ReduceFraction(Polynomial* numerator, int64_t* divisor, Polynomial* whole) const {
  bool changed = false;
  Polynomial rest;
  int64_t common = *divisor;
  for (const auto& [atoms, c] : *numerator) {
    const int64_t q = FloorDivide(c, *divisor);
    const int64_t r = c - q * *divisor;
    if (q != 0) {
      if (__builtin_add_overflow((*whole)[atoms], q, &(*whole)[atoms])) {
        *divisor = 0;
        return false;
      }
      changed = true;
    }
    if (r == 0) continue;
    rest[atoms] = r;
    if (!atoms.empty()) common = std::gcd(common, r);
  }
  if (common > 1) {
    changed = true;
    for (auto& [atoms, c] : rest) c /= common;
    *divisor /= common;
  }
  std::erase_if(rest, [](const auto& term) { return term.second == 0; });
  *numerator = std::move(rest);

  const Polynomial::value_type* nested = nullptr;
  int candidates = 0;
  for (const auto& term : *numerator) {
    if (term.first.size() != 1 || term.second != 1) continue;
    const Atom& atom = atoms_[term.first[0]];
    if (atom.kind != kFloorDiv || !atom.b.is_const() || atom.b.value <= 0) continue;
    nested = &term;
    ++candidates;
  }
  if (candidates != 1 || *divisor == 1) return changed;
  const Atom atom = atoms_[nested->first[0]];
  Polynomial others = *numerator;
  others.erase(nested->first);
  Polynomial merged = ToPolynomial(atom.a);
  int64_t product;
  if (__builtin_mul_overflow(*divisor, atom.b.value, &product) || !AddScaled(&merged, others, atom.b.value, {}))
    return changed;
  *numerator = std::move(merged);
  *divisor = product;
  return true;
}

Dim DimTable::FloorDivByConstant(Dim a, int64_t b) {
  Polynomial numerator = ToPolynomial(a), whole;
  if (b < 0) {
    Polynomial negated;
    if (b == INT64_MIN || !AddScaled(&negated, numerator, -1, {})) return Dim(kOverflow);
    numerator = std::move(negated);
    b = -b;
  }
  while (ReduceFraction(&numerator, &b, &whole)) {
  }
  if (b == 0) return Dim(kOverflow);
  Dim fraction = Intern(std::move(numerator));
  fraction = fraction.is_const() ? Dim(0) : InternAtom({kFloorDiv, fraction, Dim(b)});
  return Add(Intern(std::move(whole)), fraction);
}

Dim DimTable::FloorDivByExpression(Dim a, Dim b) {
  Dim quotient;
  if (DividesExactly(a, b, &quotient)) return quotient;
  // By a monomial: floor((b*q + r) / b) = q + floor(r / b).
  const Polynomial divisor = ToPolynomial(b);
  Polynomial rest = ToPolynomial(a), whole;
  if (divisor.size() == 1) {
    for (const auto& [atoms, c] : ToPolynomial(a)) {
      Polynomial q;
      if (!DividePolynomials({{atoms, c}}, divisor, &q)) continue;
      rest.erase(atoms);
      whole.insert(q.begin(), q.end());
    }
  }
  return Add(Intern(std::move(whole)), InternAtom({kFloorDiv, Intern(std::move(rest)), b}));
}

Dim DimTable::FloorDiv(Dim a, Dim b) {
  if (Overflowed(a) || Overflowed(b)) return Dim(kOverflow);
  if (a.is_const() && b.is_const()) return Dim(FloorDivide(a.value, b.value));
  if (b.is(0) || a.is(0)) return Dim(0);
  return b.is_const() ? FloorDivByConstant(a, b.value) : FloorDivByExpression(a, b);
}

bool DimTable::IsNonNegative(Dim d) const {
  if (d.is_const()) return d.value >= 0;
  for (const auto& [atoms, c] : polynomials_[d.expr]) {
    if (c < 0) return false;
    for (int index : atoms) {
      const Atom& atom = atoms_[index];
      if (atom.kind == kSymbol) continue;
      const bool a = IsNonNegative(atom.a), b = IsNonNegative(atom.b);
      if (!(atom.kind == kMax ? a || b : a && b)) return false;
    }
  }
  return true;
}

Dim DimTable::MinMax(int kind, Dim a, Dim b) {
  if (a == b) return a;
  if (Overflowed(a) || Overflowed(b)) {
    if (kind == kMin && a.is(kOverflow)) return b;
    if (kind == kMin && b.is(kOverflow)) return a;
    return Dim(kOverflow);
  }
  const Dim difference = Sub(a, b);
  if (!Overflowed(difference)) {
    if (IsNonNegative(difference)) return kind == kMin ? b : a;
    if (IsNonNegative(Sub(b, a))) return kind == kMin ? a : b;
  }
  if (std::make_pair(b.expr, b.value) < std::make_pair(a.expr, a.value)) std::swap(a, b);
  return InternAtom({kind, a, b});
}

Dim DimTable::Min(Dim a, Dim b) { return MinMax(kMin, a, b); }
Dim DimTable::Max(Dim a, Dim b) { return MinMax(kMax, a, b); }

int DimTable::SymbolIndex(Dim d) const {
  if (d.is_const()) return -1;
  const Polynomial& p = polynomials_[d.expr];
  if (p.size() != 1 || p.begin()->second != 1 || p.begin()->first.size() != 1) return -1;
  const Atom& atom = atoms_[p.begin()->first[0]];
  return atom.kind == kSymbol ? static_cast<int>(atom.a.value) : -1;
}

bool DimTable::DependsOn(Dim d, int symbol) const {
  if (d.is_const()) return false;
  for (const auto& [atoms, c] : polynomials_[d.expr]) {
    for (int index : atoms) {
      const Atom& atom = atoms_[index];
      if (atom.kind == kSymbol ? atom.a.value == symbol : DependsOn(atom.a, symbol) || DependsOn(atom.b, symbol))
        return true;
    }
  }
  return false;
}

void DimTable::CollectSymbols(Dim d, std::vector<bool>* used) const {
  if (d.is_const()) return;
  for (const auto& [atoms, c] : polynomials_[d.expr]) {
    for (int index : atoms) {
      const Atom& atom = atoms_[index];
      if (atom.kind == kSymbol) {
        (*used)[atom.a.value] = true;
      } else {
        CollectSymbols(atom.a, used);
        CollectSymbols(atom.b, used);
      }
    }
  }
}

Dim DimTable::Substitute(Dim d, int symbol, Dim replacement) {
  if (!DependsOn(d, symbol)) return d;
  const Polynomial p = polynomials_[d.expr];
  Dim sum(0);
  for (const auto& [atoms, c] : p) {
    Dim product(c);
    for (int index : atoms) {
      const Atom atom = atoms_[index];
      Dim factor;
      if (atom.kind == kSymbol) {
        factor = atom.a.value == symbol ? replacement : Intern({{{index}, 1}});
      } else {
        const Dim a = Substitute(atom.a, symbol, replacement), b = Substitute(atom.b, symbol, replacement);
        factor = atom.kind == kFloorDiv ? FloorDiv(a, b) : MinMax(atom.kind, a, b);
      }
      product = Mul(product, factor);
    }
    sum = Add(sum, product);
  }
  return sum;
}

Result<int64_t> DimTable::Eval(Dim d, const std::vector<int64_t>& symbol_values) const {
  auto overflow = [&] {
    return Error(ErrorId::kShapeUnsupported, "size {} does not fit 64 bits at these input shapes; use smaller inputs",
                 ToString(d));
  };
  if (Overflowed(d)) return Error(ErrorId::kShapeUnsupported, "a size of the network exceeds 64 bits");
  if (d.is_const()) return d.value;
  int64_t sum = 0;
  for (const auto& [atoms, c] : polynomials_[d.expr]) {
    int64_t product = c;
    for (int index : atoms) {
      const Atom& atom = atoms_[index];
      int64_t factor;
      if (atom.kind == kSymbol) {
        TFE_CHECK(atom.a.value < static_cast<int64_t>(symbol_values.size()));
        factor = symbol_values[atom.a.value];
      } else {
        TFE_ASSIGN_OR_RETURN(const int64_t a, Eval(atom.a, symbol_values));
        TFE_ASSIGN_OR_RETURN(const int64_t b, Eval(atom.b, symbol_values));
        factor = atom.kind == kFloorDiv ? FloorDivide(a, b) : atom.kind == kMin ? std::min(a, b) : std::max(a, b);
      }
      if (__builtin_mul_overflow(product, factor, &product)) return overflow();
    }
    if (__builtin_add_overflow(sum, product, &sum)) return overflow();
  }
  return sum;
}

}  // namespace tfengine
