// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

// Einsum of one or two operands becomes reductions, one product, and transposes where the axes are not in order.
namespace tfengine::convert {
namespace {

// An operand or the result: one label per axis. Axes under an ellipsis have the labels 256, 257 ... counted from the
// right, so that those of two operands meet as in broadcasting.
using Labels = std::vector<int>;
constexpr int kEllipsis = 256;

struct Term {
  ValueId value = kNoValue;
  Labels labels;
  bool Has(int label) const { return std::find(labels.begin(), labels.end(), label) != labels.end(); }
};

// Labels of one part of the equation; an ellipsis stands for `ellipsis_rank` axes.
Verdict ParseLabels(const std::string& text, int ellipsis_rank, Labels* labels) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '.') {
      TFE_REQUIRE(text.substr(i, 3) == "...", Reason::kAttribute, "equation: stray '.' in \"{}\"", text);
      for (int k = 0; k < ellipsis_rank; ++k) labels->push_back(kEllipsis + ellipsis_rank - 1 - k);
      i += 2;
      continue;
    }
    labels->push_back(static_cast<unsigned char>(text[i]));
  }
  Labels sorted = *labels;
  std::sort(sorted.begin(), sorted.end());
  TFE_REQUIRE(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(), Reason::kAttribute,
              "equation: a label is repeated in \"{}\"", text);
  return {};
}

// Sums the axes of `term` that no other part of the equation has.
Verdict SumAlone(Context& c, Term* term, const Labels& result, const Term* other) {
  std::vector<int64_t> axes;
  Labels kept;
  for (size_t i = 0; i < term->labels.size(); ++i) {
    int label = term->labels[i];
    bool needed = std::find(result.begin(), result.end(), label) != result.end() || (other && other->Has(label));
    if (needed) {
      kept.push_back(label);
    } else {
      axes.push_back(static_cast<int64_t>(i));
    }
  }
  if (axes.empty()) return {};
  TFE_LOWER(term->value, c.Emit(Op::kReduce, {term->value}, {{"kind", "sum"}, {"axes", axes}}));
  term->labels = std::move(kept);
  return {};
}

Verdict Reorder(Context& c, Term* term, const Labels& order) {
  std::vector<int64_t> perm;
  for (int label : order) {
    perm.push_back(std::find(term->labels.begin(), term->labels.end(), label) - term->labels.begin());
  }
  TFE_LOWER(term->value, c.Transpose(term->value, perm));
  term->labels = order;
  return {};
}

Dim SizeOf(Context& c, const Term& term, int label) {
  size_t axis = std::find(term.labels.begin(), term.labels.end(), label) - term.labels.begin();
  return c.ShapeOf(term.value)[axis];
}

Shape SizesOf(Context& c, const Term& term, const Labels& labels) {
  Shape sizes;
  for (int label : labels) sizes.push_back(SizeOf(c, term, label));
  return sizes;
}

Labels Joined(std::initializer_list<const Labels*> lists) {
  Labels all;
  for (const Labels* list : lists) all.insert(all.end(), list->begin(), list->end());
  return all;
}

// Brings `term` into the order batch, outer, inner, or batch, inner, outer (`swapped`), which the product can read too:
// the one it has already, else the one that leaves its last axis last.
Verdict Arrange(Context& c, Term* term, const Labels& batch, const Labels& outer, const Labels& inner, bool* swapped) {
  const Labels plain = Joined({&batch, &outer, &inner});
  const bool ends_in_outer =
      !term->labels.empty() && std::find(outer.begin(), outer.end(), term->labels.back()) != outer.end();
  *swapped = term->labels != plain && ends_in_outer && !inner.empty();
  return Reorder(c, term, *swapped ? Joined({&batch, &inner, &outer}) : plain);
}

