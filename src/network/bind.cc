// SPDX-License-Identifier: Apache-2.0
// Binding of a network's symbols to the input shapes of one run.
#include "base/errors.h"
#include "base/status_macros.h"
#include "network/network.h"

namespace tfengine {
namespace {

// Solves d == size for the one symbol of `d` that is not bound yet, if `d` is linear in it. False: cannot tell yet.
bool Solve(const DimTable& dims, Dim d, int64_t size, const std::vector<bool>& bound, std::vector<int64_t>* values,
           int* solved) {
  int symbol = -1;
  for (int s = 0; s < dims.num_symbols(); ++s) {
    if (bound[s] || !dims.DependsOn(d, s)) continue;
    if (symbol >= 0) return false;
    symbol = s;
  }
  if (symbol < 0) return false;
  // A line through two points; a third shows whether it is one.
  std::vector<int64_t> probe = *values;
  probe[symbol] = 0;
  const auto at0 = dims.Eval(d, probe);
  probe[symbol] = 1;
  const auto at1 = dims.Eval(d, probe);
  int64_t slope, rise;
  if (!at0.ok() || !at1.ok() || __builtin_sub_overflow(*at1, *at0, &slope) || slope == 0 ||
      __builtin_sub_overflow(size, *at0, &rise) || (slope == -1 && rise == INT64_MIN) || rise / slope < 0)
    return false;
  probe[symbol] = rise / slope;
  const auto check = dims.Eval(d, probe);
  if (!check.ok() || *check != size) return false;
  (*values)[symbol] = probe[symbol];
  *solved = symbol;
  return true;
}

}  // namespace

Result<std::vector<int64_t>> Network::BindSymbols(const std::vector<std::vector<int64_t>>& input_shapes) const {
  if (input_shapes.size() != inputs_.size())
    return Error(ErrorId::kInputMismatch, "expected {} inputs, got {}", inputs_.size(), input_shapes.size());
  const int n = dims_.num_symbols();
  std::vector<int64_t> values(n, 1);
  std::vector<bool> bound(n, false);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Value& input = values_[inputs_[i]];
    bool fits = input.shape.size() == input_shapes[i].size();
    for (size_t axis = 0; fits && axis < input.shape.size(); ++axis)
      fits = input_shapes[i][axis] >= 0 &&
             (!input.shape[axis].is_const() || input.shape[axis].value == input_shapes[i][axis]);
    if (!fits)
      return Error(ErrorId::kInputMismatch, "input \"{}\": expected shape {}, got {}", input.name,
                   ShapeToString(dims_, input.shape), tfengine::ShapeToString(input_shapes[i]));
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Shape& shape = values_[inputs_[i]].shape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      const int symbol = dims_.SymbolIndex(shape[axis]);
      if (symbol < 0 || bound[symbol]) continue;
      values[symbol] = input_shapes[i][axis];
      bound[symbol] = true;
    }
  }
  // Then the expressions. Each round binds at least one symbol or is the last.
  for (bool progress = n > 0; progress;) {
    progress = false;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const Shape& shape = values_[inputs_[i]].shape;
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        int solved;
        if (shape[axis].is_const() || !Solve(dims_, shape[axis], input_shapes[i][axis], bound, &values, &solved))
          continue;
        bound[solved] = true;
        progress = true;
      }
    }
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Value& input = values_[inputs_[i]];
    for (size_t axis = 0; axis < input.shape.size(); ++axis) {
      if (input.shape[axis].is_const()) continue;
      for (int s = 0; s < n; ++s)
        if (!bound[s] && dims_.DependsOn(input.shape[axis], s))
          return Error(ErrorId::kShapeUnsupported, "input \"{}\": {} cannot be derived from the input shapes",
                       input.name, dims_.symbol_name(s));
      TFE_ASSIGN_OR_RETURN(const int64_t size, dims_.Eval(input.shape[axis], values));
      if (size != input_shapes[i][axis])
        return Error(ErrorId::kInputMismatch, "input \"{}\", axis {}: expected {} = {}, got shape {}", input.name, axis,
                     dims_.ToString(input.shape[axis]), size, tfengine::ShapeToString(input_shapes[i]));
    }
  }
  for (const DimConstraint& c : constraints_) {
    TFE_ASSIGN_OR_RETURN(const int64_t a, dims_.Eval(c.a, values));
    TFE_ASSIGN_OR_RETURN(const int64_t b, dims_.Eval(c.b, values));
    if (a != b)
      return Error(ErrorId::kShapeUnsupported, "the engine assumes {} == {}, but at these input shapes they are {} and {}",
                   dims_.ToString(c.a), dims_.ToString(c.b), a, b);
  }
  return values;
}

}  // namespace tfengine
