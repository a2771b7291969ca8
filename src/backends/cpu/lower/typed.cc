// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

bool IsTyped(const ConcreteNode& node) {
  if (node.attrs.Has("out")) return true;
  return std::any_of(node.inputs.begin(), node.inputs.end(), [](const Operand& o) { return o.quant.quantized(); });
}

namespace {

// Kernels multiply by the inverse of a scale.
constexpr float kSmallestScale = 1e-30f;

std::optional<Format> MakeFormat(DType dtype, const Quant& quant, int lo, int hi) {
  if (dtype == DType::kFloat32) return Format{};
  if (dtype == DType::kBfloat16) return Format{Storage::kBf16};
  if (dtype != DType::kUint8 || !(quant.scale >= kSmallestScale)) return std::nullopt;
  return Format{Storage::kU8, quant.scale, quant.zero, lo, hi};
}

}  // namespace

std::optional<Format> FormatOf(const Operand& o) { return MakeFormat(o.dtype, o.quant, 0, 255); }

std::optional<Format> OutFormat(const ConcreteNode& node) {
  if (!node.attrs.Has("out")) return FormatOf(node.outputs[0]);
  const OutType type = OutTypeOf(node.attrs);
  return MakeFormat(type.dtype, type.quant, type.lo, type.hi);
}

std::optional<std::vector<Format>> RealFormats(const ConcreteNode& node, std::initializer_list<size_t> operands) {
  const bool typed = IsTyped(node);
  std::vector<Format> formats;
  for (size_t i : operands) {
    formats.emplace_back();
    if (!node.has_input(i)) continue;
    const auto format = FormatOf(node.inputs[i]);
    if (!format || (!typed && format->storage != Storage::kF32)) return std::nullopt;
    formats.back() = *format;
  }
  const auto out = OutFormat(node);
  if (!out || (!typed && out->storage != Storage::kF32)) return std::nullopt;
  formats.push_back(*out);
  return formats;
}

}  // namespace tfengine::cpu