// The product of a and b with the labels of the result (in some order), sums over shared labels that it lacks.
Verdict Product(Context& c, Term a, Term b, const Labels& result, Term* product) {
  Labels batch, shared, free_a, free_b;
  for (int label : result) {
    if (a.Has(label) && b.Has(label)) batch.push_back(label);
    if (a.Has(label) && !b.Has(label)) free_a.push_back(label);
    if (!a.Has(label) && b.Has(label)) free_b.push_back(label);
  }
  for (int label : a.labels) {
    if (b.Has(label) && std::find(result.begin(), result.end(), label) == result.end()) shared.push_back(label);
  }
  Dim one(1);
  // Labels shared under an ellipsis broadcast, which a sum over them would not.
  for (int label : shared) {
    Dim in_a = SizeOf(c, a, label);
    Dim in_b = SizeOf(c, b, label);
    TFE_REQUIRE(in_a == in_b || (!in_a.is(1) && !in_b.is(1)), Reason::kAttribute,
                "a summed label has sizes {} and {}", c.dims().ToString(in_a), c.dims().ToString(in_b));
  }
  if (shared.empty()) {
    // Nothing is summed: an elementwise product.
    Verdict verdict = Reorder(c, &a, Joined({&batch, &free_a}));
    if (verdict.ok()) verdict = Reorder(c, &b, Joined({&batch, &free_b}));
    if (!verdict.ok()) return verdict;
    Shape a_shape = c.ShapeOf(a.value);
    a_shape.insert(a_shape.end(), free_b.size(), one);
    Shape b_shape = c.ShapeOf(b.value);
    b_shape.insert(b_shape.begin() + static_cast<int64_t>(batch.size()), free_a.size(), one);
    TFE_LOWER(ValueId left, c.Reshape(a.value, a_shape));
    TFE_LOWER(ValueId right, c.Reshape(b.value, b_shape));
    TFE_LOWER(product->value, c.Emit(Op::kBinary, {left, right}, {{"kind", "mul"}}));
    product->labels = Joined({&batch, &free_a, &free_b});
    return {};
  }
  // a [batch, free_a, shared] * b [batch, shared, free_b], each group of labels one axis. Without batch labels the
  // free axes of a may stay apart.
  bool a_swapped, b_swapped;
  Verdict verdict = Arrange(c, &a, batch, free_a, shared, &a_swapped);
  if (verdict.ok()) verdict = Arrange(c, &b, batch, shared, free_b, &b_swapped);
  if (!verdict.ok()) return verdict;
  const Shape free_a_sizes = SizesOf(c, a, free_a);
  const Shape free_b_sizes = SizesOf(c, b, free_b);
  const Dim k = c.dims().Product(SizesOf(c, a, shared));
  const Dim m = c.dims().Product(free_a_sizes);
  const Dim n = c.dims().Product(free_b_sizes);
  auto matrix = [&](const Term& term, bool swap, Dim rows, Dim columns) {
    Shape shape = SizesOf(c, term, batch);
    shape.push_back(swap ? columns : rows);
    shape.push_back(swap ? rows : columns);
    return shape;
  };
  const bool keep_axes = batch.empty() && !a_swapped && !free_a.empty();
  Shape left_shape = keep_axes ? free_a_sizes : matrix(a, a_swapped, m, k);
  if (keep_axes) left_shape.push_back(k);
  const Dim k_of_b = c.dims().Product(SizesOf(c, b, shared));
  TFE_LOWER(ValueId left, c.Reshape(a.value, left_shape));
  TFE_LOWER(ValueId right, c.Reshape(b.value, matrix(b, b_swapped, k_of_b, n)));
  TFE_LOWER(ValueId y, c.Emit(Op::kMatMul, {left, right, kNoValue, kNoValue},
                              {{"transpose_a", a_swapped}, {"transpose_b", b_swapped}}));
  Shape split(c.ShapeOf(y).begin(), c.ShapeOf(y).begin() + static_cast<int64_t>(batch.size()));
  split.insert(split.end(), free_a_sizes.begin(), free_a_sizes.end());
  split.insert(split.end(), free_b_sizes.begin(), free_b_sizes.end());
  TFE_LOWER(product->value, c.Reshape(y, std::move(split)));
  product->labels = Joined({&batch, &free_a, &free_b});
  return {};
}

}  // namespace

Verdict ConvertEinsum(Context& c) {
  TFE_REQUIRE(c.num_inputs() == 1 || c.num_inputs() == 2, Reason::kAttribute, "expected 1 or 2 operands, got {}",
              c.num_inputs());
  for (int i = 0; i < c.num_inputs(); ++i) {
    TFE_REQUIRE(c.dtype(i) == DType::kFloat32, Reason::kDType, "expected float32, got {}", DTypeName(c.dtype(i)));
  }
  std::string equation = c.Str("equation", "");
  std::erase(equation, ' ');
  const size_t arrow = equation.find("->");
  TFE_REQUIRE(arrow != std::string::npos, Reason::kAttribute, "equation: expected \"->\" in \"{}\"", equation);
  std::vector<std::string> parts{equation.substr(0, arrow)};
  if (size_t comma = parts[0].find(','); comma != std::string::npos) {
    parts = {parts[0].substr(0, comma), parts[0].substr(comma + 1)};
  }
  const std::string result_part = equation.substr(arrow + 2);
  TFE_REQUIRE(static_cast<int>(parts.size()) == c.num_inputs(), Reason::kAttribute,
              "equation: \"{}\" does not have {} operands", equation, c.num_inputs());

  std::vector<Term> terms(parts.size());
  int widest = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    bool ellipsis = parts[i].find('.') != std::string::npos;
    int named = static_cast<int>(parts[i].size()) - (ellipsis ? 3 : 0);
    int hidden = c.rank(static_cast<int>(i)) - named;
    TFE_REQUIRE(ellipsis ? hidden >= 0 : hidden == 0, Reason::kAttribute,
                "equation: \"{}\" does not fit an operand of rank {}", parts[i], c.rank(static_cast<int>(i)));
    widest = std::max(widest, hidden);
    Verdict verdict = ParseLabels(parts[i], hidden, &terms[i].labels);
    if (!verdict.ok()) return verdict;
    terms[i].value = c.value(static_cast<int>(i));
  }
  Labels result;
  Verdict verdict = ParseLabels(result_part, widest, &result);
  if (!verdict.ok()) return verdict;
  for (int label : result) {
    bool known = terms[0].Has(label) || (terms.size() > 1 && terms[1].Has(label));
    TFE_REQUIRE(known, Reason::kAttribute, "equation: \"{}\" has a label that no operand has", result_part);
  }

  for (size_t i = 0; i < terms.size(); ++i) {
    const Term* other = terms.size() > 1 ? &terms[1 - i] : nullptr;
    verdict = SumAlone(c, &terms[i], result, other);
    if (!verdict.ok()) return verdict;
  }
  Term product = terms[0];
  if (terms.size() == 2) {
    // The operand whose own axes come first in the result goes left.
    auto first_own = [&](const Term& term, const Term& other) {
      for (size_t i = 0; i < result.size(); ++i) {
        if (term.Has(result[i]) && !other.Has(result[i])) return i;
      }
      return result.size();
    };
    bool swap = first_own(terms[1], terms[0]) < first_own(terms[0], terms[1]);
    verdict = Product(c, swap ? terms[1] : terms[0], swap ? terms[0] : terms[1], result, &product);
    if (!verdict.ok()) return verdict;
  }
  verdict = Reorder(c, &product, result);
  return verdict.ok() ? c.Set(0, product.value) : verdict;
}

}  // namespace tfengine::convert
