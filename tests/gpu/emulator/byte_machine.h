// SPDX-License-Identifier: Apache-2.0
#pragma once

// The machine's side of 8 bit products: their instructions in sources, and what products do with bytes.
#include <array>
#include <cstdint>
#include <string>

#include "base/float8.h"

namespace emulated {

// An asm statement with these operands as a call; "" for other instructions.
inline std::string TranslateBytes(const std::string& code, const std::string& operands) {
  auto has = [&](const char* word) { return code.find(word) != std::string::npos; };
  if (has("MULTIPLY ")) return "emulated::multiply_bytes(machine, FLOATS, " + operands + ")";
  if (has("wgmma.mma_async") && has("k32.")) return "emulated::multiply_bytes_group(machine, FLOATS, " + operands + ")";
  if (has("cp.async.ca")) return "machine->copy(" + operands + (has(", 8,") ? ", 8)" : ", 4)");
  if (has("st.shared.v4.b32 [%0], {%1, %1")) return "emulated::store_word(machine, 4, " + operands + ")";
  if (has("st.shared.v2.b32")) return "emulated::store_word(machine, 2, " + operands + ")";
  if (has("st.shared.b32")) return "emulated::store_word(machine, 1, " + operands + ")";
  if (has("st.shared.v4.b32")) return "emulated::store_sums(machine, " + operands + ")";
  if (has("mapa") && has("ld.shared::cluster")) return "emulated::load_sums(machine, " + operands + ")";
  if (has("dp4a")) return "emulated::dot(" + operands + ")";
  if (has("cvt.pack.sat")) return "emulated::pack_saturated(" + operands + ")";
  if (has("cvt.rn.satfinite.e4m3x2")) return "emulated::to_e4m3_pair(" + operands + ")";
  if (has("cvt.rn.f16x2.e4m3x2")) return "emulated::from_e4m3_pair(" + operands + ")";
  if (has("wgmma.commit_group") && !has("wait_group")) return "machine->commit_products()";
  return code.find_first_not_of(" \"") == std::string::npos ? "(void)0" : "";
}

// Blocks along y that a source makes one cluster.
inline int RowsOfCluster(const std::string& source) {
  const std::string word = "__cluster_dims__(1, ";
  const size_t at = source.find(word);
  return at == std::string::npos ? 1 : std::stoi(source.substr(at + word.size()));
}

inline void AddProduct(void* sum, uint8_t a, uint8_t b, bool floats) {
  static const std::array<float, 256> numbers = [] {
    std::array<float, 256> all{};
    for (int code = 0; code < 256; ++code) all[static_cast<size_t>(code)] = tfengine::E4m3ToFloat(static_cast<uint8_t>(code));
    return all;
  }();
  if (floats) *static_cast<float*>(sum) += numbers[a] * numbers[b];
  else *static_cast<int32_t*>(sum) += int32_t{a} * static_cast<int8_t>(b);
}

}  // namespace emulated
