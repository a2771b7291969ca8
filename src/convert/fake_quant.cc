// SPDX-License-Identifier: Apache-2.0
// Quantization that a model simulates. The numbers are derived as TensorFlow's kernels derive them, in f32, so that
// engines in floating point round to the same codes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

constexpr int kMinBits = 2;
constexpr int kMaxBits = 16;

// The operands of the network op, one item per channel.
struct Codes {
  std::vector<float> step, lo, hi, inverse;

  void Add(float channel_step, float channel_lo, float channel_hi, float channel_inverse) {
    step.push_back(channel_step);
    lo.push_back(channel_lo);
    hi.push_back(channel_hi);
    inverse.push_back(channel_inverse);
  }
};

// The constant range: scalars without `axis`, else a number per element of that axis.
Verdict ReadRange(Context& c, int axis, std::vector<float>* mins, std::vector<float>* maxs) {
  for (auto [input, out] : {std::pair(1, mins), std::pair(2, maxs)}) {
    const char* name = input == 1 ? "min" : "max";
    const Tensor* tensor = c.input(input).constant.get();
    TFE_REQUIRE(tensor != nullptr, Reason::kNotConstant, "input {} ({}) must be constant", input, name);
    TFE_REQUIRE(tensor->dtype() == DType::kFloat32, Reason::kDType, "input {} ({}): expected float32, got {}", input, name,
                DTypeName(tensor->dtype()));
    TFE_REQUIRE(tensor->rank() == (axis < 0 ? 0 : 1), Reason::kAttribute, "input {} ({}): expected rank {}, got {}", input,
                name, axis < 0 ? 0 : 1, tensor->rank());
    if (axis >= 0) {
      const Dim channels = c.shape(0)[static_cast<size_t>(axis)];
      TFE_REQUIRE(channels.is(tensor->num_elements()), Reason::kAttribute,
                  "input {} ({}): expected {} elements as axis {} has, got {}", input, name, c.dims().ToString(channels),
                  axis, tensor->num_elements());
    }
    out->assign(tensor->as<float>(), tensor->as<float>() + tensor->num_elements());
  }
  for (size_t i = 0; i < mins->size(); ++i) {
    const float min = (*mins)[i], max = (*maxs)[i];
    TFE_REQUIRE(std::isfinite(min) && std::isfinite(max) && min <= max, Reason::kAttribute,
                "the range [{}, {}] is not one", min, max);
  }
  return {};
}

Verdict Finish(Context& c, const Codes& codes, int axis, const char* rounding, bool divides) {
  for (const std::vector<float>* list : {&codes.step, &codes.inverse})
    for (float x : *list)
      TFE_REQUIRE(std::isfinite(x), Reason::kAttribute, "the range is too narrow or too wide to be cut into steps");
  auto operand = [&](const char* suffix, const std::vector<float>& values) {
    std::vector<int64_t> shape;
    if (axis >= 0) shape.push_back(static_cast<int64_t>(values.size()));
    Tensor tensor(DType::kFloat32, std::move(shape));
    std::copy(values.begin(), values.end(), tensor.mutable_as<float>());
    return c.network().AddConstant(c.node().name + suffix, std::make_shared<Tensor>(std::move(tensor)));
  };
  std::vector<ValueId> inputs = {c.value(0), operand("/step", codes.step), operand("/lo", codes.lo),
                                 operand("/hi", codes.hi)};
  if (!divides) inputs.push_back(operand("/inverse", codes.inverse));
  Attrs attrs{{"rounding", std::string(rounding)}};
  if (axis >= 0) attrs.Set("axis", int64_t{axis});
  TFE_LOWER(ValueId y, c.Emit(Op::kFakeQuant, std::move(inputs), std::move(attrs)));
  return c.Set(0, y);
}

}  // namespace

