// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"
#include "network/network.h"

namespace tfengine {

void Attrs::Set(const std::string& key, Attr value) {
  if (const auto* shape = std::get_if<Shape>(&value);
      shape && std::all_of(shape->begin(), shape->end(), [](Dim d) { return d.is_const(); })) {
    std::vector<int64_t> ints;
    for (Dim d : *shape) ints.push_back(d.value);
    value = std::move(ints);
  }
  items_[key] = std::move(value);
}

void Attrs::SetDim(const std::string& key, Dim value) {
  Set(key, value.is_const() ? Attr(value.value) : Attr(Shape{value}));
}

int64_t Attrs::Int(const std::string& key, int64_t fallback) const {
  auto it = items_.find(key);
  if (it == items_.end()) return fallback;
  const auto* v = std::get_if<int64_t>(&it->second);
  TFE_CHECK(v != nullptr);
  return *v;
}

double Attrs::Float(const std::string& key, double fallback) const {
  auto it = items_.find(key);
  if (it == items_.end()) return fallback;
  if (const auto* v = std::get_if<double>(&it->second)) return *v;
  return static_cast<double>(Int(key));
}

bool Attrs::Bool(const std::string& key, bool fallback) const {
  auto it = items_.find(key);
  if (it == items_.end()) return fallback;
  const auto* v = std::get_if<bool>(&it->second);
  TFE_CHECK(v != nullptr);
  return *v;
}

std::string Attrs::Str(const std::string& key, const std::string& fallback) const {
  auto it = items_.find(key);
  if (it == items_.end()) return fallback;
  const auto* v = std::get_if<std::string>(&it->second);
  TFE_CHECK(v != nullptr);
  return *v;
}

std::vector<int64_t> Attrs::Ints(const std::string& key) const {
  auto it = items_.find(key);
  if (it == items_.end()) return {};
  const auto* v = std::get_if<std::vector<int64_t>>(&it->second);
  TFE_CHECK(v != nullptr);
  return *v;
}

Shape Attrs::Dims(const std::string& key) const {
  auto it = items_.find(key);
  if (it == items_.end()) return {};
  if (const auto* v = std::get_if<Shape>(&it->second)) return *v;
  const std::vector<int64_t> ints = Ints(key);
  return Shape(ints.begin(), ints.end());
}

Dim Attrs::DimOf(const std::string& key) const {
  auto it = items_.find(key);
  if (it == items_.end()) return Dim(0);
  if (const auto* v = std::get_if<int64_t>(&it->second)) return Dim(*v);
  const Shape dims = Dims(key);
  TFE_CHECK(dims.size() == 1);
  return dims[0];
}

DType Attrs::Type(const std::string& key) const { return static_cast<DType>(Int(key)); }

Result<std::vector<int64_t>> EvalShape(const DimTable& dims, const Shape& shape,
                                       const std::vector<int64_t>& symbol_values) {
  std::vector<int64_t> sizes;
  sizes.reserve(shape.size());
  for (Dim d : shape) {
    TFE_ASSIGN_OR_RETURN(const int64_t size, dims.Eval(d, symbol_values));
    sizes.push_back(size);
  }
  return sizes;
}

Result<Attrs> ConcreteAttrs(const Node& node, const DimTable& dims, const std::vector<int64_t>& symbol_values) {
  Attrs attrs = node.attrs;
  for (const auto& [key, value] : node.attrs.items()) {
    const auto* shape = std::get_if<Shape>(&value);
    if (shape == nullptr) continue;
    auto sizes = EvalShape(dims, *shape, symbol_values);
    if (!sizes.ok()) return sizes.status().WithContext(fmt::format("node \"{}\", attribute {}", node.name, key));
    attrs.Set(key, Attr(std::move(sizes).value()));
  }
  return attrs;
}

}  // namespace tfengine
