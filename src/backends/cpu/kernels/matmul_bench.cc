// SPDX-License-Identifier: Apache-2.0
// Times Matmul with packed B, once with B in the caches ("warm") and once with a different B each time out of more
// memory than the caches hold ("cold", as the layers of a large network see it).
//   matmul_bench [--precision f32|bf16|int8] [--kernels amx|avx512vnni|...] [threads] [m k n]...
// Reduced precision: bf16 in and out, or u8 in and bf16 out; with the fastest kernels unless they are named.
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "backends/cpu/kernels/bench_util.h"
#include "backends/cpu/kernels/dot_kernels.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kernels/matmul_dot.h"

namespace tfengine::cpu {
namespace {

struct AlignedFloats {
  explicit AlignedFloats(size_t n) : data(static_cast<float*>(std::aligned_alloc(64, (n * 4 + 63) / 64 * 64 + 64))) {
    for (size_t i = 0; i < n; ++i) data[i] = static_cast<float>(i % 31) * 0.01f;
  }
  ~AlignedFloats() { std::free(data); }
  AlignedFloats(const AlignedFloats&) = delete;
  float* data;
};

void Time(int64_t m, int64_t k, int64_t n, Gang& gang) {
  const MatmulShape shape = DenseMatmul(m, n, k);
  const int64_t size = PackedMatmulBSize(k, n);
  const int64_t copies = std::max<int64_t>(1, (int64_t{96} << 20) / (size * 4));
  AlignedFloats a(m * k), b(size * copies), c(m * n), bias(n), scratch(MatmulScratchBytes(shape, true, gang.threads()) / 4);
  MatmulArgs args{.a = a.data, .packed_b = b.data, .bias = bias.data, .c = c.data};
  const double flops = 2.0 * m * k * n;
  const int repeats = static_cast<int>(std::clamp(3e11 / flops, 10.0, 300.0));
  const double warm = BestSeconds(repeats, [&] { Matmul(shape, args, scratch.data, gang); });
  int64_t next = 0;
  const double cold = BestSeconds(repeats, [&] {
    args.packed_b = b.data + size * (next++ % copies);
    Matmul(shape, args, scratch.data, gang);
  });
  const double peak = kPeakGflopsPerCore * gang.threads();
  std::printf("%5ld x %5ld x %5ld  warm %8.1f us %6.1f GFLOP/s %5.1f %%   cold %8.1f us %6.1f GFLOP/s %5.1f %% %6.1f GB/s\n",
              static_cast<long>(m), static_cast<long>(k), static_cast<long>(n), warm * 1e6, flops / warm / 1e9,
              flops / warm / 1e7 / peak, cold * 1e6, flops / cold / 1e9, flops / cold / 1e7 / peak, size * 4 / cold / 1e9);
}

void TimeDot(const DotKernels& kernels, int64_t m, int64_t k, int64_t n, Gang& gang) {
  const bool int8 = kernels.type == DotType::kInt8;
  const MatmulShape shape = DenseMatmul(m, n, k);
  const int64_t size = DotPackedMatmulBBytes(kernels, k, n);
  const int64_t copies = std::max<int64_t>(1, (int64_t{96} << 20) / size);
  AlignedFloats a(m * k), b(size * copies / 4), c(m * n), bias(n), plain(k * n),
      scratch(static_cast<int64_t>(DotMatmulScratchBytes(kernels, shape, true, gang.threads())) / 4);
  for (int64_t i = 0; i < copies; ++i) DotPackMatmulB(kernels, plain.data, n, 1, k, n, int8 ? bias.data : nullptr, b.data + i * size / 4);
  DotMatmulArgs args;
  args.a = a.data;
  args.packed_b = b.data;
  args.stage.bias = bias.data;
  if (int8) args.stage.scale = bias.data;
  args.stage.out.storage = Storage::kBf16;
  args.c = c.data;
  const double flops = 2.0 * m * k * n;
  const int repeats = static_cast<int>(std::clamp(1e12 / flops, 20.0, 2000.0));
  const double warm = BestSeconds(repeats, [&] { DotMatmul(kernels, shape, args, scratch.data, gang); });
  int64_t next = 0;
  const double cold = BestSeconds(repeats, [&] {
    args.packed_b = b.data + size / 4 * (next++ % copies);
    DotMatmul(kernels, shape, args, scratch.data, gang);
  });
  const double peak = (int8 ? 975 : 469) * gang.threads();
  std::printf("%5ld x %5ld x %5ld  warm %8.1f us %6.1f GFLOP/s %5.1f %%   cold %8.1f us %6.1f GFLOP/s %5.1f %% %6.1f GB/s\n",
              static_cast<long>(m), static_cast<long>(k), static_cast<long>(n), warm * 1e6, flops / warm / 1e9,
              flops / warm / 1e7 / peak, cold * 1e6, flops / cold / 1e9, flops / cold / 1e7 / peak, static_cast<double>(size) / cold / 1e9);
}

}  // namespace
}  // namespace tfengine::cpu

int main(int argc, char** argv) {
  using namespace tfengine;
  std::string_view precision = "f32";
  if (argc > 2 && std::string_view(argv[1]) == "--precision") {
    precision = argv[2];
    argc -= 2;
    argv += 2;
  }
  const cpu::DotType type = precision == "int8" ? cpu::DotType::kInt8 : cpu::DotType::kBf16;
  const cpu::DotKernels* kernels = &cpu::BestDotKernels(type, 16);
  if (argc > 2 && std::string_view(argv[1]) == "--kernels") {
    kernels = cpu::FindDotKernels(type, argv[2]);
    if (kernels == nullptr) {
      std::fprintf(stderr, "this machine has no kernels %s\n", argv[2]);
      return 1;
    }
    argc -= 2;
    argv += 2;
  }
  const int threads = argc > 1 ? std::atoi(argv[1]) : AvailableCpus();
  ThreadPool pool(std::max(1, threads - 1));
  Gang gang(threads, [&](auto helper) { pool.Schedule(std::move(helper)); });
  std::vector<int64_t> shapes = {128, 768, 768,  128, 768, 3072,  128, 3072, 768,  1024, 768, 768, 1024, 768, 3072, 1024, 3072, 768,
                                 1,   768, 768,  1,   1280, 1000, 8,   768,  3072, 1,    4096, 4096, 49, 512, 2048, 3136, 64, 256};
  if (argc > 2) shapes.clear();
  for (int i = 2; i < argc; ++i) shapes.push_back(std::atol(argv[i]));
  for (size_t i = 0; i + 2 < shapes.size(); i += 3) {
    const int64_t m = shapes[i], k = shapes[i + 1], n = shapes[i + 2];
    if (precision == "f32") {
      cpu::Time(m, k, n, gang);
    } else {
      cpu::TimeDot(*kernels, m, k, n, gang);
    }
  }
}
