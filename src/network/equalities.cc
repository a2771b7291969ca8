// SPDX-License-Identifier: Apache-2.0
#include "network/equalities.h"

namespace tfengine {

Equalities::Equalities(DimTable* dims, const std::vector<DimConstraint>& constraints) : dims_(dims) {
  for (const DimConstraint& c : constraints) {
    const Dim a = Apply(c.a), b = Apply(c.b);
    if (a == b) continue;
    const int symbol_a = dims->SymbolIndex(a), symbol_b = dims->SymbolIndex(b);
    if (symbol_a >= 0 && !dims->DependsOn(b, symbol_a)) {
      replacements_.emplace_back(symbol_a, b);
    } else if (symbol_b >= 0 && !dims->DependsOn(a, symbol_b)) {
      replacements_.emplace_back(symbol_b, a);
    } else {
      zeros_.push_back(dims->Sub(a, b));
    }
  }
}

Dim Equalities::Apply(Dim d) {
  for (const auto& [symbol, replacement] : replacements_) d = dims_->Substitute(d, symbol, replacement);
  return d;
}

bool Equalities::Hold(Dim a, Dim b) {
  if (a == b) return true;
  a = Apply(a), b = Apply(b);
  if (a == b) return true;
  const Dim difference = dims_->Sub(a, b);
  Dim quotient;
  for (Dim zero : zeros_)
    if (dims_->DividesExactly(difference, Apply(zero), &quotient)) return true;
  return difference.is(0);
}

bool Equalities::Hold(const Shape& a, const Shape& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!Hold(a[i], b[i])) return false;
  return true;
}

}  // namespace tfengine
