// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/group_product.h"

#include "base/errors.h"

namespace tfengine::cuda {

const char kGroupProducts[] = R"cuda(
__forceinline__ void start_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
__forceinline__ void await_products() { asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }
)cuda";

GroupSums SumsOfGroup(int64_t n, const char* operand) {
  GroupSums sums;
  for (int64_t i = 0; i < n / 2; ++i) {
    sums.registers += fmt::format("{}%{}", i == 0 ? "" : ",", i);
    sums.operands += (i == 0 ? "" : ", ") + fmt::format(fmt::runtime(operand), i / 4, i % 4);
  }
  return sums;
}

std::string GroupProduct(const char* name, int64_t n, const std::string& type, bool a_in_registers, bool b_transposed) {
  const int64_t r = n / 2;
  const bool codes = type == "u8", bytes = codes || type == "e4m3";
  const auto [list, sums] = SumsOfGroup(n, codes ? "\"+r\"(c[{}][{}])" : "\"+f\"(c[{}][{}])");
  const std::string a = a_in_registers ? fmt::format("{{%{},%{},%{},%{}}}", r, r + 1, r + 2, r + 3) : fmt::format("%{}", r);
  const int64_t b = r + (a_in_registers ? 4 : 1);
  // Signs of the operands, but of codes, and, of 16 bits, the orders of those in memory.
  const std::string how = codes ? "" : bytes ? ", 1, 1" : fmt::format(", 1, 1, {}{}", a_in_registers ? "" : "0, ", b_transposed ? 1 : 0);
  return fmt::format(
      "__forceinline__ void {0}({1} (&c)[{2}][4], {3}, u64 b, int add) {{\n  asm volatile(\"{{\\n.reg .pred p;\\nsetp.ne.b32 p, %{4}, 0;\\n"
      "wgmma.mma_async.sync.aligned.m64n{5}k{6}.{7} {{{8}}}, {9}, %{10}, p{11};\\n}}\"\n               : {12} : {13}, \"l\"(b), \"r\"(add));\n}}\n",
      name, codes ? "int" : "float", n / 8, a_in_registers ? "const unsigned* a" : "u64 a", b + 1, n, bytes ? 32 : 16, codes ? "s32.u8.s8" : fmt::format("f32.{0}.{0}", type), list, a, b, how, sums,
      a_in_registers ? "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3])" : "\"l\"(a)");
}

}  // namespace tfengine::cuda
