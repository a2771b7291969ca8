// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_features.h"

#include <cpuid.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace tfengine::cpu {
namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers CpuId(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);  // all zero if the leaf does not exist
  return r;
}

bool Bit(uint32_t word, int bit) { return (word >> bit) & 1; }

// XCR0: which register files the system saves on a context switch.
uint64_t EnabledState(bool osxsave) {
  if (!osxsave) return 0;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

int64_t CacheBytes(int name) {
  long bytes = sysconf(name);
  return bytes > 0 ? bytes : 0;
}

CpuFeatures Detect() {
  CpuFeatures f;
  Registers id = CpuId(0);
  char vendor[13] = {};
  std::memcpy(vendor, &id.ebx, 4);
  std::memcpy(vendor + 4, &id.edx, 4);
  std::memcpy(vendor + 8, &id.ecx, 4);
  f.vendor = vendor;
  Registers one = CpuId(1);
  int base_family = (one.eax >> 8) & 15;
  f.family = base_family == 15 ? base_family + ((one.eax >> 20) & 255) : base_family;
  f.model = ((one.eax >> 4) & 15) | ((one.eax >> 12) & 0xf0);

  const uint64_t state = EnabledState(Bit(one.ecx, 27));
  const bool ymm = (state & 0x6) == 0x6;
  const bool zmm = ymm && (state & 0xe0) == 0xe0;
  const bool tiles = (state & 0x60000) == 0x60000;
  Registers seven = CpuId(7);
  Registers seven1 = seven.eax >= 1 ? CpuId(7, 1) : Registers();
  const bool avx2 = ymm && Bit(one.ecx, 28) && Bit(one.ecx, 12) && Bit(one.ecx, 29) &&
                    Bit(seven.ebx, 5) && Bit(seven.ebx, 8);
  bool avx512 = avx2 && zmm;
  for (int bit : {16, 17, 28, 30, 31}) avx512 = avx512 && Bit(seven.ebx, bit);  // F DQ CD BW VL
  f.isa = avx512 ? CpuIsa::kAvx512 : avx2 ? CpuIsa::kAvx2 : CpuIsa::kPortable;
  f.avx_vnni = avx2 && Bit(seven1.eax, 4);
  f.avx512_vnni = avx512 && Bit(seven.ecx, 11);
  f.avx512_bf16 = avx512 && Bit(seven1.eax, 5);
  f.avx512_fp16 = avx512 && Bit(seven.edx, 23);
  f.amx_tile = tiles && Bit(seven.edx, 24);
  f.amx_int8 = f.amx_tile && Bit(seven.edx, 25);
  f.amx_bf16 = f.amx_tile && Bit(seven.edx, 22);
  f.l1d_bytes = CacheBytes(_SC_LEVEL1_DCACHE_SIZE);
  f.l2_bytes = CacheBytes(_SC_LEVEL2_CACHE_SIZE);
  f.l3_bytes = CacheBytes(_SC_LEVEL3_CACHE_SIZE);
  return f;
}

}  // namespace

const char* CpuIsaName(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kPortable: return "portable";
    case CpuIsa::kAvx2: return "avx2";
    case CpuIsa::kAvx512: return "avx512";
  }
  return "unknown";
}

std::string CpuFeatures::Fingerprint() const {
  return fmt::format("{}-{}-{}-{}{}{}{}{}{}{}{}-{}k", vendor, family, model, CpuIsaName(isa),
                     avx_vnni ? "+avxvnni" : "", avx512_vnni ? "+vnni" : "",
                     avx512_bf16 ? "+bf16" : "", avx512_fp16 ? "+fp16" : "",
                     amx_tile ? "+amx" : "", amx_int8 ? "+amxint8" : "", amx_bf16 ? "+amxbf16" : "",
                     l2_bytes / 1024);
}

const CpuFeatures& HostCpu() {
  static const CpuFeatures features = Detect();
  return features;
}

bool RequestAmxTiles() {
  // Since Linux 5.16 tile data is a state component that a process must ask for (asm/prctl.h, asm/fpu/types.h).
  constexpr int kRequestComponent = 0x1023, kTileData = 18;
  static const bool granted = HostCpu().amx_tile && syscall(SYS_arch_prctl, kRequestComponent, kTileData) == 0;
  return granted;
}

}  // namespace tfengine::cpu
