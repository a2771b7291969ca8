// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_depthwise_dot.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_depthwise.h"
#include "backends/cpu/kernels/conv_plan.h"

namespace tfengine::cpu {
namespace {

class DepthwiseDotConv : public DotConvTactic {
 public:
  DepthwiseDotConv(const char* name, DotType type, const DepthwiseDotKernels& kernels)
      : DotConvTactic(name, type, kernels.isa), kernels_(kernels) {}

  bool Usable() const override { return HostCpu().Has(kernels_.isa); }
  bool Supports(const ConvShape& s) const override {
    return s.groups == s.in_c && s.in_c > 0 && s.out_c % s.in_c == 0 && s.k_h * s.k_w <= kMaxDepthwiseTaps;
  }
  double EstimateWork(const ConvShape& s) const override {
    return 2 * static_cast<double>(s.Pixels() * s.k_h * s.k_w * CeilDiv(s.out_c, kernels_.lanes));
  }
  int64_t PackedBytes(const ConvShape& s) const override { return RoundUp(s.k_h * s.k_w * Padded(s) * 4, kCacheLine); }
  // [tap][channel] as f32, channels padded to whole vectors.
  void Pack(const ConvShape& s, const float* hwio, const float* steps, void* packed) const override {
    float* to = static_cast<float*>(packed);
    for (int64_t tap = 0; tap < s.k_h * s.k_w; ++tap, to += Padded(s)) {
      for (int64_t c = 0; c < s.out_c; ++c) to[c] = Weight(hwio[tap * s.out_c + c], steps ? steps[c] : 1);
      std::fill(to + s.out_c, to + Padded(s), 0.0f);
    }
  }
  int64_t ScratchBytes(const ConvShape& s, int threads) const override { return WorkerBytes(s) * threads; }
  void Run(const ConvShape& s, const DotConvArgs& args, Gang& gang) const override {
    if (s.Pixels() == 0 || s.out_c == 0) return;
    const DepthwisePlan plan = MakeDepthwisePlan(s, kernels_.lanes, gang.threads());
    const DotArgs dot = {args.x, args.zero, args.packed, &args.stage, args.residual, args.y, args.scratch};
    const auto run = kernels_.task[static_cast<int>(type())];
    const int64_t bytes = WorkerBytes(s);
    gang.Run(plan.row_parts * plan.channel_parts,
             [&](int64_t task, int worker) { run(plan, dot, task, static_cast<char*>(args.scratch) + worker * bytes); });
  }

 private:
  int64_t Padded(const ConvShape& s) const { return RoundUp(s.out_c, kernels_.lanes); }
  // Sums of a step, then padding.
  int64_t WorkerBytes(const ConvShape& s) const {
    return RoundUp(kMaxDepthwiseColumns * Padded(s) * 4 + s.in_c * 4, kCacheLine);
  }
  float Weight(float w, float step) const {
    if (type() == DotType::kF32) return w;
    if (type() == DotType::kInt8) return static_cast<float>(WeightCode(w, step));
    const uint32_t bits = static_cast<uint32_t>(RoundToBf16(w)) << 16;
    float rounded;
    std::memcpy(&rounded, &bits, 4);
    return rounded;
  }

  const DepthwiseDotKernels& kernels_;
};

// Stride 1 or 2 along rows, 3x3, one output channel per input channel.
class DepthwiseWindowConv : public DotConvTactic {
 public:
  DepthwiseWindowConv(const char* name, DotType type, bool CpuFeatures::*extension, DepthwiseTask task)
      : DotConvTactic(name, type, CpuIsa::kAvx512), extension_(extension), task_(task) {}

