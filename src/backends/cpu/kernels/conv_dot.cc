// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_dot.h"

#include <algorithm>

#include "backends/cpu/kernels/conv_depthwise_dot.h"
#include "backends/cpu/kernels/conv_plan.h"
#include "backends/cpu/kernels/conv_winograd_dot.h"
#include "backends/cpu/kernels/dot_kernels.h"

namespace tfengine::cpu {
namespace {

class DirectDotConv : public DotConvTactic {
 public:
  DirectDotConv(const char* name, const DotKernels& kernels) : DotConvTactic(name, kernels.type, kernels.isa), kernels_(kernels) {}

  bool Usable() const override { return kernels_.Usable(); }
  bool Supports(const ConvShape& s) const override {
    return s.groups > 0 && s.in_c % s.groups == 0 && s.out_c % s.groups == 0 && (type() != DotType::kInt8 || Terms(s) <= kMaxInt8Terms);
  }
  double EstimateWork(const ConvShape& s) const override {
    const double vectors = static_cast<double>(CeilDiv(s.out_c / s.groups, kernels_.lanes) * s.groups);
    double words = static_cast<double>(CeilDiv(Terms(s), kernels_.per_word)) + 4;  // 4: the output
    if (kernels_.tiles) {  // a product of 16 pixels and 16 words takes as long as 32 vectors' multiply-adds
      const double products = static_cast<double>(CeilDiv(s.Pixels(), kTileRows) * TileSteps(CeilDiv(Terms(s), kernels_.per_word)));
      words = products * 32 / static_cast<double>(std::max<int64_t>(1, s.Pixels())) + 4;
    }
    return static_cast<double>(s.Pixels()) * words * vectors + kWorkPerWeightByte * static_cast<double>(PackedBytes(s));
  }
  int64_t PackedBytes(const ConvShape& s) const override { return DotPackedBytes(kernels_, s.groups, DotSegmentsOf(s, kernels_), s.out_c / s.groups); }
  void Pack(const ConvShape& s, const float* hwio, const float* steps, void* packed) const override {
    DotPack(kernels_, hwio, s.out_c, 1, s.groups, DotSegmentsOf(s, kernels_), s.out_c / s.groups, steps, packed);
  }
  int64_t ScratchBytes(const ConvShape& s, int threads) const override {
    return MakeDotPlan(s, kernels_, threads).d.worker_bytes * threads;
  }
  void Run(const ConvShape& s, const DotConvArgs& args, Gang& gang) const override {
    if (s.Pixels() == 0 || s.out_c == 0) return;
    const DotPlan plan = MakeDotPlan(s, kernels_, gang.threads());
    const DotArgs dot = {args.x, args.zero, args.packed, &args.stage, args.residual, args.y, args.scratch};
    gang.Run(plan.d.tasks, [&](int64_t task, int worker) { kernels_.task(plan, dot, task, worker); });
  }

 private:
  static int64_t Terms(const ConvShape& s) { return s.k_h * s.k_w * (s.in_c / s.groups); }
  const DotKernels& kernels_;
};

const std::vector<const DotConvTactic*>& All() {
  static const DirectDotConv int8_amx("direct_int8_amx", DotInt8Amx());
  static const DirectDotConv int8_avx512vnni("direct_int8_avx512vnni", DotInt8Avx512vnni());
  static const DirectDotConv int8_avx2("direct_int8_avx2", DotInt8Avx2());
  static const DirectDotConv int8_portable("direct_int8_portable", DotInt8Portable());
  static const DirectDotConv bf16_amx("direct_bf16_amx", DotBf16Amx());
  static const DirectDotConv bf16_avx512bf16("direct_bf16_avx512bf16", DotBf16Avx512bf16());
  static const DirectDotConv bf16_avx2("direct_bf16_avx2", DotBf16Avx2());
  static const DirectDotConv bf16_portable("direct_bf16_portable", DotBf16Portable());
  static const WinogradDotConv winograd2_bf16_avx512bf16("winograd2_bf16_avx512bf16", DotBf16Avx512bf16());
  static const DirectDotConv f32_avx512("direct_f32_avx512", DotF32Avx512());
  static const DirectDotConv f32_avx2("direct_f32_avx2", DotF32Avx2());
  static const DirectDotConv f32_portable("direct_f32_portable", DotF32Portable());
  static const std::vector<const DotConvTactic*> all = [] {
    std::vector<const DotConvTactic*> list = DepthwiseDotTactics();
    list.insert(list.end(), {&int8_amx, &int8_avx512vnni, &int8_avx2, &int8_portable, &bf16_amx, &bf16_avx512bf16, &bf16_avx2, &bf16_portable,
                             &f32_avx512, &f32_avx2, &f32_portable, &winograd2_bf16_avx512bf16});
    return list;
  }();
  return all;
}

}  // namespace

std::vector<const DotConvTactic*> DotConvTactics(const ConvShape& shape, DotType type) {
  std::vector<const DotConvTactic*> usable;
  for (const DotConvTactic* tactic : All()) {
    if (tactic->type() == type && tactic->Usable() && tactic->Supports(shape)) usable.push_back(tactic);
  }
  std::stable_sort(usable.begin(), usable.end(), [&](const DotConvTactic* a, const DotConvTactic* b) {
    return a->EstimateWork(shape) < b->EstimateWork(shape);
  });
  return usable;
}

const DotConvTactic* FindDotConvTactic(std::string_view name) {
  for (const DotConvTactic* tactic : All()) {
    if (tactic->name() == name) return tactic->Usable() ? tactic : nullptr;
  }
  return nullptr;
}

}  // namespace tfengine::cpu
