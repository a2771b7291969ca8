// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/lower/product.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {
namespace {

// Two independent 64-bit hashes of the bytes, in hexadecimal.
std::string Digest(const float* v, int64_t n) {
  uint64_t a = 0xcbf29ce484222325, b = 0x9e3779b97f4a7c15;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, v + i, 4);
    a = (a ^ bits) * 0x100000001b3;
    b = (b + bits) * 0xd1342543de82ef95;
    b ^= b >> 29;
  }
  return fmt::format("{:016x}{:016x}", a, b);
}

// Whether no sum of `terms` products can give a result of 1e9 units of the output, with a bias that is known.
bool IsBounded(const TypedProduct& p, const ConcreteNode& node, int64_t channels, int64_t terms) {
  if (node.has_input(2) && !node.inputs[2].constant) return false;
  const float* bias = node.has_input(2) ? node.inputs[2].constant->as<float>() : nullptr;
  const float units = std::max(1 / p.out.scale, p.lines ? p.lines->scale : 0.0f);
  const float residual = node.has_input(3) ? 255 * p.residual.scale / p.out.scale : 0;
  for (int64_t c = 0; c < channels; ++c) {
    const float real = std::fabs((*p.scale)[c]) * static_cast<float>(terms) * 255 * 127 + (bias ? std::fabs(bias[c]) : 0);
    if (!(real * units + residual + 65536 < 0.9e9f)) return false;  // also NaN
  }
  return true;
}

}  // namespace

OutputStage TypedProduct::Stage() const {
  OutputStage stage;
  stage.scale = scale ? scale->data() : nullptr;
  stage.residual = residual;
  stage.out = out;
  stage.lines = lines.get();
  stage.bounded = bounded;
  return stage;
}

std::optional<TypedProduct> TypedProductOf(const ConcreteNode& node, int64_t channels, int64_t terms) {
  const auto formats = RealFormats(node, {0, 3});
  if (!formats || (node.has_input(2) && !IsF32(node.inputs[2]))) return std::nullopt;
  TypedProduct p;
  p.x = (*formats)[0];
  p.residual = (*formats)[1];
  p.out = (*formats)[2];
  p.type = p.x.storage == Storage::kU8 ? DotType::kInt8 : p.x.storage == Storage::kBf16 ? DotType::kBf16 : DotType::kF32;
  p.key = p.type == DotType::kBf16 ? "bf16" : "f32";
  if (p.type != DotType::kInt8) return p;
  if (terms > kMaxInt8Terms || !node.has_input(4)) return std::nullopt;
  const auto& steps = node.inputs[4].constant;
  if (!steps || steps->dtype() != DType::kFloat32 || steps->num_elements() != channels) return std::nullopt;
  p.steps = steps->as<float>();
  auto scale = std::make_shared<std::vector<float>>(p.steps, p.steps + channels);
  for (float& s : *scale) s *= p.x.scale;
  p.scale = std::move(scale);
  if (const auto activation = ActivationOf(node.attrs)) p.lines = MakeActivationLines(*activation, p.out);
  p.bounded = IsBounded(p, node, channels, terms);
  p.key = "int8 " + Digest(p.steps, channels);
  return p;
}

}  // namespace tfengine::cpu
