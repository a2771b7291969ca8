// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tfengine/export.h"

namespace tfengine {

// Element types. The numbers are those of tensorflow::DataType, so that they pass through unchanged.
enum class DType : int {
  kInvalid = 0,
  kFloat32 = 1,
  kFloat64 = 2,
  kInt32 = 3,
  kUint8 = 4,
  kInt16 = 5,
  kInt8 = 6,
  kString = 7,
  kComplex64 = 8,
  kInt64 = 9,
  kBool = 10,
  kBfloat16 = 14,
  kUint16 = 17,
  kComplex128 = 18,
  kFloat16 = 19,
  kResource = 20,
  kVariant = 21,
  kUint32 = 22,
  kUint64 = 23,
  kFloat8E4m3 = 25,  // finite, no infinities; inside engines only
};

// Bytes per element; 0 for types without a fixed size (string, resource, variant, invalid).
TFENGINE_API size_t DTypeSize(DType dtype);
// TensorFlow's lower-case name: "float32", "int64", "bool", ...
TFENGINE_API const char* DTypeName(DType dtype);
// Inverse of DTypeName; kInvalid if unknown.
TFENGINE_API DType DTypeFromName(const std::string& name);

// A dense, row-major host tensor. Copies share the buffer.
class TFENGINE_API Tensor {
 public:
  Tensor() = default;
  // Allocates an uninitialised, 64-byte aligned buffer. `dtype` must have a fixed size.
  Tensor(DType dtype, std::vector<int64_t> shape);
  // Views memory owned by `owner` (a file mapping, a caller's array).
  Tensor(DType dtype, std::vector<int64_t> shape, const void* data, std::shared_ptr<const void> owner);

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t num_elements() const;
  size_t num_bytes() const { return static_cast<size_t>(num_elements()) * DTypeSize(dtype_); }
  const void* data() const { return data_; }
  // Only for tensors that were allocated by the first constructor.
  void* mutable_data() { return const_cast<void*>(data_); }
  template <typename T>
  const T* as() const { return static_cast<const T*>(data_); }
  template <typename T>
  T* mutable_as() { return static_cast<T*>(mutable_data()); }
  // The same buffer under another shape with the same number of elements.
  Tensor Reshaped(std::vector<int64_t> shape) const;

 private:
  DType dtype_ = DType::kInvalid;
  std::vector<int64_t> shape_;
  const void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

// "[1,224,224,3]"
TFENGINE_API std::string ShapeToString(const std::vector<int64_t>& shape);

}  // namespace tfengine
