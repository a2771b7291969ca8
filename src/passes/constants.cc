// SPDX-License-Identifier: Apache-2.0
#include "passes/constants.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/errors.h"

namespace tfengine::passes {
namespace {

constexpr int64_t kMaxSplatElements = 64 << 10;

float HalfToFloat(uint16_t bits) {
  uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  float magnitude;
  if (exponent == 31) magnitude = mantissa ? NAN : INFINITY;
  else if (exponent == 0) magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  else magnitude = std::ldexp(static_cast<float>(mantissa + 1024), static_cast<int>(exponent) - 25);
  return sign ? -magnitude : magnitude;
}

template <typename T>
double Load(const Tensor& t, int64_t i) { return static_cast<double>(t.as<T>()[i]); }

}  // namespace

const Tensor* ConstantOf(const Network& network, ValueId id) {
  return id == kNoValue ? nullptr : network.value(id).constant.get();
}

bool IsFloat(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 || dtype == DType::kBfloat16;
}

double ElementAt(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kFloat32: return Load<float>(t, i);
    case DType::kFloat64: return Load<double>(t, i);
    case DType::kInt32: return Load<int32_t>(t, i);
    case DType::kInt64: return Load<int64_t>(t, i);
    case DType::kInt16: return Load<int16_t>(t, i);
    case DType::kInt8: return Load<int8_t>(t, i);
    case DType::kUint8: return Load<uint8_t>(t, i);
    case DType::kUint16: return Load<uint16_t>(t, i);
    case DType::kUint32: return Load<uint32_t>(t, i);
    case DType::kUint64: return Load<uint64_t>(t, i);
    case DType::kBool: return Load<uint8_t>(t, i) != 0;
    case DType::kFloat16: return HalfToFloat(t.as<uint16_t>()[i]);
    case DType::kBfloat16: {
      uint32_t bits = static_cast<uint32_t>(t.as<uint16_t>()[i]) << 16;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    }
    default: return NAN;
  }
}

std::optional<double> SplatOf(const Network& network, ValueId id) {
  const Tensor* t = ConstantOf(network, id);
  if (!t) return std::nullopt;
  int64_t n = t->num_elements();
  if (n == 0 || n > kMaxSplatElements) return std::nullopt;
  double first = ElementAt(*t, 0);
  for (int64_t i = 1; i < n; ++i)
    if (ElementAt(*t, i) != first) return std::nullopt;
  if (std::isnan(first)) return std::nullopt;
  return first;
}

Tensor FilledTensor(DType dtype, std::vector<int64_t> shape, double value) {
  Tensor t(dtype, std::move(shape));
  int64_t n = t.num_elements();
  switch (dtype) {
    case DType::kFloat32: std::fill_n(t.mutable_as<float>(), n, static_cast<float>(value)); break;
    case DType::kFloat64: std::fill_n(t.mutable_as<double>(), n, value); break;
    case DType::kInt32: std::fill_n(t.mutable_as<int32_t>(), n, static_cast<int32_t>(value)); break;
    case DType::kInt64: std::fill_n(t.mutable_as<int64_t>(), n, static_cast<int64_t>(value)); break;
    case DType::kBool: std::fill_n(t.mutable_as<uint8_t>(), n, static_cast<uint8_t>(value != 0)); break;
    default: TFE_CHECK(value == 0); std::memset(t.mutable_data(), 0, t.num_bytes());
  }
  return t;
}

Tensor FloatTensor(std::vector<int64_t> shape, const std::vector<float>& data) {
  Tensor t(DType::kFloat32, std::move(shape));
  TFE_CHECK(t.num_elements() == static_cast<int64_t>(data.size()));
  std::copy(data.begin(), data.end(), t.mutable_as<float>());
  return t;
}

std::optional<std::vector<float>> PerChannel(const Network& network, ValueId id, const Shape& shape) {
  const Tensor* t = ConstantOf(network, id);
  if (!t || t->dtype() != DType::kFloat32 || shape.empty() || !shape.back().is_const()) return std::nullopt;
  if (t->rank() > static_cast<int>(shape.size())) return std::nullopt;
  int64_t channels = shape.back().value, n = t->num_elements();
  // Only the last axis may be longer than 1.
  if (n != 1 && (n != channels || t->shape().back() != channels)) return std::nullopt;
  std::vector<float> result(channels);
  for (int64_t c = 0; c < channels; ++c) {
    result[c] = t->as<float>()[n == 1 ? 0 : c];
    if (!std::isfinite(result[c])) return std::nullopt;
  }
  return result;
}

std::optional<std::vector<int64_t>> StaticShape(const Shape& shape) {
  std::vector<int64_t> result;
  for (const Dim& d : shape) {
    if (!d.is_const()) return std::nullopt;
    result.push_back(d.value);
  }
  return result;
}

}  // namespace tfengine::passes
