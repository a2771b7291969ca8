// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <vector>

#include "backends/cpu/kernels/dot.h"
#include "backends/cpu/kernels/typed_test_util.h"

// For the tests of convolutions and matrix products in reduced precision: random operands and what outputs must be.
namespace tfengine::cpu {

inline std::string DotTypeName(const testing::TestParamInfo<DotType>& info) {
  return info.param == DotType::kInt8 ? "Int8" : info.param == DotType::kBf16 ? "Bf16" : "F32";
}

inline Format RandomInputFormat(DotType type, Random& random) {
  Format f;
  f.storage = type == DotType::kInt8 ? Storage::kU8 : type == DotType::kBf16 ? Storage::kBf16 : Storage::kF32;
  if (type == DotType::kInt8) f.scale = 0.02f, f.zero = random.OneIn(3) ? 0 : static_cast<int32_t>(random.Int(0, 255));
  return f;
}

// f32 weights, the reals that the kernels multiply by, and for kInt8 steps and scales of [channels]; channels vary fastest.
struct RandomWeights {
  RandomWeights(DotType type, int64_t n, int64_t channels, float x_scale, Random& random)
      : values(random.Floats(n)), steps(random.Floats(channels, 0.5f / 127, 1.5f / 127)), scale(channels, 1.0f), reals(n) {
    for (int64_t i = 0; i < n; ++i) {
      const float step = steps[i % channels];
      const uint16_t bf16 = RoundToBf16(values[i]);
      reals[i] = type == DotType::kInt8   ? double{step} * WeightCode(values[i], step)
                 : type == DotType::kBf16 ? RealOf({Storage::kBf16}, &bf16, 0)
                                          : double{values[i]};
    }
    for (int64_t c = 0; c < channels && type == DotType::kInt8; ++c) scale[c] = steps[c] * x_scale;
  }

  Buffer<float> values, steps, scale;
  std::vector<double> reals;
};

// A random output stage. `own`: one that is written from registers (clip activation, formats of x's storage).
struct RandomStage {
  RandomStage(DotType type, int64_t channels, int64_t outputs, int64_t k, const RandomWeights& weights, bool own, Random& random)
      : int8(type == DotType::kInt8), terms(k), bias(random.Floats(channels)) {
    static constexpr Activation kActivations[] = {
        {ActivationKind::kNone}, {ActivationKind::kRelu}, {ActivationKind::kRelu6}, {ActivationKind::kClip, -0.5f, 0.25f},
        {ActivationKind::kLeakyRelu, 0.3f}, {ActivationKind::kGeluErf}, {ActivationKind::kSilu}, {ActivationKind::kSigmoid},
        {ActivationKind::kTanh}, {ActivationKind::kGeluTanh}, {ActivationKind::kHardSwish}, {ActivationKind::kHardSigmoid, 0.2f, 0.5f}};
    stage.activation = kActivations[random.Int(0, own && random.OneIn(2) ? 3 : 11)];
    auto format = [&](Storage storage) {
      Format f = RandomFormat(random, storage);
      if (storage == Storage::kU8) f.scale = (4 * std::sqrt(static_cast<float>(terms)) + 1) / 255 * random.Float(0.5f, 1.5f);
      return f;
    };
    const Storage x = RandomInputFormat(type, random).storage;
    stage.out = format(own ? x : kAllStorages[random.Int(0, 2)]);
    stage.residual = format(own ? x : kAllStorages[random.Int(0, 2)]);
    if (int8) stage.scale = weights.scale.data();
    if (int8 && random.OneIn(2)) lines = MakeActivationLines(stage.activation, stage.out);
    stage.lines = lines.get();
    if (random.OneIn(2)) stage.bias = bias.data();
    if (random.OneIn(2)) residual = RandomValues(random, stage.residual, outputs, -1, 1);
    in_place = stage.residual.storage == stage.out.storage && random.OneIn(2);
  }

  // Whether element `at` of y is right for a sum (of products of reals), the residual's element and a channel. `error`: of the
  // sum, beyond that of adding in f32.
  ::testing::AssertionResult Agrees(const TypedBuffer& y, int64_t at, int64_t residual_at, int64_t channel, double sum,
                                    double magnitude, double error = 0) const {
    const double b = stage.bias ? stage.bias[channel] : 0, r = residual ? (*residual)[residual_at] : 0;
    const float real = static_cast<float>(sum + b + r);
    float want;
    ApplyActivationReference(stage.activation, &real, &want, 1);
    // int8 sums are exact; what remains is the f32 arithmetic after them.
    const double roundings = int8 ? 8 : 8 + 2 * std::sqrt(static_cast<double>(terms));
    const double lines_error = lines ? kMaxLinesError * stage.out.scale : 0;
    return Rounded(y, at, want, roundings * 0x1p-24 * 1.2 * (magnitude + std::fabs(b) + std::fabs(r)) + 1e-6 + 1.2 * error + lines_error);
  }

  std::string Describe() const {
    return fmt::format("out {} residual {} (in place {}) bias {} {}{}", static_cast<int>(stage.out.storage),
                       residual ? static_cast<int>(stage.residual.storage) : -1, in_place, stage.bias != nullptr,
                       ActivationName(stage.activation.kind), lines ? " by lines" : "");
  }

  bool int8;
  int64_t terms;
  Buffer<float> bias;
  OutputStage stage;  // points into bias and the weights
  std::shared_ptr<const ActivationLines> lines;
  std::optional<TypedBuffer> residual;
  bool in_place;
};

}  // namespace tfengine::cpu
