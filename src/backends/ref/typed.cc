// SPDX-License-Identifier: Apache-2.0
// Typed nodes (network/ops.inc): operands to f32, the f32 op, one rounding of the result.
#include <algorithm>
#include <cmath>

#include "backends/ref/element.h"
#include "backends/ref/ops.h"
#include "base/status_macros.h"

namespace tfengine::ref {
namespace {

uint8_t CodeOf(double real, const OutType& type) {
  if (std::isnan(real)) return static_cast<uint8_t>(type.quant.zero);
  const double code = std::nearbyint(real / static_cast<double>(type.quant.scale)) + type.quant.zero;
  return static_cast<uint8_t>(std::clamp<double>(code, type.lo, type.hi));
}

Tensor ToF32(const Tensor& t, const Quant& quant) {
  if (!quant.quantized() && t.dtype() != DType::kBfloat16 && t.dtype() != DType::kFloat16) return t;
  Tensor real(DType::kFloat32, t.shape());
  float* to = real.mutable_as<float>();
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    if (t.dtype() == DType::kFloat8E4m3) {
      to[i] = quant.scale * E4m3ToFloat(t.as<uint8_t>()[i]);
    } else if (quant.quantized()) {
      to[i] = quant.scale * static_cast<float>(t.as<uint8_t>()[i] - quant.zero);
    } else {
      const uint16_t bits = t.as<uint16_t>()[i];
      to[i] = t.dtype() == DType::kBfloat16 ? Bfloat16ToFloat(bits) : HalfToFloat(bits);
    }
  }
  return real;
}

// The weights of a product, rounded to what the type of its first input allows. Channels of a filter are its last axis.
Tensor RoundWeights(const Tensor& w, DType type, const Tensor* steps, bool channels_first) {
  Tensor rounded(DType::kFloat32, w.shape());
  const int64_t columns = w.shape().back();
  const int64_t rows = w.rank() > 1 ? w.shape()[w.rank() - 2] : 1;
  for (int64_t i = 0; i < w.num_elements(); ++i) {
    const float v = w.as<float>()[i];
    float& to = rounded.mutable_as<float>()[i];
    if (steps != nullptr) {
      const float step = steps->as<float>()[channels_first ? i / columns % rows : i % columns];
      to = step * (type == DType::kFloat8E4m3 ? E4m3ToFloat(FloatToE4m3(v / step)) : std::clamp(std::nearbyint(v / step), -127.0f, 127.0f));
    } else {
      to = type == DType::kBfloat16 ? Bfloat16ToFloat(FloatToBfloat16(v)) : HalfToFloat(FloatToHalf(v));
    }
  }
  return rounded;
}

}  // namespace

bool IsTyped(const Call& c, const std::vector<Quant>& quants) {
  return c.attrs.Has("out") || std::any_of(quants.begin(), quants.end(), [](const Quant& q) { return q.quantized(); });
}

Status RunTyped(Routine routine, const Call& c, const std::vector<Quant>& quants) {
  auto quant_of = [&](size_t i) { return i < quants.size() ? quants[i] : Quant(); };
  Attrs attrs = c.attrs;
  if (MovesElements(c.op, c.attrs)) {  // codes move like integers, E4M3 like numbers; a padding value becomes a code
    const double value = c.attrs.Float("value");
    if (c.op == Op::kPad && c.inputs[0]->dtype() == DType::kFloat8E4m3) {
      attrs.Set("value", static_cast<double>(static_cast<float>(value) / quant_of(0).scale));
    } else if (c.op == Op::kPad) {
      attrs.Set("value", static_cast<double>(CodeOf(value, {DType::kUint8, quant_of(0)})));
    }
    return routine({c.op, attrs, c.inputs, c.outputs});
  }
  EraseOutType(&attrs);
  std::vector<Tensor> reals(c.inputs.size());
  std::vector<const Tensor*> in(c.inputs.size(), nullptr);
  for (size_t i = 0; i < in.size(); ++i) {
    if (c.inputs[i] == nullptr) continue;
    reals[i] = ToF32(*c.inputs[i], quant_of(i));
    in[i] = &reals[i];
  }
  if (c.op == Op::kConv2d || c.op == Op::kMatMul) {
    const bool quantized = quant_of(0).quantized();
    const DType type = c.inputs[0]->dtype();
    if (quantized || (c.inputs[1]->dtype() == DType::kFloat32 && type != DType::kFloat32))
      reals[1] = RoundWeights(reals[1], type, quantized ? in[4] : nullptr, c.attrs.Bool("transpose_b"));
    if (in.size() > 4) in.resize(4);
  }
  const OutType type = OutTypeOf(c.attrs);
  Tensor* target = c.outputs[0];
  Tensor real = type.dtype == DType::kFloat32 ? *target : Tensor(DType::kFloat32, target->shape());
  std::vector<Tensor*> out = {&real};
  TFE_RETURN_IF_ERROR(routine({c.op, attrs, in, out}));
  for (int64_t i = 0; type.dtype != DType::kFloat32 && i < real.num_elements(); ++i) {
    const float v = real.as<float>()[i];
    if (type.dtype == DType::kFloat8E4m3) {
      target->mutable_as<uint8_t>()[i] = FloatToE4m3(v / type.quant.scale);
    } else if (type.quant.quantized()) {
      target->mutable_as<uint8_t>()[i] = CodeOf(v, type);
    } else {
      target->mutable_as<uint16_t>()[i] = type.dtype == DType::kBfloat16 ? FloatToBfloat16(v) : FloatToHalf(v);
    }
  }
  return OkStatus();
}

Status RunConvert(const Call& c) {
  std::copy_n(c.in(0).as<float>(), c.in(0).num_elements(), c.out()->mutable_as<float>());
  return OkStatus();
}

}  // namespace tfengine::ref
