// SPDX-License-Identifier: Apache-2.0
#include "convert/symbolic.h"

namespace tfengine::convert {
namespace {

std::optional<Dim> Apply(DimTable& dims, const std::string& kind, Dim a, Dim b) {
  if (kind == "add") return dims.Add(a, b);
  if (kind == "sub") return dims.Sub(a, b);
  if (kind == "mul" || kind == "prod") return dims.Mul(a, b);
  if (kind == "min") return dims.Min(a, b);
  if (kind == "max") return dims.Max(a, b);
  // Divisions by what may be 0 fail in TensorFlow; only known divisors are taken.
  if (!b.is_const() || b.value == 0) return std::nullopt;
  if (kind == "floor_div") return dims.FloorDiv(a, b);
  if (kind == "floor_mod") {
    Dim rest = dims.Sub(a, dims.Mul(b, dims.FloorDiv(a, b)));
    // The normal form does not show that the rest has the sign of the divisor.
    return b.value > 0 && !dims.IsNonNegative(rest) ? dims.Max(rest, 0) : rest;
  }
  if (kind == "div" && b.value > 0 && dims.IsNonNegative(a)) return dims.FloorDiv(a, b);
  return std::nullopt;
}

bool FitsInt32(const Content& content) {
  for (Dim d : content) {
    if (d.is_const() && (d.value < INT32_MIN || d.value > INT32_MAX)) return false;
  }
  return true;
}

}  // namespace

bool IsNumeric(const Content& content) {
  for (Dim d : content) {
    if (!d.is_const()) return false;
  }
  return true;
}

std::optional<SymbolicResult> BinaryContent(Context& c, const std::string& kind) {
  const Content* a = c.content(0);
  const Content* b = c.content(1);
  if (!a || !b) return std::nullopt;
  SymbolicResult result;
  if (c.shape(0) == c.shape(1) || (b->size() == 1 && c.rank(1) <= c.rank(0))) {
    result.shape = c.shape(0);
  } else if (a->size() == 1 && c.rank(0) <= c.rank(1)) {
    result.shape = c.shape(1);
  } else {
    return std::nullopt;
  }
  size_t n = a->size() == 1 ? b->size() : a->size();
  if (b->size() == 0 || a->size() == 0) n = 0;
  for (size_t i = 0; i < n; ++i) {
    std::optional<Dim> d = Apply(c.dims(), kind, (*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
    if (!d) return std::nullopt;
    result.content.push_back(*d);
  }
  if (c.dtype() == DType::kInt32 && !FitsInt32(result.content)) return std::nullopt;
  return result;
}

std::optional<Dim> ReduceContent(Context& c, const std::string& kind) {
  const Content* content = c.content(0);
  if (!content || c.rank(0) != 1) return std::nullopt;
  if (content->empty()) {
    if (kind == "sum") return Dim(0);
    if (kind == "prod") return Dim(1);
    return std::nullopt;
  }
  Dim result = content->front();
  const std::string step = kind == "sum" ? "add" : kind;
  for (size_t i = 1; i < content->size(); ++i) {
    std::optional<Dim> next = Apply(c.dims(), step, result, (*content)[i]);
    if (!next) return std::nullopt;
    result = *next;
  }
  if (c.dtype() == DType::kInt32 && !FitsInt32({result})) return std::nullopt;
  return result;
}

}  // namespace tfengine::convert
