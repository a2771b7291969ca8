// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/errors.h"

// Internal: kernels that only move elements work on unsigned integers of the element's size.
namespace tfengine::cpu {

// Calls fn(T()) with the unsigned integer type of `element_size` bytes: 1, 2, 4 or 8.
template <typename Fn>
void WithElementType(size_t element_size, const Fn& fn) {
  switch (element_size) {
    case 1: return fn(uint8_t());
    case 2: return fn(uint16_t());
    case 4: return fn(uint32_t());
    case 8: return fn(uint64_t());
    default: TFE_CHECK(element_size == 0);
  }
}

inline constexpr int64_t kMovePart = 64 * 1024;  // bytes worth a task of their own

}  // namespace tfengine::cpu
