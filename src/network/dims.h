// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tfengine/status.h"

namespace tfengine {

// One dimension of a shape: a number, or an integer expression over the symbols of a DimTable. Expressions are
// interned in a normal form, so two dims are equal for all symbol values if they compare equal (the converse does not
// hold for floor divisions).
struct Dim {
  int64_t value = 0;
  int32_t expr = -1;  // index into the DimTable; -1: the constant `value`

  Dim() = default;
  Dim(int64_t v) : value(v) {}  // NOLINT(google-explicit-constructor)
  bool is_const() const { return expr < 0; }
  bool is(int64_t v) const { return expr < 0 && value == v; }
  bool operator==(const Dim&) const = default;
};

using Shape = std::vector<Dim>;

// The expressions of one network. Normal form: a sum of coefficient * product of atoms, where an atom is a symbol or
// floordiv(a,b), min(a,b), max(a,b) of normal forms. All symbols are >= 0 when evaluated.
//
// Arithmetic never fails: a coefficient beyond int64, or an expression of more than 64 terms or 256 operands, becomes
// kOverflow, which every operation but Min keeps and Eval reports. Const methods may run concurrently.
class DimTable {
 public:
  static constexpr int64_t kOverflow = INT64_MAX;

  // The symbol of that name ([a-z_][a-z0-9_]*), created on first use. "batch" is the leading dimension of inputs.
  Dim Symbol(std::string_view name);
  Dim Add(Dim a, Dim b);
  Dim Sub(Dim a, Dim b);
  Dim Mul(Dim a, Dim b);
  // Floor division; simplified when it is exact term by term. b == 0 yields 0.
  Dim FloorDiv(Dim a, Dim b);
  Dim Min(Dim a, Dim b);
  Dim Max(Dim a, Dim b);
  Dim Product(const Shape& dims);
  // True if b divides a for all symbol values, as far as the normal form shows; *quotient = a / b.
  bool DividesExactly(Dim a, Dim b, Dim* quotient);

  int num_symbols() const { return static_cast<int>(symbols_.size()); }
  const std::string& symbol_name(int i) const { return symbols_[i]; }
  // If `d` is exactly one symbol: its number, else -1.
  int SymbolIndex(Dim d) const;
  bool DependsOn(Dim d, int symbol) const;
  // Sets used[i] (of num_symbols()) for every symbol i in `d`.
  void CollectSymbols(Dim d, std::vector<bool>* used) const;
  // Value under symbol_values[num_symbols()]. Error on overflow of int64 (kShapeUnsupported).
  Result<int64_t> Eval(Dim d, const std::vector<int64_t>& symbol_values) const;
  // Symbols, numbers, + - *, floordiv(,) min(,) max(,): "batch*128", "floordiv(h + 1,2)".
  std::string ToString(Dim d) const;
  Result<Dim> Parse(std::string_view text);
  // Parses the longest expression at the front of `text` and removes it. Errors (kNetworkTextInvalid) name no line.
  Result<Dim> ParsePrefix(std::string_view* text);
  // `d` with every occurrence of a symbol replaced.
  Dim Substitute(Dim d, int symbol, Dim replacement);
  // True if `d` is >= 0 for all symbol values, as far as signs of coefficients show.
  bool IsNonNegative(Dim d) const;

 private:
  struct Atom {
    int kind;  // 0 symbol (a.value = index), 1 floordiv, 2 min, 3 max
    Dim a, b;
  };
  class Parser;
  // Sorted atom indices (with repetition for powers) -> coefficient; the empty product is the constant term.
  using Polynomial = std::map<std::vector<int>, int64_t>;

  Polynomial ToPolynomial(Dim d) const;
  Dim Intern(Polynomial p);
  Dim InternAtom(const Atom& atom);
  int SizeOf(Dim d) const;
  bool DividePolynomials(Polynomial a, const Polynomial& b, Polynomial* quotient) const;
  bool ReduceFraction(Polynomial* numerator, int64_t* divisor, Polynomial* whole) const;
  Dim FloorDivByConstant(Dim a, int64_t b);
  Dim FloorDivByExpression(Dim a, Dim b);
  Dim MinMax(int kind, Dim a, Dim b);
  std::string AtomToString(const Atom& atom) const;

  std::vector<std::string> symbols_;
  std::vector<Atom> atoms_;
  std::vector<int> atom_sizes_;  // operands in its text
  std::vector<Polynomial> polynomials_;
  std::map<std::tuple<int, int64_t, int32_t, int64_t, int32_t>, int> atom_index_;
  std::map<Polynomial, int> polynomial_index_;
};

}  // namespace tfengine