// FakeQuantWithMinMaxArgs, Vars, VarsPerChannel: the range is moved ("nudged") so that 0 is a code.
Verdict ConvertFakeQuant(Context& c) {
  const int64_t bits = c.Int("num_bits", 8);
  TFE_REQUIRE(bits >= kMinBits && bits <= kMaxBits, Reason::kAttribute, "num_bits: expected {} to {}, got {}", kMinBits,
              kMaxBits, bits);
  const bool args = c.op() == "FakeQuantWithMinMaxArgs", per_channel = c.op() == "FakeQuantWithMinMaxVarsPerChannel";
  TFE_REQUIRE(!per_channel || c.rank(0) >= 1, Reason::kAttribute, "expected rank 1 or more, got a scalar");
  const int axis = per_channel ? c.rank(0) - 1 : -1;
  std::vector<float> mins, maxs;
  if (args) {
    mins = {c.Float("min", -6)};
    maxs = {c.Float("max", 6)};
    TFE_REQUIRE(std::isfinite(mins[0]) && std::isfinite(maxs[0]) && mins[0] < maxs[0], Reason::kAttribute,
                "the range [{}, {}] is not one", mins[0], maxs[0]);
  } else if (Verdict verdict = ReadRange(c, axis, &mins, &maxs); !verdict.ok()) {
    return verdict;
  }
  const float first = c.Bool("narrow_range", false) ? 1 : 0, last = static_cast<float>((1 << bits) - 1);
  Codes codes;
  for (size_t i = 0; i < mins.size(); ++i) {
    const float min = mins[i], max = maxs[i];
    if (min == max) {
      TFE_REQUIRE(min == 0, Reason::kAttribute, "the range [{}, {}] is empty", min, max);
      codes.Add(0, 0, last - first, 0);
      continue;
    }
    const float step = (max - min) / (last - first), inverse = (last - first) / (max - min);
    const float zero = std::round(std::clamp(first - min / step, first, last));
    codes.Add(step, first - zero, last - zero, inverse);
  }
  // The op with scalar tensors divides, the others multiply.
  return Finish(c, codes, axis, "offset", c.op() == "FakeQuantWithMinMaxVars");
}

// QuantizeAndDequantizeV2, V3, V4: the scale is the largest that keeps both ends among the codes; 0 is code 0.
Verdict ConvertQuantizeAndDequantize(Context& c) {
  const bool v3 = c.op() == "QuantizeAndDequantizeV3";
  TFE_REQUIRE(c.dtype() == DType::kFloat32, Reason::kDType, "expected float32, got {}", DTypeName(c.dtype()));
  TFE_REQUIRE(c.Bool("range_given", v3), Reason::kAttribute, "range_given=false: the range depends on the data");
  int64_t bits = c.Int("num_bits", 8);
  if (v3) {
    const std::optional<double> given = c.ConstScalar(3);
    TFE_REQUIRE(given.has_value(), Reason::kNotConstant, "input 3 (num_bits) must be constant");
    bits = static_cast<int64_t>(*given);
  }
  TFE_REQUIRE(bits >= kMinBits && bits <= kMaxBits, Reason::kAttribute, "num_bits: expected {} to {}, got {}", kMinBits,
              kMaxBits, bits);
  const std::string mode = v3 ? "HALF_TO_EVEN" : c.Str("round_mode", "HALF_TO_EVEN");
  TFE_REQUIRE(mode == "HALF_TO_EVEN" || mode == "HALF_UP", Reason::kAttribute, "round_mode: {} is not supported", mode);
  const int64_t axis = c.Int("axis", -1);
  TFE_REQUIRE(axis >= -1 && axis < c.rank(0), Reason::kAttribute, "axis: expected -1 to {}, got {}", c.rank(0) - 1, axis);
  std::vector<float> mins, maxs;
  if (Verdict verdict = ReadRange(c, static_cast<int>(axis), &mins, &maxs); !verdict.ok()) return verdict;

  const bool is_signed = c.Bool("signed_input", true);
  const float hi = static_cast<float>((1 << (is_signed ? bits - 1 : bits)) - 1);
  const float lo = !is_signed ? 0 : c.Bool("narrow_range", false) ? -hi : -hi - 1;
  Codes codes;
  for (size_t i = 0; i < mins.size(); ++i) {
    constexpr float kNone = std::numeric_limits<float>::max();
    const float min = mins[i], max = maxs[i];
    const float from_min = lo * min > 0 ? lo / min : kNone, from_max = hi * max > 0 ? hi / max : kNone;
    if (from_min == kNone && from_max == kNone) {
      codes.Add(0, lo, hi, 0);  // nothing but 0 has a code
    } else if (from_min < from_max) {
      codes.Add(min / lo, lo, hi, from_min);
    } else {
      codes.Add(max / hi, lo, hi, from_max);
    }
  }
  return Finish(c, codes, static_cast<int>(axis), mode == "HALF_UP" ? "up" : "even", false);
}

}  // namespace tfengine::convert
