// SPDX-License-Identifier: Apache-2.0
// Times row and element kernels by storage, in the second-level cache and in memory.   typed_bench [threads]
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "backends/cpu/kernels/bench_util.h"
#include "backends/cpu/kernels/binary.h"
#include "backends/cpu/kernels/convert.h"
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

}  // namespace
}  // namespace tfengine::cpu

int main(int argc, char** argv) {
  using namespace tfengine;
  const int threads = argc > 1 ? std::atoi(argv[1]) : AvailableCpus();
  ThreadPool pool(std::max(1, threads - 1));
  Gang gang(threads, [&](auto helper) { pool.Schedule(std::move(helper)); });
  for (int64_t n : {1 << 16, 1 << 24}) cpu::Elements(n, gang);
}
