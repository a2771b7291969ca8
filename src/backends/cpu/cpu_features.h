// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace tfengine::cpu {

// The instruction sets kernels are compiled for; a later one includes the earlier ones.
enum class CpuIsa : int {
  kPortable = 0,  // plain x86-64
  kAvx2 = 1,      // AVX2, FMA, BMI2, F16C
  kAvx512 = 2,    // AVX-512 F, BW, DQ, VL, CD
};

const char* CpuIsaName(CpuIsa isa);

// What this machine's CPU and operating system offer. A flag is true only if the system also saves the registers.
struct CpuFeatures {
  CpuIsa isa = CpuIsa::kPortable;
  bool avx_vnni = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool amx_tile = false;  // usable once RequestAmxTiles() is true, as the two below
  bool amx_int8 = false;
  bool amx_bf16 = false;
  int64_t l1d_bytes = 0;  // data caches of one core; l3 is the whole shared one, 0 when unknown
  int64_t l2_bytes = 0;
  int64_t l3_bytes = 0;
  std::string vendor;       // "AuthenticAMD"
  int family = 0;
  int model = 0;

  bool Has(CpuIsa want) const { return static_cast<int>(isa) >= static_cast<int>(want); }
  // One word for engine files and timing caches: vendor, family, model and every flag above.
  std::string Fingerprint() const;
};

// This machine, looked up once. Thread-safe.
const CpuFeatures& HostCpu();

// Asks the system for the use of the tile registers by all threads of this process, on the first call. False if it refuses
// or the CPU has none. Thread-safe.
bool RequestAmxTiles();

}  // namespace tfengine::cpu
