// SPDX-License-Identifier: Apache-2.0
// What the vector units of this machine can multiply and add at most: prints JSON with the rates in
// 10^9 operations per second (a multiply-add is two), null where the CPU has no such instruction.
// Matrix units (AMX) are not counted. Usage: peak THREADS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

// Twelve independent chains cover the latency of two units; the operands stay in registers, and
// everything is zero.
#define ONE(op, r, n) op " %%" r "14, %%" r "15, %%" r n "\n"
#define FOUR(op, r, a, b, c, d) ONE(op, r, a) ONE(op, r, b) ONE(op, r, c) ONE(op, r, d)
#define TWELVE(op, r) \
  FOUR(op, r, "0", "1", "2", "3") FOUR(op, r, "4", "5", "6", "7") FOUR(op, r, "8", "9", "10", "11")
constexpr int kChains = 12;

#define LOOP(name, body)                                                                        \
  void name(long n) {                                                                           \
    asm volatile(                                                                               \
        "vzeroall\n"                                                                            \
        "1:\n" body                                                                             \
        "dec %0\n"                                                                              \
        "jnz 1b\n"                                                                              \
        "vzeroupper\n"                                                                          \
        : "+r"(n)                                                                               \
        :                                                                                       \
        : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
          "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                \
  }
LOOP(Fma512, TWELVE("vfmadd231ps", "zmm"))
LOOP(Fma256, TWELVE("vfmadd231ps", "ymm"))
LOOP(Bf16, TWELVE("vdpbf16ps", "zmm"))
LOOP(Vnni, TWELVE("vpdpbusd", "zmm"))

// The best of several short runs, all threads together. `products` per instruction.
double Rate(void (*loop)(long), int products, int threads) {
  constexpr long kRounds = 400'000;
  double best = 0;
  for (int run = 0; run < 100; ++run) {
    auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(loop, kRounds);
    loop(kRounds);
    for (std::thread& other : others) other.join();
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 2e-9 * kChains * kRounds * products * threads / seconds);
  }
  return best;
}

void Print(const char* name, double rate, const char* end) {
  if (rate > 0)
    std::printf("\"%s\": %.1f%s", name, rate, end);
  else
    std::printf("\"%s\": null%s", name, end);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  bool avx512 = __builtin_cpu_supports("avx512f");
  bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  std::printf("{");
  Print("fp32", avx512 ? Rate(Fma512, 16, threads) : fma ? Rate(Fma256, 8, threads) : 0, ", ");
  Print("bf16", bf16 ? Rate(Bf16, 32, threads) : 0, ", ");
  Print("int8", vnni ? Rate(Vnni, 64, threads) : 0, "}\n");
}
