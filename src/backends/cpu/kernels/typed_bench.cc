// SPDX-License-Identifier: Apache-2.0
// Times row and element kernels by storage, in the second-level cache and in memory.   typed_bench [threads]
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "backends/cpu/kernels/bench_util.h"
#include "backends/cpu/kernels/binary.h"
#include "backends/cpu/kernels/convert.h"
#include "backends/cpu/kernels/layer_norm.h"
#include "backends/cpu/kernels/pool.h"
#include "backends/cpu/kernels/reduce.h"
#include "backends/cpu/kernels/softmax.h"
#include "backends/cpu/kernels/unary.h"

namespace tfengine::cpu {
namespace {

constexpr Format kFormats[] = {{Storage::kF32}, {Storage::kBf16}, {Storage::kU8, 0.02f, 128}};
constexpr const char* kNames[] = {"f32", "bf16", "u8"};

struct Data {
  explicit Data(int64_t n) : x(4 * n), b(4 * n), y(4 * n) {}
  std::vector<char> x, b, y;
};

void Row(const char* what, int64_t n, FunctionRef<void(const Format&)> work) {
  std::printf("%-28s %9ld values", what, static_cast<long>(n));
  double f32 = 0;
  for (int i = 0; i < kStorages; ++i) {
    const double seconds = BestSeconds(n > 1 << 20 ? 30 : 300, [&] { work(kFormats[i]); });
    if (i == 0) f32 = seconds;
    std::printf("  %s %8.2f us (%.2fx)", kNames[i], seconds * 1e6, f32 / seconds);
  }
  std::printf("\n");
}

void Elements(int64_t n, Gang& gang) {
  Data d(n);
  const LoopNest same = MakeLoopNest(Dims(&n, 1), {Dims(&n, 1), Dims(&n, 1)});
  const int64_t dims[] = {n / 512, 512}, row[] = {512};
  const LoopNest bias = MakeLoopNest(dims, {dims, row});
  Row("f32 to", n, [&](const Format& f) { Convert(d.x.data(), {}, d.y.data(), f, n, gang); });
  Row("to f32", n, [&](const Format& f) { Convert(d.x.data(), f, d.y.data(), {}, n, gang); });
  Row("relu", n, [&](const Format& f) { Unary(UnaryOp::k_relu, d.x.data(), f, d.y.data(), f, n, 0, 0, gang); });
  Row("sigmoid", n, [&](const Format& f) { Unary(UnaryOp::k_sigmoid, d.x.data(), f, d.y.data(), f, n, 0, 0, gang); });
  Row("add", n, [&](const Format& f) { Binary(BinaryOp::k_add, same, d.x.data(), f, d.b.data(), f, d.y.data(), f, {}, gang); });
  Row("sub", n, [&](const Format& f) { Binary(BinaryOp::k_sub, same, d.x.data(), f, d.b.data(), f, d.y.data(), f, {}, gang); });
  Row("add [512]", n, [&](const Format& f) { Binary(BinaryOp::k_add, bias, d.x.data(), f, d.b.data(), {}, d.y.data(), f, {}, gang); });
}

void Rows(int64_t rows, int64_t cols, Gang& gang) {
  Data d(rows * cols);
  std::vector<float> gamma(cols, 1.0f);
  std::vector<char> scratch(LayerNormScratchBytes(cols, gang.threads()) + 64);
  const LayerNormArgs args{.gamma = gamma.data(), .beta = gamma.data(), .rows = rows, .cols = cols};
  Row("layer_norm", rows * cols, [&](const Format& f) {
    LayerNorm(args, {d.x.data(), f, nullptr, {}, d.y.data(), f}, scratch.data(), gang);
  });
  Row("layer_norm + residual", rows * cols, [&](const Format& f) {
    LayerNorm(args, {d.x.data(), f, d.b.data(), f, d.y.data(), f}, scratch.data(), gang);
  });
  Row("softmax", rows * cols, [&](const Format& f) { Softmax(d.x.data(), f, d.y.data(), f, rows, cols, scratch.data(), gang); });
}

void Images(int64_t batch, Gang& gang) {
  const int64_t dims[] = {batch, 7, 7, 1280};
  Data d(batch * 112 * 112 * 64);
  std::vector<char> scratch(1 << 22);
  Row("mean over 7x7 of 1280", batch * 7 * 7 * 1280, [&](const Format& f) {
    Reduce(ReduceOp::k_mean, d.x.data(), f, dims, 6, d.y.data(), f, scratch.data(), gang);
  });
  PoolShape s{.batch = batch, .in_h = 112, .in_w = 112, .channels = 64, .out_h = 56, .out_w = 56, .window_h = 3, .window_w = 3,
              .stride_h = 2, .stride_w = 2};
  for (PoolOp op : {PoolOp::k_max, PoolOp::k_avg}) {
    Row(op == PoolOp::k_max ? "max pool 3x3 s2 of 112x112x64" : "avg pool", batch * 112 * 112 * 64,
        [&](const Format& f) { Pool(op, s, d.x.data(), f, d.y.data(), f, gang); });
  }
}

}  // namespace
}  // namespace tfengine::cpu

int main(int argc, char** argv) {
  using namespace tfengine;
  const int threads = argc > 1 ? std::atoi(argv[1]) : AvailableCpus();
  ThreadPool pool(std::max(1, threads - 1));
  Gang gang(threads, [&](auto helper) { pool.Schedule(std::move(helper)); });
  for (int64_t n : {1 << 16, 1 << 24}) cpu::Elements(n, gang);
  for (int64_t rows : {128, 16384}) cpu::Rows(rows, 768, gang);
  for (int64_t batch : {1, 16}) cpu::Images(batch, gang);
}
