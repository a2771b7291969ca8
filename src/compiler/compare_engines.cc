// SPDX-License-Identifier: Apache-2.0
#include "compiler/compare_engines.h"

#include <cstring>

#include "base/float8.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

template <typename T>
void Widen(const void* data, int64_t n, std::vector<float>* out) {
  const auto* values = static_cast<const T*>(data);
  for (int64_t i = 0; i < n; ++i) (*out)[i] = static_cast<float>(values[i]);
}

int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

}  // namespace

bool ToReals(DType dtype, const Quant& quant, const void* data, int64_t n, std::vector<float>* out) {
  out->resize(static_cast<size_t>(n));
  if (dtype == DType::kFloat8E4m3) {
    const auto* codes = static_cast<const uint8_t*>(data);
    for (int64_t i = 0; i < n; ++i) (*out)[i] = quant.scale * E4m3ToFloat(codes[i]);
    return true;
  }
  if (quant.quantized()) {
    const auto* codes = static_cast<const uint8_t*>(data);
    for (int64_t i = 0; i < n; ++i) (*out)[i] = quant.scale * static_cast<float>(codes[i] - quant.zero);
    return true;
  }
  switch (dtype) {
    case DType::kFloat32:
      std::memcpy(out->data(), data, static_cast<size_t>(n) * 4);
      return true;
    case DType::kBfloat16: {
      const auto* bits = static_cast<const uint16_t*>(data);
      for (int64_t i = 0; i < n; ++i) {
        const uint32_t wide = static_cast<uint32_t>(bits[i]) << 16;
        std::memcpy(&(*out)[i], &wide, 4);
      }
      return true;
    }
    case DType::kFloat16:
      Widen<_Float16>(data, n, out);
      return true;
    case DType::kFloat64:
      Widen<double>(data, n, out);
      return true;
    default:
      return false;
  }
}

int64_t RowOf(const std::vector<int64_t>& shape) { return shape.size() > 1 && shape.back() > 1 ? shape.back() : 0; }

Status EngineComparison::Record(EngineBase& reference, const std::vector<InputView>& inputs, std::vector<Tensor>* outputs) {
  recorded_.clear();
  return reference.Observe(inputs, [&](const Value& value, const std::vector<int64_t>& shape, const void* data) {
    std::vector<float> reals;
    if (ToReals(value.dtype, value.quant, data, Elements(shape), &reals)) recorded_[value.name] = std::move(reals);
  }, outputs);
}

Status EngineComparison::Compare(EngineBase& candidate, const std::vector<InputView>& inputs, std::vector<Tensor>* outputs) {
  std::vector<float> got;
  TFE_RETURN_IF_ERROR(candidate.Observe(inputs, [&](const Value& value, const std::vector<int64_t>& shape, const void* data) {
    const auto want = recorded_.find(value.name);
    const int64_t n = Elements(shape);
    if (want == recorded_.end() || static_cast<int64_t>(want->second.size()) != n) return;
    if (ToReals(value.dtype, value.quant, data, n, &got))
      compared_[value.name].Add(want->second.data(), got.data(), n, RowOf(shape));
  }, outputs));
  recorded_.clear();
  return OkStatus();
}

const quant::Comparison* EngineComparison::Find(const std::string& value) const {
  const auto found = compared_.find(value);
  return found == compared_.end() ? nullptr : &found->second;
}

}  // namespace tfengine
