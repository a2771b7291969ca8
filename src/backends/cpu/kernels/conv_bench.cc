// SPDX-License-Identifier: Apache-2.0
// Times the convolutions of ResNet-50 and MobileNetV2 per tactic, those of other filters, and each network's convolutions in a row.
//   conv_bench [--precision f32|bf16|int8] [resnet50|mobilenetv2|filters|<layer substring>] [batch] [threads] [tactic substring]
// Reduced precision: inputs, outputs and residuals (1x1 layers that expand) are bf16 or u8.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_dot.h"

namespace tfengine::cpu {
namespace {

struct Layer {
  std::string name;
  int count;
  ConvShape shape;
  bool residual = false;
};

enum class Precision { kF32, kBf16, kInt8 } precision = Precision::kF32;
int64_t ValueBytes() { return precision == Precision::kF32 ? 4 : precision == Precision::kBf16 ? 2 : 1; }

Layer Make(int count, int64_t batch, int64_t size, int64_t in_c, int64_t k, int64_t stride, int64_t out_c, bool depthwise = false) {
  ConvShape s;
  s.batch = batch;
  s.in_h = s.in_w = size;
  s.in_c = in_c;
  s.k_h = s.k_w = k;
  s.stride_h = s.stride_w = stride;
  s.out_h = s.out_w = (size + stride - 1) / stride;
  s.out_c = out_c;
  s.pad_top = s.pad_left = std::max<int64_t>(0, (s.out_h - 1) * stride + k - size) / 2;
  if (depthwise) s.groups = in_c;
  return {fmt::format("{}{}x{} s{} {:>4}->{:<4} @{}", depthwise ? "dw" : "  ", k, k, stride, in_c, out_c, size), count, s};
}

std::vector<Layer> ResNet50(int64_t n) {
  std::vector<Layer> layers = {Make(1, n, 224, 3, 7, 2, 64)};
  int64_t in_c = 64, size = 56;
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t mid = 64 << stage, out = 256 << stage;
    const int64_t stride = stage == 0 ? 1 : 2;
    const int blocks[] = {3, 4, 6, 3};
    const int64_t after = size / stride;
    layers.push_back(Make(1, n, size, in_c, 1, stride, mid));
    layers.push_back(Make(1, n, size, in_c, 1, stride, out));
    layers.push_back(Make(blocks[stage], n, after, mid, 3, 1, mid));
    layers.push_back(Make(blocks[stage], n, after, mid, 1, 1, out));
    layers.back().residual = precision != Precision::kF32;
    layers.push_back(Make(blocks[stage] - 1, n, after, out, 1, 1, mid));
    in_c = out;
    size = after;
  }
  return layers;
}

std::vector<Layer> MobileNetV2(int64_t n) {
  std::vector<Layer> layers = {Make(1, n, 224, 3, 3, 2, 32), Make(1, n, 112, 32, 3, 1, 32, true), Make(1, n, 112, 32, 1, 1, 16)};
  int64_t in_c = 16, size = 112;
  const int64_t table[][3] = {{24, 2, 2}, {32, 3, 2}, {64, 4, 2}, {96, 3, 1}, {160, 3, 2}, {320, 1, 1}};  // channels, blocks, stride
  for (auto [out, blocks, stride] : table) {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t mid = in_c * 6, step = b == 0 ? stride : 1;
      layers.push_back(Make(1, n, size, in_c, 1, 1, mid));
      layers.push_back(Make(1, n, size, mid, 3, step, mid, true));
      size = (size + step - 1) / step;
      layers.push_back(Make(1, n, size, mid, 1, 1, out));
      in_c = out;
    }
  }
  layers.push_back(Make(1, n, size, 320, 1, 1, 1280));
  std::vector<Layer> merged;  // repeated layers counted
  for (const Layer& layer : layers) {
    auto same = std::find_if(merged.begin(), merged.end(), [&](const Layer& m) { return m.shape == layer.shape; });
    if (same != merged.end()) {
      ++same->count;
    } else {
      merged.push_back(layer);
    }
  }
  return merged;
}

