// SPDX-License-Identifier: Apache-2.0
// Times Attention on [B,S,H,D] operands, with a [B,1,1,S] bool mask and without.   attention_bench [threads]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "backends/cpu/kernels/attention.h"
#include "backends/cpu/kernels/bench_util.h"

namespace tfengine::cpu {
namespace {

void Time(int64_t batch, int64_t heads, int64_t length, int64_t depth, bool masked, Storage storage, Gang& gang) {
  AttentionShape s{.batch = batch, .heads = heads, .queries = length, .keys = length, .depth = depth, .value_depth = depth};
  s.q = s.k = s.v = s.o = AttentionBSHD(length, heads, depth);
  s.scale = 1 / std::sqrt(static_cast<float>(depth));
  if (masked) s.mask = AttentionMask::kBoolAdd;
  s.mask_layout = {length, 0, 0, 1};
  const size_t size = batch * heads * length * depth;
  std::vector<float> q(size, 0.1f), k(size, 0.2f), v(size, 0.3f), o(size);  // enough for every storage
  const Format f{storage};
  std::vector<char> mask(batch * length, 1);
  const AttentionArgs args{q.data(), k.data(), v.data(), mask.data(), o.data(), {f, f, f, {}, f}};
  void* scratch = std::aligned_alloc(64, (AttentionScratchBytes(s, gang.threads(), HostCpu().isa, args.formats) + 63) / 64 * 64);
  const double flops = 4.0 * batch * heads * length * length * depth;
  const double seconds = BestSeconds(static_cast<int>(std::clamp(5e10 / flops, 10.0, 300.0)), [&] { Attention(s, args, scratch, gang); });
  std::printf("%s B %2ld H %ld S %4ld D %ld %s %9.1f us %6.1f GFLOP/s %5.1f %%\n", storage == Storage::kBf16 ? "bf16" : "f32 ", static_cast<long>(batch), static_cast<long>(heads),
              static_cast<long>(length), static_cast<long>(depth), masked ? "mask" : "    ", seconds * 1e6, flops / seconds / 1e9,
              flops / seconds / 1e7 / (kPeakGflopsPerCore * gang.threads()));
  std::free(scratch);
}

}  // namespace
}  // namespace tfengine::cpu

int main(int argc, char** argv) {
  using namespace tfengine;
  const int threads = argc > 1 ? std::atoi(argv[1]) : AvailableCpus();
  ThreadPool pool(std::max(1, threads - 1));
  Gang gang(threads, [&](auto helper) { pool.Schedule(std::move(helper)); });
  for (int64_t batch : {1, 8}) {
    for (int64_t length : {128, 512}) {
      for (bool masked : {false, true}) {
        for (auto storage : {cpu::Storage::kF32, cpu::Storage::kBf16}) cpu::Time(batch, 12, length, 64, masked, storage, gang);
      }
    }
  }
}