  bool Usable() const override { return HostCpu().Has(CpuIsa::kAvx512) && HostCpu().*extension_; }
  bool Supports(const ConvShape& s) const override {
    return s.groups == s.in_c && s.in_c > 0 && s.out_c == s.in_c && s.k_h == 3 && s.k_w == 3 && s.dil_w == 1 && s.stride_w <= 2;
  }
  double EstimateWork(const ConvShape& s) const override { return 12 * static_cast<double>(s.Pixels() * Chunks(s)); }
  int64_t PackedBytes(const ConvShape& s) const override { return Chunks(s) * kDepthwiseChunkBytes; }
  void Pack(const ConvShape& s, const float* hwio, const float* steps, void* packed) const override {
    std::memset(packed, 0, PackedBytes(s));
    const int64_t vectors = Channels() / 16;
    for (int64_t c = 0; c < s.out_c; ++c) {
      char* chunk = static_cast<char*>(packed) + c / Channels() * kDepthwiseChunkBytes;
      const int64_t at = c % Channels(), vector = at / 4 % vectors, lane = at / 4 / vectors * 4 + at % 4;
      const int parts = c / Channels() + 1 == Chunks(s) ? LastParts(s) : 1;
      for (int part = 0; part < parts; ++part) {
        PackChannel(s, hwio + c, steps ? steps[c] : 1, chunk + (vector * 16 + lane + part * 16 / parts) * 4);
      }
    }
  }
  int64_t ScratchBytes(const ConvShape& s, int threads) const override { return WorkerBytes(s) * threads; }
  void Run(const ConvShape& s, const DotConvArgs& args, Gang& gang) const override {
    if (s.Pixels() == 0 || s.out_c == 0) return;
    DepthwisePlan plan = MakeDepthwisePlan(s, static_cast<int>(Channels()), gang.threads());
    // Channels first: what is prepared for a chunk then serves more rows.
    const int64_t want = gang.threads() == 1 ? 1 : 4 * gang.threads();
    plan.channel_parts = std::min(plan.vectors, want);
    plan.row_parts = std::min(plan.rows, CeilDiv(want, plan.channel_parts));
    plan.last_parts = LastParts(s);
    const DotArgs dot = {args.x, args.zero, args.packed, &args.stage, args.residual, args.y, args.scratch};
    const int64_t bytes = WorkerBytes(s);
    gang.Run(plan.row_parts * plan.channel_parts, [&](int64_t task, int worker) {
      task_(plan, dot, task, static_cast<char*>(args.scratch) + worker * bytes);
    });
  }

 private:
  // The nine weights of a channel and their sum; `word`: the channel's lane of the chunk.
  void PackChannel(const ConvShape& s, const float* w, float step, char* word) const {
    int32_t sum = 0;
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t row = tap / 3;
      char* column = word + tap % 3 * 4 * 64;
      if (type() == DotType::kInt8) {
        const int8_t code = WeightCode(w[tap * s.out_c], step);
        std::memcpy(column + row, &code, 1);
        sum += code;
      } else {
        const uint16_t rounded = RoundToBf16(w[tap * s.out_c]);
        std::memcpy(column + row / 2 * 2 * 64 + row % 2 * 2, &rounded, 2);
      }
    }
    if (type() == DotType::kInt8) std::memcpy(word + 12 * 64, &sum, 4);
  }

  // Rows that the last chunk takes at once.
  int LastParts(const ConvShape& s) const {
    const int64_t count = s.out_c - (Chunks(s) - 1) * Channels();
    return count <= Channels() / 4 ? 4 : count <= Channels() / 2 ? 2 : 1;
  }
  int64_t Channels() const { return type() == DotType::kInt8 ? 64 : 32; }  // of a chunk
  int64_t Chunks(const ConvShape& s) const { return CeilDiv(s.out_c, Channels()); }
  int64_t WorkerBytes(const ConvShape& s) const { return 64 + s.out_w * Channels() * 4; }

  bool CpuFeatures::*extension_;
  DepthwiseTask task_;
};

}  // namespace

const std::vector<const DotConvTactic*>& DepthwiseDotTactics() {
  static const DepthwiseWindowConv int8_vnni("depthwise_int8_avx512vnni", DotType::kInt8, &CpuFeatures::avx512_vnni, kDepthwiseInt8Avx512vnni);
  static const DepthwiseWindowConv bf16_bf16("depthwise_bf16_avx512bf16", DotType::kBf16, &CpuFeatures::avx512_bf16, kDepthwiseBf16Avx512bf16);
  static const DepthwiseDotConv int8_avx512("depthwise_int8_avx512", DotType::kInt8, kDepthwiseDotAvx512);
  static const DepthwiseDotConv int8_avx2("depthwise_int8_avx2", DotType::kInt8, kDepthwiseDotAvx2);
  static const DepthwiseDotConv int8_portable("depthwise_int8_portable", DotType::kInt8, kDepthwiseDotPortable);
  static const DepthwiseDotConv bf16_avx512("depthwise_bf16_avx512", DotType::kBf16, kDepthwiseDotAvx512);
  static const DepthwiseDotConv bf16_avx2("depthwise_bf16_avx2", DotType::kBf16, kDepthwiseDotAvx2);
  static const DepthwiseDotConv bf16_portable("depthwise_bf16_portable", DotType::kBf16, kDepthwiseDotPortable);
  static const DepthwiseDotConv f32_avx512("depthwise_f32_avx512", DotType::kF32, kDepthwiseDotAvx512);
  static const DepthwiseDotConv f32_avx2("depthwise_f32_avx2", DotType::kF32, kDepthwiseDotAvx2);
  static const DepthwiseDotConv f32_portable("depthwise_f32_portable", DotType::kF32, kDepthwiseDotPortable);
  static const std::vector<const DotConvTactic*> all = {&int8_vnni,   &bf16_bf16,   &int8_avx512, &int8_avx2,     &int8_portable, &bf16_avx512,
                                                        &bf16_avx2,   &bf16_portable, &f32_avx512, &f32_avx2, &f32_portable};
  return all;
}

}  // namespace tfengine::cpu
