// SPDX-License-Identifier: Apache-2.0
#include "tfengine/types.h"

#include <cstdlib>
#include <new>

namespace tfengine {
namespace {

struct DTypeRow {
  DType dtype;
  size_t size;
  const char* name;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kFloat32, 4, "float32"},   {DType::kFloat64, 8, "float64"},
    {DType::kInt32, 4, "int32"},       {DType::kUint8, 1, "uint8"},
    {DType::kInt16, 2, "int16"},       {DType::kInt8, 1, "int8"},
    {DType::kString, 0, "string"},     {DType::kComplex64, 8, "complex64"},
    {DType::kInt64, 8, "int64"},       {DType::kBool, 1, "bool"},
    {DType::kBfloat16, 2, "bfloat16"}, {DType::kUint16, 2, "uint16"},
    {DType::kComplex128, 16, "complex128"}, {DType::kFloat16, 2, "float16"},
    {DType::kResource, 0, "resource"}, {DType::kVariant, 0, "variant"},
    {DType::kUint32, 4, "uint32"},     {DType::kUint64, 8, "uint64"},
    {DType::kFloat8E4m3, 1, "float8_e4m3fn"},
};

}  // namespace

size_t DTypeSize(DType dtype) {
  for (const auto& row : kDTypes)
    if (row.dtype == dtype) return row.size;
  return 0;
}

const char* DTypeName(DType dtype) {
  for (const auto& row : kDTypes)
    if (row.dtype == dtype) return row.name;
  return "invalid";
}

DType DTypeFromName(const std::string& name) {
  for (const auto& row : kDTypes)
    if (name == row.name) return row.dtype;
  return DType::kInvalid;
}

Tensor::Tensor(DType dtype, std::vector<int64_t> shape) : dtype_(dtype), shape_(std::move(shape)) {
  // Rounded up so that vector kernels may load a full register at the end.
  size_t bytes = (num_bytes() + 127) / 64 * 64;
  void* p = std::aligned_alloc(64, bytes);
  if (p == nullptr) throw std::bad_alloc();
  owner_ = std::shared_ptr<const void>(p, [](const void* q) { std::free(const_cast<void*>(q)); });
  data_ = p;
}

Tensor::Tensor(DType dtype, std::vector<int64_t> shape, const void* data, std::shared_ptr<const void> owner)
    : dtype_(dtype), shape_(std::move(shape)), data_(data), owner_(std::move(owner)) {}

int64_t Tensor::num_elements() const {
  int64_t n = 1;
  for (int64_t d : shape_) n *= d;
  return n;
}

Tensor Tensor::Reshaped(std::vector<int64_t> shape) const {
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

std::string ShapeToString(const std::vector<int64_t>& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? "," : "") + std::to_string(shape[i]);
  return s + "]";
}

}  // namespace tfengine
