// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace tfengine {

// CRC-32C (Castagnoli), as in RFC 3720. `crc` continues an earlier result.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

// The masked form that TensorFlow's checkpoints and record files store.
inline uint32_t MaskCrc(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }
inline uint32_t UnmaskCrc(uint32_t masked) {
  uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

}  // namespace tfengine
