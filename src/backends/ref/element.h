// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "base/errors.h"
#include "base/float8.h"
#include "tfengine/types.h"

// Elements of every dtype as one of three wide types: double for floating point, int64_t for signed, uint64_t for
// unsigned integers and bool. Writing back rounds half to even, or wraps around.
namespace tfengine::ref {

float HalfToFloat(uint16_t bits);
uint16_t FloatToHalf(float value);
float Bfloat16ToFloat(uint16_t bits);
uint16_t FloatToBfloat16(float value);

struct Half {
  uint16_t bits;
  explicit operator double() const { return HalfToFloat(bits); }
  static Half From(double v) { return {FloatToHalf(static_cast<float>(v))}; }
};
struct Bfloat16 {
  uint16_t bits;
  explicit operator double() const { return Bfloat16ToFloat(bits); }
  static Bfloat16 From(double v) { return {FloatToBfloat16(static_cast<float>(v))}; }
};
// In units of the tensor's scale.
struct Float8 {
  uint8_t bits;
  explicit operator double() const { return E4m3ToFloat(bits); }
  static Float8 From(double v) { return {FloatToE4m3(static_cast<float>(v))}; }
};

// Calls fn(T()) with the element type of `dtype`.
template <typename F>
auto WithElementType(DType dtype, F&& fn) {
  switch (dtype) {
    case DType::kFloat32: return fn(float());
    case DType::kFloat64: return fn(double());
    case DType::kFloat16: return fn(Half());
    case DType::kBfloat16: return fn(Bfloat16());
    case DType::kFloat8E4m3: return fn(Float8());
    case DType::kInt8: return fn(int8_t());
    case DType::kInt16: return fn(int16_t());
    case DType::kInt32: return fn(int32_t());
    case DType::kInt64: return fn(int64_t());
    case DType::kUint8: return fn(uint8_t());
    case DType::kUint16: return fn(uint16_t());
    case DType::kUint32: return fn(uint32_t());
    case DType::kUint64: return fn(uint64_t());
    default: TFE_CHECK(dtype == DType::kBool); return fn(bool());
  }
}

// Calls fn(W()) with the wide type of `dtype`.
template <typename F>
auto WithWideType(DType dtype, F&& fn) {
  switch (dtype) {
    case DType::kFloat32: case DType::kFloat64: case DType::kFloat16: case DType::kBfloat16: case DType::kFloat8E4m3: return fn(double());
    case DType::kInt8: case DType::kInt16: case DType::kInt32: case DType::kInt64: return fn(int64_t());
    default: return fn(uint64_t());
  }
}

// The elements of `t`, whose wide type must be W.
template <typename W>
std::vector<W> Read(const Tensor& t) {
  std::vector<W> wide(static_cast<size_t>(t.num_elements()));
  WithElementType(t.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if constexpr (std::is_convertible_v<T, W> || std::is_same_v<W, double>)
      for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<W>(t.as<T>()[i]);
  });
  return wide;
}

template <typename T, typename W>
T Narrow(W v) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bfloat16> || std::is_same_v<T, Float8>) {
    return T::From(static_cast<double>(v));
  } else if constexpr (std::is_same_v<T, bool>) {
    return v != 0;
  } else {
    return static_cast<T>(v);
  }
}

template <typename W>
void Write(const std::vector<W>& wide, Tensor* t) {
  WithElementType(t->dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* out = t->mutable_as<T>();
    for (size_t i = 0; i < wide.size(); ++i) out[i] = Narrow<T>(wide[i]);
  });
}

// Sums and products that wrap around for integers.
template <typename W>
W Plus(W a, W b) {
  if constexpr (std::is_same_v<W, double>) return a + b;
  else return static_cast<W>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
template <typename W>
W Minus(W a, W b) {
  if constexpr (std::is_same_v<W, double>) return a - b;
  else return static_cast<W>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
template <typename W>
W TimesOf(W a, W b) {
  if constexpr (std::is_same_v<W, double>) return a * b;
  else return static_cast<W>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// Row-major strides in elements.
std::vector<int64_t> StridesOf(const std::vector<int64_t>& shape);
// The strides with which a tensor of `shape` is read when broadcast to `target`: 0 along repeated axes.
std::vector<int64_t> BroadcastStrides(const std::vector<int64_t>& shape, const std::vector<int64_t>& target);

// Calls fn(index) for every index of `shape` in row-major order.
template <typename F>
void ForEachIndex(const std::vector<int64_t>& shape, F&& fn) {
  for (int64_t d : shape)
    if (d == 0) return;
  std::vector<int64_t> index(shape.size(), 0);
  for (;;) {
    fn(static_cast<const std::vector<int64_t>&>(index));
    size_t axis = shape.size();
    while (axis > 0 && ++index[axis - 1] == shape[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

inline int64_t Offset(const std::vector<int64_t>& index, const std::vector<int64_t>& strides) {
  int64_t offset = 0;
  for (size_t i = 0; i < index.size(); ++i) offset += index[i] * strides[i];
  return offset;
}

// A shape around an axis: outer * size * inner elements.
struct AxisSplit {
  int64_t outer = 1, size = 1, inner = 1;
};
AxisSplit SplitAt(const std::vector<int64_t>& shape, int64_t axis);

}  // namespace tfengine::ref
