// SPDX-License-Identifier: Apache-2.0
// The text form of dims. Independent of the order in which expressions were interned.
#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"
#include "network/dims.h"

namespace tfengine {

std::string DimTable::AtomToString(const Atom& atom) const {
  if (atom.kind == 0) return symbols_[atom.a.value];
  std::string a = ToString(atom.a), b = ToString(atom.b);
  if (atom.kind != 1 && b < a) std::swap(a, b);
  constexpr const char* kNames[] = {"", "floordiv", "min", "max"};
  return fmt::format("{}({},{})", kNames[atom.kind], a, b);
}

std::string DimTable::ToString(Dim d) const {
  if (d.is_const()) return std::to_string(d.value);
  struct Term {
    size_t degree;
    std::string atoms;
    int64_t coefficient;
  };
  std::vector<Term> terms;
  for (const auto& [atoms, c] : polynomials_[d.expr]) {
    std::vector<std::string> factors;
    for (int index : atoms) factors.push_back(AtomToString(atoms_[index]));
    std::sort(factors.begin(), factors.end());
    Term term{atoms.size(), "", c};
    for (const std::string& factor : factors) term.atoms += (term.atoms.empty() ? "" : "*") + factor;
    terms.push_back(std::move(term));
  }
  // Higher powers first, the constant last; a negative term leads only if all are negative.
  std::sort(terms.begin(), terms.end(), [](const Term& x, const Term& y) {
    return std::make_tuple(x.degree == 0, x.coefficient < 0, y.degree, x.atoms) <
           std::make_tuple(y.degree == 0, y.coefficient < 0, x.degree, y.atoms);
  });
  std::string text;
  for (const Term& term : terms) {
    std::string coefficient = std::to_string(term.coefficient);
    const bool negative = coefficient[0] == '-';
    if (negative) coefficient.erase(0, 1);
    text += text.empty() ? (negative ? "-" : "") : (negative ? " - " : " + ");
    if (term.degree == 0) {
      text += coefficient;
    } else {
      text += term.atoms;
      if (coefficient != "1") text += "*" + coefficient;
    }
  }
  return text;
}

// Recursive descent:  sum = [-] product {(+|-) product};  product = factor {* factor};
// factor = number | - factor | ( sum ) | symbol | function ( sum , sum ).
class DimTable::Parser {
 public:
  Parser(DimTable* table, std::string_view text) : table_(table), text_(text) {}
  std::string_view rest() const { return text_; }

  Result<Dim> Sum(int depth) {
    TFE_ASSIGN_OR_RETURN(Dim sum, ProductOf(depth));
    for (;;) {
      Skip();
      const bool minus = Peek() == '-';
      if (!minus && Peek() != '+') return sum;
      text_.remove_prefix(1);
      TFE_ASSIGN_OR_RETURN(const Dim term, ProductOf(depth));
      sum = minus ? table_->Sub(sum, term) : table_->Add(sum, term);
    }
  }

 private:
  static Status Fail(std::string_view what) {
    return Error(ErrorId::kNetworkTextInvalid, "in a dimension: {}", what);
  }
  char Peek() const { return text_.empty() ? '\0' : text_[0]; }
  void Skip() {
    while (Peek() == ' ') text_.remove_prefix(1);
  }
  bool Take(char c) {
    Skip();
    if (Peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  Result<Dim> ProductOf(int depth) {
    TFE_ASSIGN_OR_RETURN(Dim product, Factor(depth));
    while (Take('*')) {
      TFE_ASSIGN_OR_RETURN(const Dim factor, Factor(depth));
      product = table_->Mul(product, factor);
    }
    return product;
  }

  Result<Dim> Factor(int depth) {
    if (depth > 100) return Fail("nested too deeply");
    if (Take('-')) {
      TFE_ASSIGN_OR_RETURN(const Dim factor, Factor(depth + 1));
      return table_->Sub(Dim(0), factor);
    }
    if (Take('(')) {
      TFE_ASSIGN_OR_RETURN(const Dim sum, Sum(depth + 1));
      if (!Take(')')) return Fail("expected ')'");
      return sum;
    }
    const char c = Peek();
    if (c >= '0' && c <= '9') return Number();
    const std::string_view name = Identifier();
    if (name.empty()) return Fail("expected a number, a symbol or an expression");
    const int kind = name == "floordiv" ? 1 : name == "min" ? 2 : name == "max" ? 3 : 0;
    if (kind == 0 || Peek() != '(') return table_->Symbol(name);
    text_.remove_prefix(1);
    TFE_ASSIGN_OR_RETURN(const Dim a, Sum(depth + 1));
    if (!Take(',')) return Fail("expected ',' between two operands");
    TFE_ASSIGN_OR_RETURN(const Dim b, Sum(depth + 1));
    if (!Take(')')) return Fail("expected ')'");
    return kind == 1 ? table_->FloorDiv(a, b) : table_->MinMax(kind, a, b);
  }

  Result<Dim> Number() {
    int64_t value = 0;
    while (Peek() >= '0' && Peek() <= '9') {
      if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, Peek() - '0', &value))
        return Fail("number beyond 64 bits");
      text_.remove_prefix(1);
    }
    return Dim(value);
  }

  std::string_view Identifier() {
    size_t n = 0;
    while (n < text_.size() && ((text_[n] >= 'a' && text_[n] <= 'z') || text_[n] == '_' ||
                                (n > 0 && text_[n] >= '0' && text_[n] <= '9')))
      ++n;
    const std::string_view name = text_.substr(0, n);
    text_.remove_prefix(n);
    return name;
  }

  DimTable* table_;
  std::string_view text_;
};

Result<Dim> DimTable::ParsePrefix(std::string_view* text) {
  Parser parser(this, *text);
  TFE_ASSIGN_OR_RETURN(const Dim d, parser.Sum(0));
  *text = parser.rest();
  return d;
}

Result<Dim> DimTable::Parse(std::string_view text) {
  std::string_view rest = text;
  TFE_ASSIGN_OR_RETURN(const Dim d, ParsePrefix(&rest));
  while (!rest.empty() && rest[0] == ' ') rest.remove_prefix(1);
  if (!rest.empty()) return Error(ErrorId::kNetworkTextInvalid, "in a dimension: unexpected \"{}\"", rest);
  return d;
}

}  // namespace tfengine