// Filters of other sizes: 5x5, and single rows and columns (Inception, audio).
std::vector<Layer> Filters(int64_t n) {
  std::vector<Layer> layers = {Make(1, n, 28, 1, 5, 1, 32), Make(1, n, 14, 32, 5, 1, 64), Make(1, n, 35, 48, 5, 1, 64), Make(1, n, 28, 32, 5, 1, 96)};
  for (auto [k, c, size] : {std::array<int64_t, 3>{7, 128, 17}, {7, 192, 17}, {3, 384, 8}, {5, 64, 32}}) {
    for (bool row : {true, false}) {
      Layer layer = Make(1, n, size, c, k, 1, c);
      ConvShape& s = layer.shape;
      (row ? s.k_h : s.k_w) = 1;
      (row ? s.pad_top : s.pad_left) = 0;
      layer.name = fmt::format("  {}x{} s1 {:>4}->{:<4} @{}", s.k_h, s.k_w, c, c, size);
      layers.push_back(std::move(layer));
    }
  }
  return layers;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<float, Free>;

Memory Allocate(int64_t bytes, float value) {
  bytes = (std::max<int64_t>(bytes, 64) + 63) / 64 * 64;
  Memory m(static_cast<float*>(std::aligned_alloc(64, bytes)));
  std::minstd_rand rng(7);
  for (int64_t i = 0; i < bytes / 4; ++i) m.get()[i] = value * (static_cast<float>(rng() % 2001) / 1000 - 1);
  return m;
}

bool single_thread = false;

// With one thread the time this thread computed, which others on the machine disturb less than the time that passed.
double Seconds() {
  if (single_thread) {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One interface to the tactics of all precisions.
struct Tactic {
  const ConvTactic* f32 = nullptr;
  const DotConvTactic* dot = nullptr;
  const char* name() const { return f32 ? f32->name() : dot->name(); }
  int64_t PackedBytes(const ConvShape& s) const { return f32 ? f32->PackedBytes(s) : dot->PackedBytes(s); }
  int64_t ScratchBytes(const ConvShape& s, int threads) const { return f32 ? f32->ScratchBytes(s, threads) : dot->ScratchBytes(s, threads); }
  void Pack(const ConvShape& s, const float* w, void* packed) const {
    if (f32) return f32->Pack(s, w, packed);
    const std::vector<float> steps(s.out_c, 0.1f / 127);
    dot->Pack(s, w, precision == Precision::kInt8 ? steps.data() : nullptr, packed);
  }
};

std::vector<Tactic> TacticsFor(const ConvShape& s) {
  std::vector<Tactic> tactics;
  if (precision == Precision::kF32) {
    for (const ConvTactic* t : ConvTactics(s)) tactics.push_back({t, nullptr});
  } else {
    for (const DotConvTactic* t : DotConvTactics(s, precision == Precision::kInt8 ? DotType::kInt8 : DotType::kBf16)) tactics.push_back({nullptr, t});
  }
  return tactics;
}

// Multiply-adds of registers alone: what the cores can do at most, in GFLOP/s.
double MeasurePeak(Gang& gang) {
  const bool wide = HostCpu().Has(CpuIsa::kAvx512);
  if (!HostCpu().Has(CpuIsa::kAvx2)) return NAN;
  constexpr int64_t kLoops = 100000;
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    const double start = Seconds();
    gang.Run(gang.threads(), [&](int64_t, int) {
#define TFE_FOUR(op, r, a, b, c, d) op r a "\n" op r b "\n" op r c "\n" op r d "\n"
#define TFE_PRODUCTS(op, r)                                                                                                     \
  asm volatile(TFE_FOUR(op, r, "0", "1", "2", "3") TFE_FOUR(op, r, "4", "5", "6", "7") TFE_FOUR(op, r, "8", "9", "10", "11")    \
               :: : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11")
// Plain code uses none of registers 16 to 31.
#define TFE_WIDE_PRODUCTS(op)                                                                                                   \
  asm volatile(TFE_FOUR(op, "%%zmm", "0", "1", "2", "3") TFE_FOUR(op, "%%zmm", "4", "5", "6", "7")                              \
               TFE_FOUR(op, "%%zmm", "8", "9", "10", "11") TFE_FOUR(op, "%%zmm", "16", "17", "18", "19")                        \
               TFE_FOUR(op, "%%zmm", "20", "21", "22", "23") TFE_FOUR(op, "%%zmm", "24", "25", "26", "27")                      \
               :: : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11")
      for (int64_t i = 0; i < kLoops; ++i) {
        if (wide && precision == Precision::kBf16 && HostCpu().avx512_bf16) {
          TFE_WIDE_PRODUCTS("vdpbf16ps %%zmm14, %%zmm15, ");
        } else if (wide && precision == Precision::kInt8 && HostCpu().avx512_vnni) {
          TFE_WIDE_PRODUCTS("vpdpbusd %%zmm14, %%zmm15, ");
        } else if (wide) {
          TFE_WIDE_PRODUCTS("vfmadd231ps %%zmm14, %%zmm15, ");
        } else {
          TFE_PRODUCTS("vfmadd231ps %%ymm14, %%ymm15, ", "%%ymm");
        }
      }
#undef TFE_WIDE_PRODUCTS
#undef TFE_PRODUCTS
#undef TFE_FOUR
    });
    const double flops = 2.0 * (wide ? 24 * 64 / static_cast<double>(ValueBytes()) : 12 * 8) * kLoops * gang.threads();
    best = std::max(best, flops / (Seconds() - start) / 1e9);
  }
  return best;
}

struct Instance {
  const Layer* layer;
  Tactic tactic;
  Memory packed, x, y, bias, residual;
};

Instance Prepare(const Layer& layer, const Tactic& tactic) {
  const ConvShape& s = layer.shape;
  Instance i{&layer, tactic, Allocate(tactic.PackedBytes(s), 0), Allocate(s.batch * s.in_h * s.in_w * s.in_c * ValueBytes(), 1),
             Allocate(s.Pixels() * s.out_c * ValueBytes(), 0), Allocate(s.out_c * 4, 1), nullptr};
  Memory w = Allocate(s.WeightCount() * 4, 0.1f);
  tactic.Pack(s, w.get(), i.packed.get());
  if (layer.residual) i.residual = Allocate(s.Pixels() * s.out_c * ValueBytes(), 0);
  return i;
}

double RunDot(const Instance& i, const float* x, const float* residual, float* y, float* scratch, Gang& gang) {
  const bool int8 = precision == Precision::kInt8;
  DotConvArgs args;
  args.x = x;
  args.packed = i.packed.get();
  if (int8) args.stage.scale = i.bias.get();
  args.stage.bias = i.bias.get();
  args.stage.activation.kind = ActivationKind::kRelu6;
  args.stage.out.storage = int8 ? Storage::kU8 : Storage::kBf16;
  args.stage.out.scale = 6.0f / 255;
  args.stage.residual = args.stage.out;
  if (i.layer->residual) args.residual = residual;
  args.y = y;
  args.scratch = scratch;
  const double start = Seconds();
  i.tactic.dot->Run(i.layer->shape, args, gang);
  return Seconds() - start;
}

double RunOnce(const Instance& i, const float* x, const float* residual, float* y, float* scratch, Gang& gang) {
  if (i.tactic.dot != nullptr) return RunDot(i, x, residual, y, scratch, gang);
  ConvArgs args;
  args.x = x;
  args.packed = i.packed.get();
  args.bias = i.bias.get();
  args.activation.kind = ActivationKind::kRelu6;  // keeps chained values small
  args.y = y;
  args.scratch = scratch;
  const double start = Seconds();
  i.tactic.f32->Run(i.layer->shape, args, gang);
  return Seconds() - start;
}

void Bench(const char* title, const std::vector<Layer>& layers, std::string_view filter, std::string_view tactic_filter, Gang& gang, double peak) {
  fmt::print("\n{}, batch {}, {} threads, peak {:.0f} GFLOP/s\n", title, layers[0].shape.batch, gang.threads(), peak);
  std::map<const Layer*, Tactic> chosen;
  std::map<std::string, double> totals;
  for (const Layer& layer : layers) {
    if (layer.name.find(filter) == layer.name.npos) continue;
    std::string line = fmt::format("{:28} x{}", layer.name, layer.count);
    double best = 1e300;
    for (const Tactic& tactic : TacticsFor(layer.shape)) {
      if (std::string_view(tactic.name()).find(tactic_filter) == std::string_view::npos) continue;
      Memory scratch = Allocate(tactic.ScratchBytes(layer.shape, gang.threads()), 0);
      Instance i = Prepare(layer, tactic);
      double time = 1e300, spent = 0;
      for (int r = 0; r < 3 || (spent < 0.15 && r < 300); ++r) {
        const double t = RunOnce(i, i.x.get(), i.residual.get(), i.y.get(), scratch.get(), gang);
        time = std::min(time, t);
        spent += t;
      }
      const double rate = 2.0 * static_cast<double>(layer.shape.Macs()) / time / 1e9;
      line += fmt::format(" | {} {:8.1f} us {:6.1f} GF/s {:5.1f}%", tactic.name(), time * 1e6, rate, 100 * rate / peak);
      totals[tactic.name()] += time * layer.count;
      if (time < best) {
        best = time;
        chosen[&layer] = tactic;
      }
    }
    if (best < 1e300) totals["fastest of each"] += best * layer.count;
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
  for (const auto& [name, time] : totals) fmt::print("  sum of single layers, {}: {:.3f} ms\n", name, time * 1e3);

  // All layers in a row, each reading what the one before wrote, every instance with its own weights: what a network
  // sees, weights cold.
  std::vector<Instance> network;
  int64_t scratch_bytes = 0, data_bytes = 0;
  for (const Layer& layer : layers) {
    if (!chosen.count(&layer)) continue;
    const ConvShape& s = layer.shape;
    scratch_bytes = std::max(scratch_bytes, chosen[&layer].ScratchBytes(s, gang.threads()));
    data_bytes = std::max({data_bytes, s.batch * s.in_h * s.in_w * s.in_c * ValueBytes(), s.Pixels() * s.out_c * ValueBytes()});
    for (int c = 0; c < layer.count; ++c) {
      network.push_back(Prepare(layer, chosen[&layer]));
      network.back().x.reset();
      network.back().y.reset();
      network.back().residual.reset();
    }
  }
  Memory scratch = Allocate(scratch_bytes, 0), data[3] = {Allocate(data_bytes, 1), Allocate(data_bytes, 1), Allocate(data_bytes, 1)};
  double best = 1e300;
  std::vector<double> times(network.size(), 1e300);
  for (int r = 0; r < 12; ++r) {
    double sum = 0;
    for (size_t i = 0; i < network.size(); ++i) {
      const double t = RunOnce(network[i], data[i % 2].get(), data[2].get(), data[1 - i % 2].get(), scratch.get(), gang);
      times[i] = std::min(times[i], t);
      sum += t;
    }
    best = std::min(best, sum);
  }
  std::map<const Layer*, double> cold;
  for (size_t i = 0; i < network.size(); ++i) cold[network[i].layer] += times[i];
  for (const Layer& layer : layers) {
    if (!cold.count(&layer)) continue;
    const double t = cold[&layer] / layer.count;
    fmt::print("  cold {:28} {} {:8.1f} us {:5.1f}%\n", layer.name, chosen[&layer].name(), t * 1e6, 200.0 * static_cast<double>(layer.shape.Macs()) / t / 1e9 / peak);
  }
  double minima = 0;
  for (double t : times) minima += t;
  fmt::print("  all convolutions in a row, cold weights: {:.3f} ms (sum of each one's minimum {:.3f})\n", best * 1e3, minima * 1e3);
}

}  // namespace
}  // namespace tfengine::cpu

int main(int argc, char** argv) {
  using namespace tfengine;
  if (argc > 2 && std::string_view(argv[1]) == "--precision") {
    const std::string_view name = argv[2];
    cpu::precision = name == "int8" ? cpu::Precision::kInt8 : name == "bf16" ? cpu::Precision::kBf16 : cpu::Precision::kF32;
    argc -= 2;
    argv += 2;
  }
  std::string what = argc > 1 ? argv[1] : "";
  const int64_t batch = argc > 2 ? std::atoll(argv[2]) : 1;
  const int threads = argc > 3 ? std::atoi(argv[3]) : AvailableCpus();
  const std::string tactic = argc > 4 ? argv[4] : "";
  cpu::single_thread = threads == 1;
  ThreadPool pool(threads);
  Gang gang(threads, [&](auto helper) { pool.Schedule(std::move(helper)); });
  const double peak = cpu::MeasurePeak(gang);
  const bool resnet = what == "resnet50", mobilenet = what == "mobilenetv2", filters = what == "filters";
  if (resnet || mobilenet || filters) what.clear();
  if (!mobilenet && !filters) cpu::Bench("ResNet-50", cpu::ResNet50(batch), what, tactic, gang, peak);
  if (!resnet && !mobilenet) cpu::Bench("filters", cpu::Filters(batch), what, tactic, gang, peak);
  if (!resnet && !filters) cpu::Bench("MobileNetV2", cpu::MobileNetV2(batch), what, tactic, gang, peak);
  return 0;
}
