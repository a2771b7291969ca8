// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/activated_codes_inl.h"
#include "backends/cpu/kernels/conv_depthwise_dot.h"
#include "backends/cpu/kernels/conv_depthwise_inl.h"

namespace tfengine::cpu::TFE_SIMD {

// One row of channels from sums to outputs, for what is uncommon per element common per row. `sums`: the n of the row, may be overwritten.
struct DepthwiseFinish {
  const OutputStage* stage;
  const float *scale, *bias;  // of the row's channels, or null
  const void* residual;       // or null
  void* y;
  float low, high;
  bool clip;
};

// kResidual: 0, or 1 + its Storage.
template <int kResidual, Storage kOut>
void FinishDepthwiseRow(const DepthwiseFinish& f, float* sums, int64_t n) {
  using Residual = Stored<static_cast<Storage>(kResidual > 0 ? kResidual - 1 : 0)>;
  const Residual residual(f.stage->residual);
  const Stored<kOut> out(f.stage->out);
  auto* y = static_cast<typename Stored<kOut>::Element*>(f.y);
  const VF low = Set(f.low), high = Set(f.high), one = Set(1.0f);
  ForVectors(n, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    VF v = Fma(Load(sums + i, lanes), f.scale ? Load(f.scale + i, lanes) : one, f.bias ? Load(f.bias + i, lanes) : Zero());
    if constexpr (kResidual > 0) {
      v = Add(v, residual.Read(static_cast<const typename Residual::Element*>(f.residual) + i, lanes));
    }
    if (f.clip) {
      out.Write(y + i, Min(high, Max(low, v)), lanes);
    } else {
      Store(sums + i, v, lanes);
    }
  });
  if (f.clip) return;
  ActivateRange(f.stage->activation, sums, sums, n);
  ForVectors(n, [&](int64_t i, auto lanes) __attribute__((always_inline)) { out.Write(y + i, Load(sums + i, lanes), lanes); });
}

using FinishDepthwiseFunction = void (*)(const DepthwiseFinish& f, float* sums, int64_t n);
inline constexpr FinishDepthwiseFunction kFinishDepthwise[1 + kStorages][kStorages] = {
    {FinishDepthwiseRow<0, Storage::kF32>, FinishDepthwiseRow<0, Storage::kBf16>, FinishDepthwiseRow<0, Storage::kU8>},
    {FinishDepthwiseRow<1, Storage::kF32>, FinishDepthwiseRow<1, Storage::kBf16>, FinishDepthwiseRow<1, Storage::kU8>},
    {FinishDepthwiseRow<2, Storage::kF32>, FinishDepthwiseRow<2, Storage::kBf16>, FinishDepthwiseRow<2, Storage::kU8>},
    {FinishDepthwiseRow<3, Storage::kF32>, FinishDepthwiseRow<3, Storage::kBf16>, FinishDepthwiseRow<3, Storage::kU8>},
};

template <Storage storage>
TFE_INLINE int64_t ElementBytes() {
  return sizeof(typename Stored<storage>::Element);
}
TFE_INLINE int64_t BytesOf(Storage storage) { return storage == Storage::kF32 ? 4 : storage == Storage::kBf16 ? 2 : 1; }

template <Storage kX>
void DepthwiseDotTask(const DepthwisePlan& p, const DotArgs& args, int64_t task, char* scratch) {
  const OutputStage& stage = *args.stage;
  const int64_t padded = p.vectors * kLanes;
  DepthwiseStep s;
  s.sums = reinterpret_cast<float*>(scratch);
  s.sums_row = padded;
  s.zero = kX == Storage::kU8 ? args.zero : 0;
  char* zeros = scratch + kMaxDepthwiseColumns * padded * 4;
  __builtin_memset(zeros, s.zero, p.g.in_c * ElementBytes<kX>());
  DepthwiseFinish f;
  f.stage = &stage;
  f.clip = IsClip(stage.activation, &f.low, &f.high);
  const int residual = args.residual ? 1 + static_cast<int>(stage.residual.storage) : 0;
  const FinishDepthwiseFunction finish = kFinishDepthwise[residual][static_cast<int>(stage.out.storage)];
  const int64_t residual_bytes = BytesOf(stage.residual.storage), y_bytes = BytesOf(stage.out.storage);
  const ActivateCodesFunction activate =
      kX == Storage::kU8 && stage.out.storage == Storage::kU8 && !residual &&
              FitsCodes(stage, p.g.out_c, p.g.k_h * p.g.k_w)
          ? ActivateCodesFor<4>(stage)
          : nullptr;
  auto at = [](int64_t, int64_t) {};
  auto done = [&](int64_t first, int64_t columns) {
    f.scale = stage.scale ? stage.scale + s.begin : nullptr;
    f.bias = stage.bias ? stage.bias + s.begin : nullptr;
    if (activate != nullptr) {
      const ActivatedCodes a = {f.scale, f.bias, stage.out, stage.activation.alpha, stage.activation.beta, stage.lines,
                                static_cast<uint8_t*>(args.y) + first * s.y_pixel + s.begin, s.y_pixel, s.end - s.begin};
      return activate(a, s.sums, columns, s.sums_row);
    }
    for (int64_t j = 0; j < columns; ++j) {
      if (residual) f.residual = static_cast<const char*>(args.residual) + ((first + j) * s.residual_pixel + s.begin) * residual_bytes;
      f.y = static_cast<char*>(args.y) + ((first + j) * s.y_pixel + s.begin) * y_bytes;
      finish(f, s.sums + j * s.sums_row, s.end - s.begin);
    }
  };
  DepthwiseSteps<kX>(p, args.x, args.packed, task, zeros, s, at, done);
}

constexpr DepthwiseDotKernels MakeDepthwiseDotKernels(CpuIsa isa) {
  return {isa, kLanes, {DepthwiseDotTask<Storage::kU8>, DepthwiseDotTask<Storage::kBf16>, DepthwiseDotTask<Storage::kF32>}};
}

}  // namespace tfengine::cpu::TFE_SIMD
