// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

// Source of products by warp groups (wgmma, compute capability 9.0).
namespace tfengine::cuda {

// The sums of 64 rows by n columns in a thread's registers: how an instruction lists them, and the operands %0, %1, ... that they are.
// `operand`: a format of two numbers, which 8 columns and which of the thread's four sums there.
struct GroupSums {
  std::string registers, operands;
};
GroupSums SumsOfGroup(int64_t n, const char* operand);

// Functions start_products(), commit_products(), await_products().
extern const char kGroupProducts[];

// A function `name`(c, a, b, add) that starts c += a b (c = a b if !add) for 64 rows, n columns and 32 bytes of a row: c is
// float[n / 8][4], b a descriptor, a a descriptor or the thread's four registers. `type`: f16, bf16, e4m3, or u8: codes by signed
// codes, with c int[n / 8][4]. Only of 16 bits is there a transposed b.
std::string GroupProduct(const char* name, int64_t n, const std::string& type, bool a_in_registers, bool b_transposed);

}  // namespace tfengine::cuda
